use opentelemetry::Context;
use opentelemetry::KeyValue;
use opentelemetry::trace::{Link, SpanKind, TraceId, TraceState};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

use crate::config::TraceSampler;

/// A batch of one message follows the decision of the span that it continues. One of many continues none and is linked to all: it is
/// recorded where one of them may be, since a link that leads to nothing helps nobody; else as a trace that begins here.
pub(super) fn sampler(options: TraceSampler) -> Box<dyn ShouldSample> {
    let root = Sampler::TraceIdRatioBased(options.ratio);
    if options.parent_based {
        Box::new(Sampler::ParentBased(Box::new(AnyLinkSampled { root })))
    } else {
        Box::new(root)
    }
}

#[derive(Debug, Clone)]
struct AnyLinkSampled {
    root: Sampler,
}

impl ShouldSample for AnyLinkSampled {
    fn should_sample(
        &self,
        parent_context: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        span_kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        if links.iter().any(|link| link.span_context.is_sampled()) {
            return SamplingResult {
                decision: SamplingDecision::RecordAndSample,
                attributes: Vec::new(),
                trace_state: TraceState::default(),
            };
        }
        self.root.should_sample(parent_context, trace_id, name, span_kind, attributes, links)
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags};

    use super::*;

    fn context(sampled: bool) -> SpanContext {
        let flags = TraceFlags::default().with_sampled(sampled);
        SpanContext::new(TraceId::from(1), SpanId::from(1), flags, true, TraceState::default())
    }

    fn is_sampled(options: TraceSampler, parent: Option<bool>, links: &[bool]) -> bool {
        let parent = parent.map(|sampled| Context::new().with_remote_span_context(context(sampled)));
        let links: Vec<_> = links.iter().map(|sampled| Link::with_context(context(*sampled))).collect();
        let result =
            sampler(options).should_sample(parent.as_ref(), TraceId::from(7), "", &SpanKind::Consumer, &[], &links);
        result.decision == SamplingDecision::RecordAndSample
    }

    #[test]
    fn one_sampled_link_is_enough_and_a_parent_decides_alone() {
        let parent_based = |ratio| TraceSampler { parent_based: true, ratio };
        assert!(is_sampled(parent_based(0.0), None, &[false, true]));
        assert!(!is_sampled(parent_based(0.0), None, &[false, false]));
        assert!(is_sampled(parent_based(1.0), None, &[false, false]));
        assert!(is_sampled(parent_based(0.0), Some(true), &[true]));
        assert!(!is_sampled(parent_based(1.0), Some(false), &[false]));
    }

    #[test]
    fn sampler_that_is_not_parent_based_asks_nobody() {
        for (ratio, sampled) in [(0.0, false), (1.0, true)] {
            for other in [true, false] {
                assert_eq!(is_sampled(TraceSampler { parent_based: false, ratio }, Some(other), &[other]), sampled);
            }
        }
    }
}
