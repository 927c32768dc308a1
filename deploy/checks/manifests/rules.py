"""Our own rules for what deploys, beyond what a schema knows. A rule is a function from objects to problems; `broken.py` shows for
each what it refuses."""

import source
from containers import of_kind, our_containers, pods, variables
from render import name_of

USER = 65532
PORT = 9464
SECRETS = {"DATABASE_URL", "AMQP_URL"}
# After LIFECYCLE_SHUTDOWN_TIMEOUT the worker still has up to 2 s to do, and the kubelet needs some too.
MARGIN = 5
# What Kubernetes grants a pod that does not say, so what a backend is taken to need.
BACKEND_SECONDS = 30

RULES = []


def rule(function):
    RULES.append(function)
    return function


def problems(objects):
    for check in RULES:
        yield from (f"{text} [{check.__name__}]" for text in check(objects))


# --- what the rules speak of ---


def workers(objects):
    """The containers that run the worker."""
    return [found for found in our_containers(objects) if found[3]["args"] == ["run"]]


def is_sidecar(pod, container):
    return container in pod.get("initContainers", [])


def setting(container, name):
    return variables(container).get(name, source.DEFAULTS[name])


# --- image, command, variables ---


@rule
def image_has_the_version_of_cargo_toml(objects):
    for place, _, _, container in our_containers(objects):
        if not container["image"].endswith(f":{source.VERSION}"):
            yield f"{place}: image {container['image']} instead of version {source.VERSION}"


@rule
def command_exists(objects):
    for place, _, _, container in our_containers(objects):
        if "command" in container or container["args"][0] not in source.COMMANDS:
            yield f"{place}: {container.get('command', '')} {container['args']} is no command of the image's program"
        for word in container["args"][1:]:
            if word.startswith("--") and not source.has_option(container["args"][0], word):
                yield f"{place}: {container['args'][0]} has no option {word}"


@rule
def variables_exist(objects):
    for place, _, _, container in our_containers(objects):
        for name in variables(container):
            if name.removesuffix("_FILE") not in source.DEFAULTS and not name.startswith(("OTEL_", "RUST_LOG")):
                yield f"{place}: the program has no variable {name}"


