"""Which tests reach what, and each mutant with the tests that reach it."""

import collections
import os
import queue
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from modules import near_tests
from places import TREE, run

LANES = int(os.environ.get("LANES", 3))  # mutants tried at once, each on servers of its own
THREADS = 4  # tests at once of one mutant
SECONDS_PER_MUTANT = int(os.environ.get("SECONDS_PER_MUTANT", 300))  # then it is undecided, and --resume tries it again
MUTANTS_PER_SERVERS = 40  # what failed tests leave on the servers goes with them


class Servers:
    """A PostgreSQL and a RabbitMQ of one lane."""

    def __init__(self):
        self.folder = None

    def fresh(self):
        self.stop()
        self.folder = tempfile.mkdtemp(prefix="snapshot-lifecycle.")
        os.chmod(self.folder, 0o755)
        self.call("guard", self.folder, str(os.getpid()))
        self.call("postgres", "start", self.folder, "fsync=off", "max_connections=300")
        self.used = 0
        self.urls = dict(line.split("=", 1) for line in self.call("up", self.folder).splitlines())

    def stop(self):
        if self.folder:
            self.call("down", self.folder)
            shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, *words):
        return run(os.path.join(TREE, "deploy/local/servers"), *words, stderr=subprocess.DEVNULL)


def run_tests(program, tests, servers, timeout, **variables):
    """Runs tests of one program until one fails. Returns the tests that failed, or "timeout" and those that had not ended."""
    environment = dict(os.environ, **servers.urls, **variables)
    command = [program, "--exact", "--test-threads", str(THREADS), *tests]
    process = subprocess.Popen(
        command, cwd=TREE, env=environment, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    timed_out = threading.Event()

    def kill(by_time=True):
        if by_time:
            timed_out.set()
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    timer = threading.Timer(timeout, kill)
    timer.start()
    failed, passed = [], []
    for line in process.stdout:
        if found := re.match(r"test (\S+)(?: - should panic)? \.\.\. (\w+)", line):
            (failed if found[2] == "FAILED" else passed).append(found[1])
            if found[2] == "FAILED":
                kill(by_time=False)
    code = process.wait()
    timer.cancel()
    if failed:
        return failed
    if timed_out.is_set():
        return ["timeout", *[test for test in tests if test not in passed]]
    # A process that is gone without a word has aborted, as with a stack overflow.
    return ["abort"] if code else []


def in_lanes(jobs, work):
    """Calls work(job, servers) for each job, LANES at once."""
    todo = queue.Queue()
    for job in jobs:
        todo.put(job)

    def lane():
        servers = Servers()
        servers.fresh()
        try:
            while True:
                servers.used += 1
                if servers.used > MUTANTS_PER_SERVERS:
                    servers.fresh()
                work(todo.get_nowait(), servers)
        except queue.Empty:
            servers.stop()

    lanes = [threading.Thread(target=lane) for _ in range(LANES)]
    for thread in lanes:
        thread.start()
    for thread in lanes:
        thread.join()


def measure(programs):
    """Runs each test alone, and notes its time and what it reaches."""
    tests = []
    for program in programs:
        listed = run(program, "--list", cwd=TREE)
        tests += [{"program": program, "name": name} for name in re.findall(r"^(\S+): test$", listed, re.M)]
    folder = tempfile.mkdtemp()
    os.chmod(folder, 0o777)

    def measure_one(job, servers):
        number, test = job
        file = os.path.join(folder, str(number))
        start = time.time()
        test["failed"] = run_tests(test["program"], [test["name"]], servers, 600, MUTANT_REACHED=file)
        test["seconds"] = round(time.time() - start, 2)
        test["reached"] = sorted({int(line) for line in open(file)}) if os.path.exists(file) else []
        if number % 50 == 0:
            print(f"measured {number} of {len(tests)} tests", flush=True)

    in_lanes(enumerate(tests), measure_one)
    in_lanes([job for job in enumerate(tests) if job[1]["failed"]], measure_one)
    shutil.rmtree(folder)
    for test in tests:
        if test["failed"]:
            print(f"left out, it fails without a mutant: {test['name']}")
    return [test for test in tests if not test["failed"]]


def batches(tests, kills, near):
    """The tests of one program at a time: the most likely to fail first, alone, then a few together."""
    units = [test for test in tests if "/it-" not in test["program"]]
    if units:
        yield units
    others = [test for test in tests if "/it-" in test["program"]]

    def worth(test):
        narrow = 20 / len(test["reached"])
        is_near = any(part in test["name"] for part in near)
        return (kills[test["name"]] + (2 if is_near else 0.05) + narrow) / (test["seconds"] + 2)

    others.sort(key=worth, reverse=True)
    size = 1
    while others:
        yield others[:size]
        others, size = others[size:], min(size * 2, 4)


def attempt(mutants, tests, save):
    reaching = collections.defaultdict(list)
    for test in tests:
        for function in test["reached"]:
            reaching[function].append(test)
    kills = collections.defaultdict(collections.Counter)  # by file and by module: which tests saw its mutants

    def note_kill(mutant):
        kills[mutant["file"]].update(mutant["by"])
        kills[mutant["module"]].update(mutant["by"])

    for mutant in mutants:
        if mutant.get("result") == "seen":
            note_kill(mutant)

    def attempt_one(mutant, servers):
        start, result = time.time(), "survived"
        mine = reaching[mutant["first"]]
        passed = set(mutant.get("passed", []))  # of an earlier run that ended undecided
        left = [test for test in mine if test["name"] not in passed]
        near, far = kills[mutant["file"]], kills[mutant["module"]]
        likely = collections.Counter({name: near[name] + far[name] / 10 for name in near | far})
        for batch in batches(left, likely, near_tests(mutant)):
            if time.time() - start > SECONDS_PER_MUTANT:
                result = "undecided"
                break
            expected = max(sum(test["seconds"] for test in batch) / THREADS, max(test["seconds"] for test in batch))
            names = [test["name"] for test in batch]
            failed = run_tests(batch[0]["program"], names, servers, 3 * expected + 30, MUTANT=str(mutant["number"]))
            if failed:
                result = "ran out of time" if failed[0] == "timeout" else "seen"
                mutant["by"] = failed[-3:]
                if result == "seen":
                    note_kill(mutant)
                break
            passed.update(names)
        mutant["passed"] = sorted(passed) if result == "undecided" else []
        mutant["result"] = result if mine else "unreached"
        mutant["seconds"] = round(time.time() - start, 1)
        print(f"{mutant['result']}: {mutant['name']} ({mutant['seconds']} s)", flush=True)
        save()

    todo = [mutant for mutant in mutants if mutant.get("result", "undecided") == "undecided"]
    in_lanes(sorted(todo, key=lambda mutant: "result" in mutant), attempt_one)
