use std::time::Duration;

use url::Url;

use super::variables::variable;

/// Where traces go, and which: of the standard's variables those that the exporter does not read, or that it ignores where they are unusable. It reads
/// `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_BSP_…` and `OTEL_SPAN_…_LIMIT` without us.
///
/// <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>
#[derive(Debug, Clone, PartialEq)]
pub struct TraceOptions {
    /// The collector's URL for traces, `http` or `https`.
    pub endpoint: Url,
    /// Which traces begin here.
    pub sampler: TraceSampler,
    /// For one request to the collector.
    pub timeout: Duration,
    /// Whether a variable names the service.
    pub has_service_name: bool,
}

/// `OTEL_TRACES_SAMPLER` with its argument.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TraceSampler {
    /// Whether a span follows the decision of the one that it continues.
    pub parent_based: bool,
    /// Of those that continue none, the part that is recorded, 0 to 1.
    pub ratio: f64,
}

/// A variable of the standard's that this program cannot follow: exit code 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} is unusable; allowed: {allowed}")]
pub struct TraceOptionsError {
    /// Which.
    pub variable: &'static str,
    /// The form that it takes.
    pub allowed: &'static str,
}

const ENDPOINT: &str = "http://HOST:PORT or https://HOST:PORT without user and password (a header of OTEL_EXPORTER_OTLP_HEADERS holds a token)";
const SAMPLERS: &str =
    "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, parentbased_traceidratio";
const FOR_TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const FOR_ALL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

impl TraceOptions {
    /// `None` where no collector is named, or traces are switched off.
    ///
    /// # Errors
    /// Where traces are switched on and a variable is unusable.
    pub fn from_environment() -> Result<Option<Self>, TraceOptionsError> {
        Self::read(|name| variable(name).and_then(|value| value.into_string().ok()))
    }

    fn read(value: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, TraceOptionsError> {
        // By the standard a variable that is empty is as good as none.
        let value = |name: &str| value(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let first_of = |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, value(name)?)));
        let off = value("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let exporter = value("OTEL_TRACES_EXPORTER").unwrap_or_else(|| "otlp".to_owned());
        let named = first_of([FOR_TRACES, FOR_ALL]).filter(|_| !off && exporter != "none");
        let Some((name, endpoint)) = named else { return Ok(None) };
        let unusable = |variable, allowed| Err(TraceOptionsError { variable, allowed });
        // The one for all signals is the place that has a path for each.
        let path = if name == FOR_ALL { "/v1/traces" } else { "" };
        let endpoint = match Url::parse(&format!("{}{path}", endpoint.trim_end_matches('/'))) {
            Ok(url) if is_collector(&url) => url,
            _ => return unusable(name, ENDPOINT),
        };
        if exporter != "otlp" {
            return unusable("OTEL_TRACES_EXPORTER", "otlp, none");
        }
        if let Some((name, protocol)) = first_of(["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"])
            && protocol != "http/protobuf"
        {
            return unusable(name, "http/protobuf (collectors take it on port 4318; 4317 is gRPC)");
        }
        let timeout = match first_of(["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"]) {
            None => DEFAULT_TIMEOUT,
            Some((name, text)) => match text.parse() {
                Ok(milliseconds @ 1..=3_600_000) => Duration::from_millis(milliseconds),
                _ => return unusable(name, "milliseconds, 1 to 3600000"),
            },
        };
        let ratio = match value("OTEL_TRACES_SAMPLER_ARG").map(|text| text.parse()) {
            None => 1.0,
            Some(Ok(ratio)) if (0.0..=1.0).contains(&ratio) => ratio,
            Some(_) => return unusable("OTEL_TRACES_SAMPLER_ARG", "a number from 0 to 1"),
        };
        let name = value("OTEL_TRACES_SAMPLER").unwrap_or_else(|| "parentbased_always_on".to_owned());
        let ratio = match name.strip_prefix("parentbased_").unwrap_or(&name) {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => ratio,
            _ => return unusable("OTEL_TRACES_SAMPLER", SAMPLERS),
        };
        let sampler = TraceSampler { parent_based: name.starts_with("parentbased_"), ratio };
        let attributes = value("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let has_service_name = value("OTEL_SERVICE_NAME").is_some() || attributes.contains("service.name=");
        Ok(Some(Self { endpoint, sampler, timeout, has_service_name }))
    }
}

fn is_collector(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty() && url.password().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: (&str, &str) = (FOR_ALL, "http://localhost:4318");

    fn read(variables: &[(&str, &str)]) -> Result<Option<TraceOptions>, TraceOptionsError> {
        TraceOptions::read(|name| Some(variables.iter().find(|(set, _)| *set == name)?.1.to_owned()))
    }

    #[test]
    fn traces_are_off_unless_a_collector_is_named() {
        for variables in [
            &[][..],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
            &[ENDPOINT, ("OTEL_SDK_DISABLED", "True")],
            &[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")],
            &[("OTEL_TRACES_SAMPLER", "nonsense")],
        ] {
            assert_eq!(read(variables), Ok(None), "{variables:?}");
        }
        let options = read(&[ENDPOINT, ("OTEL_SDK_DISABLED", "false")]).unwrap().unwrap();
        assert_eq!(options.sampler, TraceSampler { parent_based: true, ratio: 1.0 });
        assert_eq!((options.timeout, options.has_service_name), (DEFAULT_TIMEOUT, false));
    }

    #[test]
    fn endpoint_for_all_signals_has_a_path_for_traces() {
        for (name, value, endpoint) in [
            (FOR_ALL, "http://localhost:4318", "http://localhost:4318/v1/traces"),
            (FOR_ALL, "https://collector/some/place/", "https://collector/some/place/v1/traces"),
            (FOR_TRACES, "http://[::1]:4318/t", "http://[::1]:4318/t"),
        ] {
            assert_eq!(read(&[(name, value)]).unwrap().unwrap().endpoint.as_str(), endpoint);
        }
    }

    #[test]
    fn samplers_are_those_of_the_standard() {
        for (name, parent_based, ratio) in [
            ("always_on", false, 1.0),
            ("always_off", false, 0.0),
            ("traceidratio", false, 0.25),
            ("parentbased_always_on", true, 1.0),
            ("parentbased_always_off", true, 0.0),
            ("parentbased_traceidratio", true, 0.25),
        ] {
            let options = read(&[ENDPOINT, ("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", "0.25")]);
            assert_eq!(options.unwrap().unwrap().sampler, TraceSampler { parent_based, ratio }, "{name}");
        }
    }

    #[test]
    fn signals_own_variable_wins_and_a_name_of_the_service_is_seen() {
        let timeouts = [("OTEL_EXPORTER_OTLP_TIMEOUT", "5000"), ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250")];
        let name = ("OTEL_RESOURCE_ATTRIBUTES", "a=b,service.name=c");
        let options = read(&[ENDPOINT, timeouts[0], timeouts[1], name]).unwrap().unwrap();
        assert_eq!((options.timeout, options.has_service_name), (Duration::from_millis(250), true));
    }

    #[test]
    fn what_cannot_be_followed_is_named_with_what_can() {
        for (variable, value) in [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "localhost:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://someone:secret@localhost:4318"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0"),
            ("OTEL_TRACES_SAMPLER", "xray"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
            ("OTEL_TRACES_SAMPLER_ARG", "half"),
        ] {
            let error = read(&[ENDPOINT, (variable, value)]).expect_err(value);
            assert_eq!(error.variable, variable);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