@rule
def secrets_are_files(objects):
    for place, _, pod, container in our_containers(objects):
        if SECRETS & set(variables(container)) or any("valueFrom" in entry for entry in container.get("env", [])):
            yield f"{place}: a secret in the environment"
        if container["args"][0] == "run" and not {f"{name}_FILE" for name in SECRETS} <= set(variables(container)):
            yield f"{place}: lacks a _FILE variable of {SECRETS}"
        folders = {mount["mountPath"] for mount in container.get("volumeMounts", []) if mount.get("readOnly")}
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        for name, value in variables(container).items():
            if name.endswith("_FILE") and value.rpartition("/")[0] not in folders:
                yield f"{place}: {name} names a file that is not mounted read-only"
        if not {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes:
            yield f"{place}: mounts a volume that the pod does not have"


@rule
def owners_secret_is_for_the_migration_only(objects):
    for thing, pod, _ in pods(objects):
        names = {volume["secret"]["secretName"] for volume in pod.get("volumes", []) if "secret" in volume}
        if ("snapshot-lifecycle-owner" in names) != (thing["kind"] == "Job"):
            yield f"{name_of(thing)}: has the secrets {names}"


# --- rights ---


@rule
def container_is_restricted(objects):
    """As the level `restricted` of Kubernetes' pod security standards asks, and a root that cannot be written."""
    for place, _, pod, container in our_containers(objects):
        context = {**pod.get("securityContext", {}), **container.get("securityContext", {})}
        wanted = {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        for name, value in wanted.items():
            if context.get(name) != value:
                yield f"{place}: {name} is {context.get(name)} instead of {value}"


@rule
def pod_of_ours_has_no_token_and_no_service_variables(objects):
    for thing, pod, ours in pods(objects):
        if len(ours) == len(pod.get("initContainers", []) + pod["containers"]):
            for name in ("automountServiceAccountToken", "enableServiceLinks"):
                if pod.get(name) is not False:
                    yield f"{name_of(thing)}: {name} is not false"


# --- resources and probes ---


@rule
def memory_is_limited_above_the_worst_case_and_cpu_is_not(objects):
    for place, _, _, container in our_containers(objects):
        resources = container.get("resources", {})
        limits = resources.get("limits", {})
        if "cpu" in limits or "memory" not in limits or not {"cpu", "memory"} <= set(resources.get("requests", {})):
            yield f"{place}: wants requests for CPU and memory, a limit for memory and none for CPU, has {resources}"
            continue
        bound = int(setting(container, "LIFECYCLE_PREFETCH")) * int(setting(container, "LIFECYCLE_MAX_MESSAGE_BYTES"))
        if source.bytes_of(limits["memory"]) < 3 * bound:
            yield f"{place}: memory limit {limits['memory']} is below three times the messages it may hold ({3 * bound} bytes)"


@rule
def probes_ask_what_they_should(objects):
    for place, _, pod, container in workers(objects):
        wanted = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
        if is_sidecar(pod, container):
            wanted["readinessProbe"] = None
        for probe, path in wanted.items():
            request = container.get(probe, {}).get("httpGet", {})
            if request.get("path") != path:
                yield f"{place}: {probe} asks {request.get('path')} instead of {path}"
            if path and request.get("port") != "lifecycle-http":
                yield f"{place}: {probe} asks the port {request.get('port')}"


@rule
def http_is_served_where_the_probes_ask(objects):
    for place, _, _, container in workers(objects):
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
        address = variables(container).get("LIFECYCLE_HTTP_ADDR")
        if ports != {"lifecycle-http": PORT} or address != f"0.0.0.0:{PORT}":
            yield f"{place}: serves HTTP at {address}, and names the ports {ports}"


# --- start, end, rollout ---


@rule
def grace_is_above_the_shutdown_timeout(objects):
    for place, _, pod, container in workers(objects):
        wanted = source.seconds(setting(container, "LIFECYCLE_SHUTDOWN_TIMEOUT")) + MARGIN
        if is_sidecar(pod, container):
            wanted += BACKEND_SECONDS
        if pod.get("terminationGracePeriodSeconds", 30) < wanted:
            yield f"{place}: terminationGracePeriodSeconds is below {wanted}"


@rule
def sidecar_is_native_and_has_no_hook(objects):
    for place, _, pod, container in workers(objects):
        if is_sidecar(pod, container) and container.get("restartPolicy") != "Always":
            yield f"{place}: an init container that never ends, without restartPolicy: Always"
        if "lifecycle" in container:
            yield f"{place}: a hook, which would begin with those of the others and use up the grace period"


@rule
def worker_waits_for_the_migration(objects):
    for place, _, pod, container in workers(objects):
        if not is_sidecar(pod, container):
            waiting = [each["args"] for each in pod.get("initContainers", [])]
            if [args[:2] for args in waiting] != [["migrate", "--wait"]]:
                yield f"{place}: its init containers do {waiting}"


@rule
def rollout_leaves_no_gap(objects):
    scaled = {thing["spec"]["scaleTargetRef"]["name"] for thing in of_kind(objects, "ScaledObject")}
    for place, thing, pod, container in workers(objects):
        if is_sidecar(pod, container):
            continue
        spec = thing["spec"]
        if spec["strategy"] != {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}:
            yield f"{place}: strategy {spec['strategy']}"
        if thing["metadata"]["name"] in scaled:
            if "replicas" in spec:
                yield f"{place}: each apply would undo what KEDA chose"
        elif spec.get("replicas", 1) < 2:
            yield f"{place}: fewer than two replicas"
        spread = pod.get("affinity", {}).get("podAntiAffinity", {})
        if "preferredDuringSchedulingIgnoredDuringExecution" not in spread or len(spread) != 1:
            yield f"{place}: is not asked, softly, to spread over nodes"


@rule
def drain_takes_one_at_a_time_and_is_never_blocked(objects):
    for thing in of_kind(objects, "PodDisruptionBudget"):
        spec = thing["spec"]
        if (spec.get("maxUnavailable"), spec.get("unhealthyPodEvictionPolicy")) != (1, "AlwaysAllow") or "minAvailable" in spec:
            yield f"{name_of(thing)}: {spec}"


@rule
def queue_length_never_scales_to_nothing(objects):
    for thing in of_kind(objects, "ScaledObject"):
        trigger = thing["spec"]["triggers"][0]["metadata"]
        if thing["spec"].get("minReplicaCount", 0) < 1:
            yield f"{name_of(thing)}: may scale to 0"
        if (trigger.get("protocol"), trigger.get("mode"), trigger.get("queueName")) != ("amqp", "QueueLength", source.DEFAULTS["LIFECYCLE_QUEUE"]):
            yield f"{name_of(thing)}: asks for {trigger}"


# --- what refers to something ---


@rule
def selectors_select_our_pods(objects):
    templates = [thing["spec"]["template"] for thing, _, _ in pods(objects)]
    selecting = [
        (thing, thing["spec"].get("selector") or thing["spec"]["podSelector"])
        for thing in of_kind(objects, "Deployment", "PodDisruptionBudget", "PodMonitor", "NetworkPolicy")
    ]
    for thing, _, pod in ((thing, pod, pod) for thing, pod, _ in pods(objects)):
        spread = pod.get("affinity", {}).get("podAntiAffinity", {}).get("preferredDuringSchedulingIgnoredDuringExecution", [])
        selecting += [(thing, term["podAffinityTerm"]["labelSelector"]) for term in spread]
    for thing, selector in selecting:
        labels = selector["matchLabels"].items()
        if not any(labels <= template["metadata"]["labels"].items() for template in templates):
            yield f"{name_of(thing)}: no pod has the labels {dict(labels)}"


@rule
def metrics_are_where_the_monitor_asks(objects):
    ports = {port["name"] for _, _, _, container in our_containers(objects) for port in container.get("ports", [])}
    for thing in of_kind(objects, "PodMonitor"):
        for endpoint in thing["spec"]["podMetricsEndpoints"]:
            if endpoint.get("port") not in ports or endpoint.get("path") != "/metrics":
                yield f"{name_of(thing)}: scrapes {endpoint}"


@rule
def network_policy_lets_through_what_is_needed(objects):
    for thing in of_kind(objects, "NetworkPolicy"):
        spec = thing["spec"]
        out = {(port["protocol"], port["port"]) for each in spec["egress"] for port in each["ports"]}
        needed = {("UDP", 53), *(("TCP", port) for port in (53, 5432, 6543, 5671, 5672, 4318))}
        if not needed <= out or any("to" in each for each in spec["egress"]):
            yield f"{name_of(thing)}: egress lacks {needed - out}, or names addresses"
        if PORT not in {port["port"] for each in spec["ingress"] for port in each["ports"]}:
            yield f"{name_of(thing)}: nobody may ask for health and metrics"


@rule
def names_of_objects_that_are_referred_to_exist(objects):
    names = {name_of(thing) for thing in objects}
    for thing in of_kind(objects, "ScaledObject"):
        wanted = [f"Deployment/{thing['spec']['scaleTargetRef']['name']}"]
        wanted += [f"TriggerAuthentication/{trigger['authenticationRef']['name']}" for trigger in thing["spec"]["triggers"]]
        yield from (f"{name_of(thing)}: there is no {name}" for name in wanted if name not in names)
