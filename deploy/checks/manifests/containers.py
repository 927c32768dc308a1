"""The pods and containers of rendered objects."""

from render import name_of


def of_kind(objects, *kinds):
    return [thing for thing in objects if thing["kind"] in kinds]


def pods(objects):
    """Of each Deployment and Job: it, its pod, and our containers in it."""
    for thing in of_kind(objects, "Deployment", "Job"):
        pod = thing["spec"]["template"]["spec"]
        containers = pod.get("initContainers", []) + pod["containers"]
        ours = [each for each in containers if "snapshot-lifecycle" in each["image"]]
        if ours:
            yield thing, pod, ours


def our_containers(objects):
    for thing, pod, ours in pods(objects):
        for container in ours:
            yield f"{name_of(thing)}, container {container['name']}", thing, pod, container


def variables(container):
    return {entry["name"]: entry.get("value") for entry in container.get("env", [])}
