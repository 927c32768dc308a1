"""Checks deploy/helm: lint, the same objects as deploy/kubernetes, and a schema that refuses what the chart does not know."""

import copy
import json
import os
import sys

import yaml

import render
import rules
import schemas
import source

# The values that make of the chart what deploy/kubernetes/examples has.
EVERYTHING = (
    "keda.enabled=true",
    "podMonitor.enabled=true",
    "networkPolicy.enabled=true",
    "image.repository=registry.example/venues/snapshot-lifecycle",
)
EVERYTHING_AS_TEXT = ("settings.LIFECYCLE_DELETE_RATE=1000",)

# Values that must be refused, each a mistake that a person makes.
REFUSED = (
    "relicas=3",
    "image.tagg=1",
    "resources.limit.memory=1Gi",
    "settings.LIFECYCLE_HTTP_ADDR=0.0.0.0:8080",
    "settings.DATABASE_URL=postgres://somebody@host/db",
    "settings.lifecycle_prefetch=many",
    "settings.LIFECYCLE_PREFETCH=500",
    "keda.minReplicas=0",
    "image.digest=latest",
)

HELMS_LABELS = ("app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "helm.sh/chart")


def options(values, texts=()):
    return [word for value in values for word in ("--set", value)] + [word for text in texts for word in ("--set-string", text)]


def main():
    found = []
    try:
        render.run(os.environ["HELM"], "lint", "--strict", render.CHART)
        default = render.helm()
        everything = render.helm(*options(EVERYTHING, EVERYTHING_AS_TEXT))
        found += differences("default values", default, render.kustomize("migrate") + render.kustomize("worker"))
        found += differences("everything on", everything, render.kustomize("examples/migrate") + render.kustomize("examples/worker"))
        # Under another name, what refers to something must still find it.
        renamed = render.helm(*options(EVERYTHING, EVERYTHING_AS_TEXT), release="venues")
        for objects in (default, everything, renamed):
            found += [*schemas.problems(objects), *rules.problems(objects)]
        found += switches()
        found += drift_not_noticed(default)
    except render.Failed as error:
        found.append(str(error))
    found += accepted()
    found += versions()
    for problem in found:
        print(f"helm: {problem}", file=sys.stderr)
    print(f"   equal to kustomize with the default values and with all; {len(REFUSED)} mistakes refused")
    return 1 if found else 0


def without_helms_own(thing):
    """The object without the labels and hooks that Helm adds."""
    if isinstance(thing, dict):
        kept = {key: without_helms_own(value) for key, value in thing.items() if key not in HELMS_LABELS}
        notes = {key: value for key, value in (kept.pop("annotations", None) or {}).items() if not key.startswith("helm.sh/hook")}
        return {**kept, "annotations": notes} if notes else kept
    return [without_helms_own(each) for each in thing] if isinstance(thing, list) else thing


def differences(what, chart, kustomize):
    ours = {render.name_of(thing): without_helms_own(thing) for thing in chart}
    theirs = {render.name_of(thing): thing for thing in kustomize}
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in ours or name not in theirs:
            yield f"{what}: {name} is only in {'kustomize' if name in theirs else 'the chart'}"
        else:
            yield from (f"{what}: {name}{place}" for place in different(ours[name], theirs[name], ""))


def different(ours, theirs, path):
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            yield from different(ours.get(key), theirs.get(key), f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, pair in enumerate(zip(ours, theirs)):
            yield from different(*pair, f"{path}[{index}]")
    elif ours != theirs:
        yield f"{path}: {ours} in the chart, {theirs} in kustomize"


def drift_not_noticed(objects):
    """Each value of the chart's default objects, changed alone, must be a difference."""
    for index, thing in enumerate(objects):
        for path in paths(without_helms_own(thing)):
            changed = copy.deepcopy(objects)
            *steps, last = path
            place = changed[index]
            for step in steps:
                place = place[step]
            place[last] = "changed"
            if not list(differences("", changed, [without_helms_own(each) for each in objects])):
                yield f"a change of {render.name_of(thing)}, {path}, is not noticed"


def paths(thing):
    steps = thing.items() if isinstance(thing, dict) else enumerate(thing) if isinstance(thing, list) else ()
    for step, value in steps:
        below = [(step, *path) for path in paths(value)]
        yield from below or [(step,)]


def switches():
    """What the comparison does not reach: the values that kustomize has no word for."""
    digest = "sha256:" + "0" * 64
    off = ("disruptionBudget.enabled=false", "migrate.enabled=false")
    extra = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-extra"}}
    values = options((*off, f"image.digest={digest}", "imagePullSecrets[0].name=pull"))
    objects = render.helm(*values, "--set-json", f"extraObjects={json.dumps([extra])}")
    if [render.name_of(thing) for thing in objects] != ["ConfigMap/snapshot-lifecycle-extra", "Deployment/snapshot-lifecycle"]:
        yield f"switched off, the chart still has {[render.name_of(thing) for thing in objects]}"
        return
    pod = objects[1]["spec"]["template"]["spec"]
    if pod["containers"][0]["image"] != f"snapshot-lifecycle@{digest}" or pod.get("imagePullSecrets") != [{"name": "pull"}]:
        yield "image.digest or imagePullSecrets do not reach the pod"
    yield from schemas.problems(objects)


def accepted():
    for value in REFUSED:
        try:
            render.helm("--set", value)
            yield f"the schema accepts {value}"
        except render.Failed as error:
            if "don't meet the specifications of the schema" not in str(error):
                yield f"{value} is refused for another reason: {error}"


def versions():
    chart = yaml.safe_load((render.CHART / "Chart.yaml").read_text())
    for name in ("version", "appVersion"):
        if chart[name] != source.VERSION:
            yield f"{name} of the chart is {chart[name]}, of Cargo.toml {source.VERSION}"


if __name__ == "__main__":
    sys.exit(main())
