"""A careful publisher in Python: persistent, mandatory, each message confirmed, at most N in flight at once; from a file of one
message per line, each checked to be JSON with the fields that a status message needs."""

import asyncio
import sys

import aiormq
import orjson
import uvloop

IN_FLIGHT = 2000


async def main(url, exchange, path):
    connection = await aiormq.connect(url)
    channel = await connection.channel(publisher_confirms=True)
    free = asyncio.Semaphore(IN_FLIGHT)
    properties = aiormq.spec.Basic.Properties(content_type="application/json", delivery_mode=2)

    async def publish(line, status):
        try:
            await channel.basic_publish(
                line, exchange=exchange, routing_key=f"event.status.{status}", properties=properties, mandatory=True
            )
        finally:
            free.release()

    async with asyncio.TaskGroup() as group:
        with open(path, "rb") as file:
            for line in file:
                message = orjson.loads(line)
                if not {"event_id", "status", "occurred_at"} <= message.keys():
                    raise ValueError(line)
                await free.acquire()
                group.create_task(publish(line.strip(), message["status"]))
    await connection.close()


uvloop.run(main(*sys.argv[1:]))
