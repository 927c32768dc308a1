"""Checks objects against the schemas of Kubernetes, KEDA and the Prometheus operator. A field that a schema does not know is an
error: the server would drop it without a word."""

import kubernetes_validate
from cloudcoil.models.keda import v1alpha1 as keda
from cloudcoil.models.prometheus_operator import v1 as prometheus
from pydantic import ValidationError

from render import name_of

# The oldest with native sidecars, the one that made them stable, and the newest that the schemas know.
RELEASES = ("1.29", "1.33", "1.37")

CUSTOM = {
    ("keda.sh/v1alpha1", "ScaledObject"): keda.ScaledObject,
    ("keda.sh/v1alpha1", "TriggerAuthentication"): keda.TriggerAuthentication,
    ("monitoring.coreos.com/v1", "PodMonitor"): prometheus.PodMonitor,
}


def problems(objects):
    for thing in objects:
        model = CUSTOM.get((thing["apiVersion"], thing["kind"]))
        yield from _custom(thing, model) if model else _builtin(thing)


def _builtin(thing):
    for release in RELEASES:
        try:
            kubernetes_validate.validate(thing, release, strict=True)
        except kubernetes_validate.ValidationError as error:
            path = ".".join(str(step) for step in error.path)
            yield f"{name_of(thing)}: Kubernetes {release}: {path}: {error.message[:300]}"
        except kubernetes_validate.SchemaNotFoundError as error:
            yield f"{name_of(thing)}: {error.message}"


def _custom(thing, model):
    """The models ignore what they do not know, so compare what went in with what they kept."""
    try:
        kept = model.model_validate(thing).model_dump(by_alias=True, exclude_unset=True, mode="json")
    except ValidationError as error:
        yield f"{name_of(thing)}: {error}"
        return
    yield from (f"{name_of(thing)}: no such field: {path}" for path in _lost(thing, kept, ""))


def _lost(given, kept, path):
    if isinstance(given, dict):
        for key, value in given.items():
            if not isinstance(kept, dict) or key not in kept:
                yield f"{path}.{key}"
            else:
                yield from _lost(value, kept[key], f"{path}.{key}")
    elif isinstance(given, list):
        for index, value in enumerate(given):
            yield from _lost(value, kept[index], f"{path}[{index}]")
