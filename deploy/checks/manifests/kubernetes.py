"""Checks deploy/kubernetes: renders each base and each example, and holds the result to the schemas and to our rules."""

import sys

import yaml

import broken
import commands
import render
import rules
import schemas

SIDECAR_EXAMPLE = "examples/sidecar"


def main():
    found = []
    rendered = {}
    for folder in sorted(roots()):
        try:
            rendered[folder] = render.kustomize(folder)
        except render.Failed as error:
            found.append(f"{folder}: {error}")
    for folder, objects in rendered.items():
        found += [f"{folder}: {problem}" for problem in (*schemas.problems(objects), *rules.problems(objects))]
    found += unused()
    found += without_comment()
    if SIDECAR_EXAMPLE in rendered:
        found += changes_of_the_backend(rendered[SIDECAR_EXAMPLE])
    if not found:
        everything = [thing for folder in ("migrate", "examples/worker") for thing in rendered[folder]]
        found += broken.not_noticed(everything, rendered[SIDECAR_EXAMPLE])
        found += (f"operating.md: {problem}" for problem in commands.problems(everything))
    for problem in found:
        print(f"kubernetes: {problem}", file=sys.stderr)
    print(f"   {len(rendered)} kustomizations, {sum(map(len, rendered.values()))} objects, {len(rules.RULES)} rules, Kubernetes {', '.join(schemas.RELEASES)}")
    return 1 if found else 0


def kustomizations():
    for path in render.KUSTOMIZE.rglob("kustomization.yaml"):
        yield path.parent.relative_to(render.KUSTOMIZE).as_posix(), yaml.safe_load(path.read_text())


def roots():
    """What can be applied; a component only changes what takes it."""
    return [folder for folder, content in kustomizations() if content["kind"] == "Kustomization"]


def unused():
    """Each component must be in something that is rendered, and each file in a kustomization, or nothing here checks it."""
    used = set()
    for folder, content in kustomizations():
        named = content.get("resources", []) + content.get("components", [])
        named += [patch["path"] for patch in content.get("patches", []) if "path" in patch]
        base = render.KUSTOMIZE / folder
        used |= {(base / name).resolve() for name in named} | {base / "kustomization.yaml"}
    for path in sorted(render.KUSTOMIZE.rglob("*.yaml")):
        if path not in used:
            yield f"{path.relative_to(render.KUSTOMIZE)} is in no kustomization"
    for folder, content in kustomizations():
        if content["kind"] == "Component" and render.KUSTOMIZE / folder not in used:
            yield f"the component {folder} is in no example"


def without_comment():
    for path in sorted(render.KUSTOMIZE.rglob("*.yaml")):
        if not path.read_text().startswith("# "):
            yield f"{path.relative_to(render.KUSTOMIZE)} does not begin with a comment that says what it is"


def changes_of_the_backend(objects):
    """Apart from one init container and one volume the backend's Deployment stays as it was."""
    before = yaml.safe_load((render.KUSTOMIZE / SIDECAR_EXAMPLE / "backend.yaml").read_text())
    after = next(thing for thing in objects if render.name_of(thing) == render.name_of(before))
    after = yaml.safe_load(yaml.safe_dump(after))
    pod = after["spec"]["template"]["spec"]
    for part in ("initContainers", "volumes"):
        ours = [each for each in pod.get(part, []) if each["name"] == "snapshot-lifecycle"]
        if len(ours) != 1:
            yield f"{SIDECAR_EXAMPLE}: {len(ours)} of the backend's {part} are the sidecar's, instead of one"
        pod[part] = [each for each in pod.get(part, []) if each not in ours]
        if not pod[part]:
            del pod[part]
    if after != before:
        yield f"{SIDECAR_EXAMPLE}: the sidecar changes what is the backend's own"


if __name__ == "__main__":
    sys.exit(main())
