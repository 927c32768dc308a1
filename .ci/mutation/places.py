"""Where the sources, the copy of them with the mutants, and the results are; and how a program is run."""

import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WORK = os.path.join(ROOT, "target/mutants")
TREE = os.path.join(WORK, "tree")
STATE = os.path.join(WORK, "results.json")


def run(*words, **options):
    return subprocess.run(words, check=True, text=True, stdout=subprocess.PIPE, **options).stdout
