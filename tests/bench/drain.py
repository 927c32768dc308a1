"""How fast a full queue is drained: our worker and a careful Python one, in one run on the same private servers.

Each round finds fresh tables and a queue filled while no worker ran, and is measured from the first acknowledgement until
the queue is empty and the rows are gone; then exactly the right rows must be left. A time is never a failure.
"""

import argparse
import asyncio
import itertools
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

from collector import Collector
from program import Program, cpu_of
from scene import END_BEFORE_NOW, TEAMS, Scene, event_id, team_id

HERE = Path(__file__).resolve().parent
TREE = HERE.parent.parent
SERVERS = TREE / "deploy" / "local" / "servers"
PREFETCH = 2000
MILLION = 1_000_000
PROGRAMS = {"rust": "snapshot-lifecycle", "python": "careful Python", "traced": "with traces"}
# Of a message whose publisher traces it.
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def arguments():
    parser = argparse.ArgumentParser(prog="tests/bench/drain", description=__doc__)
    parser.add_argument("--messages", type=int, default=50_000, metavar="N", help="events, each ended by one message [%(default)s]")
    parser.add_argument("--rounds", type=int, default=3, metavar="R", help="of each program, alternating [%(default)s]")
    parser.add_argument("--team-id", choices=("always", "never"), default="always", help="whether messages name the team [%(default)s]")
    parser.add_argument("--prefetch", type=numbers, metavar="LIST", help="instead: our worker alone with each of these, as 500,1000,2000")
    parser.add_argument("--traces", action="store_true", help="instead: our worker with traces to a collector beside itself without, on traced messages")
    parser.add_argument("--idle-million", action="store_true", help="instead: our worker's memory with 1,000,000 messages waiting")
    parser.add_argument("--binary", type=Path, metavar="FILE", help="measure this one, do not build")
    parser.add_argument("--keep-logs", type=Path, metavar="DIR", help="copy what the programs printed to DIR")
    options = parser.parse_args()
    if options.messages < 10 * PREFETCH or options.rounds < 1:
        parser.error(f"--messages must be {10 * PREFETCH} or more, --rounds 1 or more")
    return options


def numbers(text):
    return [int(part) for part in text.split(",")]


