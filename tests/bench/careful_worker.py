"""The opponent: a worker as a careful Python programmer would write it, with the same guarantees on the main way.

It takes what has arrived up to a batch and never waits for more, deletes for all of it in one statement and transaction,
and acknowledges all of it at once after the commit. Meanwhile the next messages arrive. An outage ends it; whoever
supervises it starts it again, and the broker delivers again what was not acknowledged.
"""

import asyncio
import datetime
import os
import signal
from collections import deque

import aiormq
import asyncpg
import orjson
import uvloop
from asyncpg.pgproto.pgproto import UUID  # the driver's own: parsed in C

PREFETCH = int(os.environ.get("PREFETCH", "2000"))
BATCH = 1000
QUEUE = "snapshot-lifecycle"
ENDS = {"confirmed", "cancelled"}
STATUSES = ENDS | {"lead", "option", "blocked"}

DELETE = """
    DELETE FROM snapshots AS s
    USING unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS e (event_id, team_id, occurred_at)
    WHERE s.event_id = e.event_id AND (e.team_id IS NULL OR s.team_id = e.team_id)
      AND s.created_at <= e.occurred_at AND s.snapshot_type <> 'qna'
"""


def decode(body):
    """The event's end as a row of the statement, None where there is nothing to do; ValueError for a bad message."""
    try:
        message = orjson.loads(body)
        status = message["status"].lower()
        if status not in STATUSES:
            raise ValueError(f"unknown status {status!r}")
        team_id = message.get("team_id")
        occurred_at = datetime.datetime.fromisoformat(message["occurred_at"])
        if occurred_at.tzinfo is None:
            raise ValueError("occurred_at has no offset")
        end = (UUID(message["event_id"]), team_id and UUID(team_id), occurred_at)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a status message: {error!r}") from error
    return end if status in ENDS else None


async def work(connection, channel, arrived, something_arrived):
    while True:
        await something_arrived.wait()
        batch = [arrived.popleft() for _ in range(min(len(arrived), BATCH))]
        if not arrived:
            something_arrived.clear()
        ends, last = [], None
        for message in batch:
            try:
                end = decode(message.body)
            except ValueError as error:
                print(f"bad message: {error}", flush=True)
                await channel.basic_reject(message.delivery_tag, requeue=False)
                continue
            last = message.delivery_tag
            if end:
                ends.append(end)
        if ends:
            await connection.execute(DELETE, *zip(*ends))
        if last:
            await channel.basic_ack(last, multiple=True)


async def main():
    arrived, something_arrived = deque(), asyncio.Event()

    async def on_message(message):
        arrived.append(message)
        something_arrived.set()

    database = await asyncpg.connect(os.environ["DATABASE_URL"])
    broker = await aiormq.connect(os.environ["AMQP_URL"])
    channel = await broker.channel()
    await channel.basic_qos(prefetch_count=PREFETCH)
    await channel.basic_consume(QUEUE, on_message)
    worker = asyncio.create_task(work(database, channel, arrived, something_arrived))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, worker.cancel)
    try:
        await asyncio.wait([worker, broker.closing], return_when=asyncio.FIRST_COMPLETED)
        if worker.done() and not worker.cancelled():
            worker.result()
    finally:
        worker.cancel()
        await broker.close()
        await database.close()


if __name__ == "__main__":
    uvloop.run(main())
