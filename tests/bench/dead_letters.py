"""What the dlq commands take on a long queue: stats, list, export, and a replay with confirms, each with its time and the most memory it
ever had. A time is never a failure; a dead letter too few is.
"""

import argparse
import asyncio
import json
import os
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import aiormq

TREE = Path(__file__).resolve().parent.parent.parent
SERVERS = TREE / "deploy" / "local" / "servers"
BINARY = TREE / "target" / "release" / "snapshot-lifecycle"
EXCHANGE, QUEUE = "event.status", "snapshot-lifecycle"
DEAD_LETTER_EXCHANGE, DEAD = QUEUE + ".dlx", QUEUE + ".dead-letter"


def arguments():
    parser = argparse.ArgumentParser(prog="tests/bench/dead_letters", description=__doc__)
    parser.add_argument("--dead-letters", type=int, default=100_000, metavar="N", help="[%(default)s]")
    return parser.parse_args()


def server(*words):
    return subprocess.run([SERVERS, *words], check=True, capture_output=True, text=True).stdout.strip()


def run(url, *words):
    """Seconds and MiB."""
    began = time.monotonic()
    # A command that is alone, so that what the system counts is its own.
    program = subprocess.Popen([BINARY, *words, "--amqp-url", url], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(status)
    if program.returncode != 0:
        raise RuntimeError(f"{words} ended with {program.returncode}")
    return time.monotonic() - began, usage.ru_maxrss / 1024


async def main(options, directory):
    url = server("rabbitmq", "start", directory)
    path = Path(directory) / "messages.ndjson"
    with open(path, "w", encoding="ascii") as file:
        for _ in range(options.dead_letters):
            message = {"message_id": uuid.uuid4(), "event_id": uuid.uuid4()}
            message |= {"status": "confirmed", "step": 7, "occurred_at": "2026-01-05T12:00:00Z"}
            file.write(json.dumps(message, default=str) + "\n")
    connection = await aiormq.connect(url)
    channel = await connection.channel()
    # As `run` declares them, as far as it matters here.
    await channel.exchange_declare(EXCHANGE, exchange_type="topic", durable=True)
    await channel.exchange_declare(DEAD_LETTER_EXCHANGE, exchange_type="fanout", durable=True)
    quorum = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000_000}
    await channel.queue_declare(QUEUE, durable=True, arguments=quorum)
    await channel.queue_declare(DEAD, durable=True, arguments=quorum)
    await channel.queue_bind(QUEUE, EXCHANGE, "event.status.#")
    await channel.queue_bind(DEAD, DEAD_LETTER_EXCHANGE, "")
    size = path.stat().st_size / options.dead_letters

    async def timed(name, *words):
        # In a thread: our own connection must answer its heartbeats meanwhile.
        seconds, memory = await asyncio.to_thread(run, url, *words)
        print(f"{name:<8} {seconds:>8.2f} {options.dead_letters / seconds:>11,.0f} {memory:>9.0f}", flush=True)

    print(f"{options.dead_letters:,} dead letters of {size:.0f} bytes\n{'command':<8} {'seconds':>8} {'messages/s':>11} {'peak MiB':>9}")
    await timed("publish", "publish", "--exchange", DEAD_LETTER_EXCHANGE, "--from", path)
    await timed("stats", "dlq", "stats")
    await timed("list", "dlq", "list", "--limit", "3")
    await timed("export", "dlq", "export", "--to", Path(directory) / "saved.ndjson")
    await timed("replay", "dlq", "replay", "--yes")
    for queue, count in ((QUEUE, options.dead_letters), (DEAD, 0)):
        found = (await channel.queue_declare(queue, passive=True)).message_count
        if found != count:
            raise RuntimeError(f"{found} messages are in {queue}, not {count}")
    await connection.close()


if __name__ == "__main__":
    OPTIONS = arguments()
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=TREE, check=True)
    server("install")
    with tempfile.TemporaryDirectory() as DIRECTORY:
        try:
            asyncio.run(main(OPTIONS, DIRECTORY))
        finally:
            server("down", DIRECTORY)
