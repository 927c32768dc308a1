"""Breaks the rendered objects on purpose, one mistake at a time, and reports each mistake that nothing notices: a rule that
refuses nothing is no rule."""

import copy

import rules
import schemas

DELETE = object()

WORKER = ("Deployment", "snapshot-lifecycle")
BACKEND = ("Deployment", "venue-backend")
JOB = ("Job", "snapshot-lifecycle-migrate")
POD = "spec.template.spec"
RUN = f"{POD}.containers.0"
SIDECAR = f"{POD}.initContainers.0"

# Who must notice, in which object, at which place, what is put there.
MISTAKES = [
    ("schema", WORKER, "spec.replica", 3),
    ("schema", WORKER, f"{RUN}.livenessprobe", {}),
    ("schema", WORKER, "apiVersion", "apps/v2"),
    ("schema", ("ScaledObject", "snapshot-lifecycle"), "spec.maxReplicas", 3),
    ("schema", ("ScaledObject", "snapshot-lifecycle"), "spec.scaleTargetRef", DELETE),
    ("schema", ("TriggerAuthentication", "snapshot-lifecycle"), "spec.secretTargetRef.0.keys", "host"),
    ("schema", ("PodMonitor", "snapshot-lifecycle"), "spec.podMetricsEndpoints.0.paths", "/metrics"),
    ("schema", ("NetworkPolicy", "snapshot-lifecycle"), "spec.egress.0.port", 53),
    ("image_has_the_version_of_cargo_toml", JOB, f"{POD}.containers.0.image", "snapshot-lifecycle:latest"),
    ("command_exists", JOB, f"{POD}.containers.0.args", ["migrations"]),
    ("command_exists", WORKER, f"{SIDECAR}.args", ["migrate", "--await", "10m"]),
    ("variables_exist", WORKER, f"{RUN}.env.2.name", "LIFECYCLE_HTTP_ADDRESS"),
    ("secrets_are_files", WORKER, f"{RUN}.env.0", {"name": "DATABASE_URL", "value": "postgres://somebody@host/db"}),
    ("secrets_are_files", WORKER, f"{RUN}.volumeMounts", []),
    ("secrets_are_files", WORKER, f"{POD}.volumes", []),
    ("owners_secret_is_for_the_migration_only", WORKER, f"{POD}.volumes.0.secret.secretName", "snapshot-lifecycle-owner"),
    ("container_is_restricted", WORKER, f"{POD}.securityContext.runAsNonRoot", DELETE),
    ("container_is_restricted", WORKER, f"{RUN}.securityContext.readOnlyRootFilesystem", False),
    ("container_is_restricted", WORKER, f"{SIDECAR}.securityContext.capabilities", DELETE),
    ("container_is_restricted", BACKEND, f"{SIDECAR}.securityContext.seccompProfile", DELETE),
    ("pod_of_ours_has_no_token_and_no_service_variables", WORKER, f"{POD}.automountServiceAccountToken", DELETE),
    ("pod_of_ours_has_no_token_and_no_service_variables", JOB, f"{POD}.enableServiceLinks", True),
    ("memory_is_limited_above_the_worst_case_and_cpu_is_not", WORKER, f"{RUN}.resources.limits.memory", "128Mi"),
    ("memory_is_limited_above_the_worst_case_and_cpu_is_not", BACKEND, f"{SIDECAR}.resources.limits.cpu", "1"),
    ("probes_ask_what_they_should", WORKER, f"{RUN}.readinessProbe.httpGet.path", "/livez"),
    ("probes_ask_what_they_should", WORKER, f"{RUN}.livenessProbe.httpGet.path", "/readyz"),
    ("probes_ask_what_they_should", BACKEND, f"{SIDECAR}.readinessProbe", {"httpGet": {"path": "/readyz", "port": "lifecycle-http"}}),
    ("probes_ask_what_they_should", BACKEND, f"{SIDECAR}.startupProbe.httpGet.path", "/readyz"),
    ("http_is_served_where_the_probes_ask", WORKER, f"{RUN}.env.2.value", "127.0.0.1:9464"),
    ("http_is_served_where_the_probes_ask", BACKEND, f"{SIDECAR}.ports.0.containerPort", 8080),
    ("grace_is_above_the_shutdown_timeout", WORKER, f"{POD}.terminationGracePeriodSeconds", 20),
    ("grace_is_above_the_shutdown_timeout", BACKEND, f"{POD}.terminationGracePeriodSeconds", DELETE),
    ("grace_is_above_the_shutdown_timeout", WORKER, f"{RUN}.env.3", {"name": "LIFECYCLE_SHUTDOWN_TIMEOUT", "value": "1m"}),
    ("sidecar_is_native_and_has_no_hook", BACKEND, f"{SIDECAR}.restartPolicy", DELETE),
    ("sidecar_is_native_and_has_no_hook", BACKEND, f"{SIDECAR}.lifecycle", {"preStop": {"sleep": {"seconds": 5}}}),
    ("worker_waits_for_the_migration", WORKER, f"{POD}.initContainers", []),
    ("rollout_leaves_no_gap", WORKER, "spec.strategy.rollingUpdate.maxUnavailable", 1),
    ("rollout_leaves_no_gap", WORKER, "spec.replicas", 2),
    ("rollout_leaves_no_gap", WORKER, f"{POD}.affinity", DELETE),
    ("drain_takes_one_at_a_time_and_is_never_blocked", ("PodDisruptionBudget", "snapshot-lifecycle"), "spec.minAvailable", 1),
    ("queue_length_never_scales_to_nothing", ("ScaledObject", "snapshot-lifecycle"), "spec.minReplicaCount", 0),
    ("queue_length_never_scales_to_nothing", ("ScaledObject", "snapshot-lifecycle"), "spec.triggers.0.metadata.queueName", "status"),
    ("selectors_select_our_pods", ("PodDisruptionBudget", "snapshot-lifecycle"), "spec.selector.matchLabels.app", "worker"),
    ("selectors_select_our_pods", ("PodMonitor", "snapshot-lifecycle"), "spec.selector.matchLabels.app", "worker"),
    ("metrics_are_where_the_monitor_asks", ("PodMonitor", "snapshot-lifecycle"), "spec.podMetricsEndpoints.0.port", "http"),
    ("network_policy_lets_through_what_is_needed", ("NetworkPolicy", "snapshot-lifecycle"), "spec.egress.0.ports", []),
    ("network_policy_lets_through_what_is_needed", ("NetworkPolicy", "snapshot-lifecycle"), "spec.ingress", []),
    ("names_of_objects_that_are_referred_to_exist", ("ScaledObject", "snapshot-lifecycle"), "spec.scaleTargetRef.name", "worker"),
]


def not_noticed(deployment, sidecar):
    checks = {check.__name__: check for check in rules.RULES}
    for who, target, place, value in MISTAKES:
        objects = copy.deepcopy(sidecar if target == BACKEND else deployment)
        thing = next(each for each in objects if (each["kind"], each["metadata"]["name"]) == target)
        put(thing, place.split("."), value)
        noticed = list(schemas.problems([thing]) if who == "schema" else checks[who](objects))
        if not noticed:
            yield f"a mistake that {who} does not notice: {target[0]}, {place}"
    yield from (f"no mistake shows that {name} works" for name in checks.keys() - {mistake[0] for mistake in MISTAKES})


def put(thing, path, value):
    *path, last = [int(step) if step.isdigit() else step for step in path]
    for step in path:
        thing = thing[step]
    if value is DELETE:
        del thing[last]
    else:
        thing[last] = value
