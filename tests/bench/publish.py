"""How fast a file is published with confirms: `publish --from` and a careful Python publisher, in one run on the same private
RabbitMQ, into a quorum queue behind the topic exchange. A time is never a failure; a message too few is.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import aiormq

from program import cpu_of

HERE = Path(__file__).resolve().parent
TREE = HERE.parent.parent
SERVERS = TREE / "deploy" / "local" / "servers"
EXCHANGE, QUEUE = "event.status", "snapshot-lifecycle"


def arguments():
    parser = argparse.ArgumentParser(prog="tests/bench/publish", description=__doc__)
    parser.add_argument("--messages", type=int, default=50_000, metavar="N", help="messages a round [%(default)s]")
    parser.add_argument("--rounds", type=int, default=3, metavar="R", help="of each program, alternating [%(default)s]")
    return parser.parse_args()


def server(*words):
    return subprocess.run([SERVERS, *words], check=True, capture_output=True, text=True).stdout.strip()


async def main(options, directory):
    url, pid = server("rabbitmq", "start", directory), server("rabbitmq", "pid", directory)
    binary = TREE / "target" / "release" / "snapshot-lifecycle"
    path = Path(directory) / "messages.ndjson"
    with open(path, "w", encoding="ascii") as file:
        for _ in range(options.messages):
            message = {"message_id": uuid.uuid4(), "event_id": uuid.uuid4(), "team_id": uuid.uuid4()}
            message |= {"status": "confirmed", "step": 7, "occurred_at": "2026-01-05T12:00:00Z"}
            file.write(json.dumps(message, default=str) + "\n")
    connection = await aiormq.connect(url)
    channel = await connection.channel()
    await channel.exchange_declare(EXCHANGE, exchange_type="topic", durable=True)
    await channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    await channel.queue_bind(QUEUE, EXCHANGE, "event.status.#")
    programs = {
        "snapshot-lifecycle": [binary, "publish", "--amqp-url", url, "--from", path],
        "careful Python": [sys.executable, HERE / "careful_publisher.py", url, EXCHANGE, path],
    }
    rates = {name: [] for name in programs}
    print(f"{'program':<20} {'messages/s':>10} {'its CPU s':>10} {'RabbitMQ CPU s':>15}")
    for _ in range(options.rounds):
        for name, command in programs.items():
            await channel.queue_purge(QUEUE)
            await asyncio.sleep(2)  # RabbitMQ writes its segments in the background and tells nobody
            before, began = (os.times().children_user + os.times().children_system, cpu_of(pid)), time.monotonic()
            # In a thread: our own connection must answer its heartbeats meanwhile.
            await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, timeout=1800)
            took = time.monotonic() - began
            after = (os.times().children_user + os.times().children_system, cpu_of(pid))
            there = (await channel.queue_declare(QUEUE, passive=True)).message_count
            if there != options.messages:
                raise RuntimeError(f"{name}: {there} messages of {options.messages} are in the queue")
            rates[name].append(options.messages / took)
            print(f"{name:<20} {options.messages / took:>10,.0f} {after[0] - before[0]:>10.1f} {after[1] - before[1]:>15.1f}")
    await connection.close()
    ours, theirs = (statistics.median(rates[name]) for name in programs)
    print(f"median {ours:,.0f} against {theirs:,.0f} messages a second: {ours / theirs:.1f} times")


if __name__ == "__main__":
    OPTIONS = arguments()
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=TREE, check=True)
    server("install")
    with tempfile.TemporaryDirectory() as DIRECTORY:
        try:
            asyncio.run(main(OPTIONS, DIRECTORY))
        finally:
            server("down", DIRECTORY)