class Bench:
    """The runs; `round` is the one measurement that all of them are made of."""

    def __init__(self, options, scene, directory):
        self._options, self._scene, self._directory = options, scene, directory
        self._server_pids = {
            service: subprocess.run([SERVERS, service, "pid", directory], check=True, capture_output=True, text=True).stdout.strip()
            for service in ("postgres", "rabbitmq")
        }
        self.collector = Collector() if options.traces else None

    def program(self, kind, prefetch=PREFETCH):
        environment = {name: os.environ[name] for name in ("PATH", "RUST_LOG") if name in os.environ}
        environment |= {"DATABASE_URL": self._scene.database_url, "AMQP_URL": self._scene.amqp_url}
        if kind != "python":
            command = [self._options.binary, "run"]
            # The passes run as they always do, but each team has more than the default cap here, and those must stay.
            environment |= {
                "LIFECYCLE_PREFETCH": str(prefetch),
                "LIFECYCLE_MAX_SNAPSHOTS_PER_TEAM": str(MILLION),
                "LIFECYCLE_HTTP_ADDR": "127.0.0.1:0",
            }
            if kind == "traced":
                environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = self.collector.url
        else:
            command = [sys.executable, HERE / "careful_worker.py"]
            environment["PREFETCH"] = str(prefetch)
        log = self._directory / f"{kind}-{prefetch}.log"
        return Program(PROGRAMS[kind], command, environment, log)

    async def declare(self):
        """The queues, as our worker makes them; returns its memory with nothing to do, in MiB."""
        await self._scene.reset(0)
        with self.program("rust") as worker:
            await self._until(worker, 30, self._consumed)
            await asyncio.sleep(5)  # the first pass of sweep and eviction is done by then
            memory = worker.memory("VmRSS")
        await self._scene.purge()
        return memory

    async def _consumed(self):
        return await self._scene.consumers() > 0

    async def _until(self, program, seconds, condition, pause=0.1):
        deadline = time.monotonic() + seconds
        while not await condition():
            program.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{program.name}: no end after {seconds} s, (messages, consumers) are {await self._scene.queued()}")
            await asyncio.sleep(pause)

    async def round(self, kind, prefetch=PREFETCH):
        events = self._options.messages
        await self._scene.reset(events)
        variables = {"TRACEPARENT": TRACEPARENT} if self._options.traces else {}
        await self._scene.fill(ends(events, self._options.team_id == "always"), variables)
        await self._scene.calm()
        return await self._drain(kind, prefetch, events, tail=range(events - min(prefetch, events), events))

    async def _drain(self, kind, prefetch, messages, tail):
        """Measures from the first acknowledgement: only after it does less wait than was never handed out."""

        async def begun():
            nonlocal waiting
            waiting = (await self._scene.queued())[0]
            return waiting < messages - prefetch

        async def handed_out():
            return (await self._scene.queued())[0] == 0

        async def gone():
            # One event is cheap to ask for, often; only then all that may still have been in flight.
            return await self._scene.gone(tail[-1:]) and await self._scene.gone(tail)

        waiting = messages
        with self.program(kind, prefetch) as program:
            await self._until(program, 60, begun, pause=0.002)
            began, cpu, servers = time.monotonic(), program.cpu(), self._servers_cpu()
            acknowledged_before = messages - prefetch - waiting
            timeout = 60 + messages / 200
            await self._until(program, timeout, handed_out, pause=0.025)
            await self._until(program, timeout, gone, pause=0.002)
            took = time.monotonic() - began
            result = {
                "rate": (messages - acknowledged_before) / took,
                "cpu": program.cpu() - cpu,
                "memory": program.memory("VmHWM"),
            }
            result |= {name: now - servers[name] for name, now in self._servers_cpu().items()}
            await asyncio.sleep(0.5)  # the last acknowledgement comes after the last commit
        await self._scene.verify()
        return result

    def _servers_cpu(self):
        return {name: cpu_of(pid, with_children=name == "postgres") for name, pid in self._server_pids.items()}

    async def compare(self, *kinds):
        """Of the first to the second."""
        results = {kind: [] for kind in kinds}
        for number in range(self._options.rounds):
            for kind, rounds in results.items():
                rounds.append(await self.round(kind))
                note(f"round {number + 1} of {self._options.rounds}, {PROGRAMS[kind]}: {rounds[-1]['rate']:,.0f} messages/s")
        print_rounds({PROGRAMS[kind]: rounds for kind, rounds in results.items()})
        first, second = (statistics.median(result["rate"] for result in results[kind]) for kind in kinds)
        print(f"ratio: {first / second:.2f}")
        if self.collector:
            print(f"the collector received {self.collector.requests} requests, {self.collector.received:,} bytes")

    async def sweep_prefetch(self):
        results = {prefetch: [] for prefetch in self._options.prefetch}
        for number in range(self._options.rounds):
            for prefetch, rounds in results.items():
                rounds.append(await self.round("rust", prefetch))
                note(f"round {number + 1} of {self._options.rounds}, prefetch {prefetch}: {rounds[-1]['rate']:,.0f} messages/s")
        print_rounds({f"prefetch {prefetch}": rounds for prefetch, rounds in results.items()})

    async def idle_million(self, empty):
        await self._scene.reset(1)
        # The last message ends an event that exists, which shows when all are done.
        took = await self._scene.fill(itertools.chain(unknown_events(MILLION - 1), ends(1, with_team=False)))
        note(f"published {MILLION:,} messages in {took:.0f} s, each confirmed: {MILLION / took:,.0f} messages/s")
        await self._scene.calm()
        result = await self._drain("rust", PREFETCH, MILLION, tail=range(1))
        print(f"queue empty: {empty:.1f} MiB resident")
        # No rate: messages without rows go so fast that the first check may already find most of them gone.
        print(f"{MILLION:,} waiting: {result['memory']:.1f} MiB at most while draining them")


