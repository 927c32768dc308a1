"""Checks the commands of operating.md's section on Kubernetes as far as that goes without a cluster: paths, names, keys of Secrets,
options that kubectl can try on its own."""

import os
import re
import shlex

import render
import source
from containers import pods, variables

DOCUMENT = render.ROOT / "deploy/operating.md"
MOST = 10


def lists():
    """The lists of commands in the section, each a list of words."""
    section = re.search(r"^## Kubernetes\n(.*?)(?=^## |\Z)", DOCUMENT.read_text(), re.S | re.M)[1]
    for block in re.findall(r"^```sh\n(.*?)^```", section, re.S | re.M):
        lines = block.replace("\\\n", " ").splitlines()
        yield [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def problems(objects):
    """The first list is the way from a cluster to a worker that passes `doctor`, with the objects that it applies."""
    commands = list(lists())
    way = commands[0]
    if len(way) > MOST:
        yield f"{len(way)} commands instead of {MOST} at most"
    if way[-1][-2:] != [source.PROGRAM, "doctor"]:
        yield f"the last command is {way[-1]}"
    made = {}
    for words in (words for each in commands for words in each):
        try:
            yield from _refused(words, objects, made)
        except render.Failed as error:
            yield f"{shlex.join(words)}: {error}"
    yield from _secrets(objects, made)


def _refused(words, objects, made):
    names = {render.name_of(thing).lower() for thing in objects}
    programs = {"kubectl": os.environ["KUBECTL"], "helm": os.environ["HELM"], "psql": None}
    if words[0] not in programs:
        yield f"no check knows {words[0]}"
    for path in (word for word in words if word.startswith("deploy/")):
        if not (render.ROOT / path).exists():
            yield f"{path} does not exist"
    for word in words:
        if word.startswith(("job/", "deployment/")) and word not in names:
            yield f"there is no {word}"
    if words[:2] == ["kubectl", "create"]:
        for thing in render.objects(render.run(os.environ["KUBECTL"], *words[1:], "--dry-run=client", "--output=yaml")):
            made[thing["metadata"]["name"]] = set(thing.get("data", {}))
    elif words[:2] == ["kubectl", "apply"]:
        render.kustomize((render.ROOT / words[words.index("--kustomize") + 1]).relative_to(render.KUSTOMIZE))
    elif words[:3] == ["helm", "upgrade", "--install"]:
        render.run(os.environ["HELM"], "template", *words[3:])
    elif words[:2] == ["kubectl", "exec"]:
        container = words[words.index("--container") + 1]
        containers = {each["name"] for thing, _, ours in pods(objects) for each in ours}
        program, command = words[words.index("--") + 1 :][:2]
        if container not in containers or program != source.PROGRAM or command not in source.COMMANDS:
            yield f"{shlex.join(words)}: {containers}, {sorted(source.COMMANDS)}"


def _secrets(objects, made):
    """Each Secret that a pod mounts is made, with each key that a variable names."""
    for thing, pod, ours in pods(objects):
        for volume in pod["volumes"]:
            name = volume["secret"]["secretName"]
            files = {value.rpartition("/")[2] for each in ours for key, value in variables(each).items() if key.endswith("_FILE")}
            if not files <= made.get(name, set()):
                yield f"{render.name_of(thing)} needs {sorted(files)} in the Secret {name}, which has {sorted(made.get(name, set()))}"
    for thing in objects:
        for reference in thing["spec"].get("secretTargetRef", []):
            if reference["key"] not in made.get(reference["name"], set()):
                yield f"{render.name_of(thing)} needs {reference['key']} in the Secret {reference['name']}"
