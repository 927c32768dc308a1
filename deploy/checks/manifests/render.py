"""Renders kustomizations and the chart into the objects that a cluster would get."""

import os
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
KUSTOMIZE = ROOT / "deploy/kubernetes"
CHART = ROOT / "deploy/helm"


class Failed(Exception):
    """A tool refused a file, with what it said."""


def run(*command):
    answer = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise Failed(f"{answer.stdout}{answer.stderr}".strip())
    return answer.stdout


def objects(text):
    return [found for found in yaml.safe_load_all(text) if found]


def kustomize(folder):
    return objects(run(os.environ["KUBECTL"], "kustomize", KUSTOMIZE / folder))


def helm(*options, release="snapshot-lifecycle"):
    return objects(run(os.environ["HELM"], "template", release, CHART, *options))


def name_of(thing):
    return f"{thing['kind']}/{thing['metadata']['name']}"