def ends(events, with_team):
    """A message for each event: it ended before the snapshots that must stay were made."""
    occurred_at = (datetime.now(timezone.utc) - timedelta(seconds=END_BEFORE_NOW)).isoformat()
    for number in range(events):
        message = {"message_id": str(event_id(f"message{number}")), "event_id": str(event_id(number))}
        if with_team:
            message["team_id"] = str(team_id(number))
        yield message | {"status": ("confirmed", "cancelled")[number % 2], "step": 7, "occurred_at": occurred_at}


def unknown_events(count):
    occurred_at = datetime.now(timezone.utc).isoformat()
    for number in range(count):
        yield {"event_id": str(event_id(f"unknown{number}")), "status": "confirmed", "occurred_at": occurred_at}


def print_rounds(results):
    """The median of each column, and the range of the rates."""
    form = "{:<20} {:>11} {:>17} {:>10} {:>12} {:>10} {:>10}"
    print(form.format("", "messages/s", "lowest-highest", "CPU s", "peak RSS MiB", "PG CPU s", "MQ CPU s"))
    for name, rounds in results.items():
        median = {field: statistics.median(result[field] for result in rounds) for field in rounds[0]}
        rates = [result["rate"] for result in rounds]
        print(form.format(
            name, f"{median['rate']:,.0f}", f"{min(rates):,.0f}-{max(rates):,.0f}", f"{median['cpu']:.2f}",
            f"{median['memory']:.1f}", f"{median['postgres']:.2f}", f"{median['rabbitmq']:.2f}",
        ))


def note(text):
    print(f"drain: {text}", file=sys.stderr)


def build():
    note("cargo build --release")
    subprocess.run(["cargo", "build", "--release", "--quiet", "--locked"], cwd=TREE, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", TREE / "target")) / "release" / "snapshot-lifecycle"


def machine():
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} cores ({model}), Linux {platform.release()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.2f}"


async def run(options, scene, directory):
    await scene.open()
    try:
        bench = Bench(options, scene, directory)
        before = machine()
        empty = await bench.declare()
        print("$ tests/bench/drain", shlex.join(sys.argv[1:]))
        print(before)
        print(await scene.versions())
        if options.idle_million:
            return await bench.idle_million(empty)
        print(
            f"{options.messages:,} messages for events of 4 snapshots of 1 KiB in {TEAMS} teams, team_id {options.team_id}; "
            f"medians of {options.rounds} rounds, CPU during the drain"
        )
        if options.prefetch:
            await bench.sweep_prefetch()
        elif options.traces:
            await bench.compare("traced", "rust")
        else:
            await bench.compare("rust", "python")
    finally:
        await scene.close()


def main():
    options = arguments()
    options.binary = (options.binary or build()).resolve()
    directory = Path(tempfile.mkdtemp(prefix="drain."))
    # Stops the servers and removes the folder however this process ends.
    subprocess.run([SERVERS, "guard", directory, str(os.getpid())], check=True)
    subprocess.run([SERVERS, "install"], check=True)
    answer = subprocess.run([SERVERS, "up", directory], check=True, stdout=subprocess.PIPE, text=True).stdout
    urls = dict(line.split("=", 1) for line in answer.splitlines())
    try:
        asyncio.run(run(options, Scene(options.binary, urls["DATABASE_URL"], urls["AMQP_URL"], directory), directory))
    finally:
        if options.keep_logs:
            options.keep_logs.mkdir(parents=True, exist_ok=True)
            for log in [*directory.glob("*.log"), *directory.glob("postgres/log")]:
                shutil.copy(log, options.keep_logs / str(log.relative_to(directory)).replace("/", "-"))
        subprocess.run([SERVERS, "down", directory], check=False)


if __name__ == "__main__":
    main()
