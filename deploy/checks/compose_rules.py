"""What no schema knows about deploy/compose.yaml: the variables of the worker, the image's health check, and who may do what."""

import re
import sys

import ruamel.yaml

root = sys.argv[1]
compose = ruamel.yaml.YAML(typ="safe").load(open(f"{root}/deploy/compose.yaml"))
dockerfile = open(f"{root}/deploy/Dockerfile").read()
variables = set(re.findall(r'env = "([A-Z_]+)"', "".join(open(f"{root}/src/config/{name}.rs").read() for name in ("broker", "database", "http", "log", "passes", "process"))))
problems = []


def must(holds, problem):
    if not holds:
        problems.append(problem)


for name in ("migrate", "worker"):
    service = compose["services"][name]
    for variable in service["environment"]:
        must(variable.removesuffix("_FILE") in variables, f"{name}: the program knows no variable {variable}")
    must(all(variable.endswith("_FILE") for variable in service["environment"]), f"{name}: a secret that is not a file")
    must(service.get("read_only") and service["cap_drop"] == ["ALL"], f"{name}: may write, or has capabilities")
worker = compose["services"]["worker"]
must(worker["healthcheck"]["test"][-1] == "--live", "worker: an outage of a server would restart it; its health is healthcheck --live")
command = re.search(r"HEALTHCHECK .*CMD (\[.*\])", dockerfile)[1]
must(command == str(worker["healthcheck"]["test"][1:]).replace("'", '"'), "worker: another health check than the image's")
timeout = int(re.search(r'LIFECYCLE_SHUTDOWN_TIMEOUT".*?default_value = "(\d+)s"', open(f"{root}/src/config/process.rs").read(), re.S)[1])
must(int(worker["stop_grace_period"].removesuffix("s")) > timeout + 2, "worker: killed before its shutdown timeout and two seconds")
version = re.search(r'^version = "(.*)"', open(f"{root}/Cargo.toml").read(), re.M)[1]
must(f"ARG VERSION={version}\n" in dockerfile, f"Dockerfile: its version is not Cargo.toml's, {version}")
sys.exit("\n".join(f"compose: {problem}" for problem in problems) or 0)
