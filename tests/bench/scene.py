"""The two servers and what a round finds there: a table of snapshots, a queue of messages."""

import asyncio
import json
import os
import subprocess
import time
import uuid
from hashlib import md5
from urllib.parse import urlsplit

import aiormq
import asyncpg

QUEUE = "snapshot-lifecycle"
TEAMS = 200
# What must stay is marked in the column `params`, which neither program reads.
SEED = """
    CREATE TABLE teams (id UUID PRIMARY KEY);
    CREATE TABLE events (id UUID PRIMARY KEY, team_id UUID NOT NULL REFERENCES teams (id));
    INSERT INTO teams SELECT md5('team' || n)::uuid FROM generate_series(0, {teams} - 1) AS n;
    INSERT INTO events SELECT md5('event' || n)::uuid, md5('team' || n % {teams})::uuid
    FROM generate_series(0, {events} + {events} / 10 - 1) AS n;
"""
# Of every event four rows that go; of every tenth one that its type keeps and one that was made after the end; events
# that nobody ends; rows without an event.
ROWS = """
    INSERT INTO snapshots (team_id, snapshot_type, event_id, params, data, created_at, expires_at)
    SELECT md5('team' || n % {teams})::uuid, type, CASE WHEN type <> 'general' THEN md5('event' || n)::uuid END,
           CASE WHEN stays THEN '{{"stays": true}}' ELSE '{{}}' END::jsonb,
           jsonb_build_object('page', repeat(md5(n || type), 32)), now() + age, now() + interval '7 days'
    FROM generate_series(0, {events} + {events} / 10 - 1) AS n
    CROSS JOIN (VALUES
        ('offer', interval '-3 h', false), ('rooms', interval '-2 h', false),
        ('products', interval '-2 h', false), ('offer', interval '-1 h', false),
        ('qna', interval '-2 h', true), ('offer', interval '-1 min', true), ('general', interval '-1 h', true)
    ) AS row (type, age, of_every_tenth)
    CROSS JOIN LATERAL (SELECT of_every_tenth OR n >= {events}) AS kept (stays)
    WHERE n % 10 = 0 OR NOT of_every_tenth;
    CREATE TABLE expected AS SELECT id FROM snapshots WHERE params ? 'stays';
"""
# The messages' time: after the rows that go, before those "made after the end".
END_BEFORE_NOW = 600


def event_id(number):
    return uuid.UUID(md5(f"event{number}".encode()).hexdigest())


def team_id(number):
    return uuid.UUID(md5(f"team{number % TEAMS}".encode()).hexdigest())


class Scene:
    """`database_url` names the server's own database; the benchmark's is beside it and created again for each round."""

    def __init__(self, binary, database_url, amqp_url, directory):
        self._binary, self._admin_url, self._directory = binary, database_url, directory
        self.database_url = urlsplit(database_url)._replace(path="/bench").geturl()
        self.amqp_url = amqp_url
        self._database = self._broker = self._channel = None

    async def open(self):
        self._broker = await aiormq.connect(self.amqp_url)
        self._channel = await self._broker.channel()

    async def close(self):
        if self._database:
            await self._database.close()
        if self._broker:
            await self._broker.close()

    async def reset(self, events):
        """Fresh tables as `migrate` makes them, filled for `events` events."""
        if self._database:
            await self._database.close()
        admin = await asyncpg.connect(self._admin_url)
        await admin.execute("DROP DATABASE IF EXISTS bench WITH (FORCE)")
        await admin.execute("CREATE DATABASE bench")
        await admin.close()
        self._database = await asyncpg.connect(self.database_url, command_timeout=600)
        await self._database.execute(SEED.format(events=events, teams=TEAMS))
        command = [self._binary, "migrate", "--database-url", self.database_url]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        await self._database.execute(ROWS.format(events=events, teams=TEAMS))

    async def calm(self):
        """Nothing of the preparations is left for the round to pay."""
        await self._database.execute("VACUUM ANALYZE")
        await self._database.execute("CHECKPOINT")
        await asyncio.sleep(2)  # RabbitMQ writes its segments in the background and tells nobody

    async def fill(self, messages, variables=None):
        """Publishes them, each confirmed; returns how long it took."""
        path = self._directory / "messages.ndjson"
        with open(path, "w", encoding="ascii") as file:
            file.writelines(json.dumps(message) + "\n" for message in messages)
        began = time.monotonic()
        command = [self._binary, "publish", "--amqp-url", self.amqp_url, "--from", path]
        # In a thread: our own connection to the broker must answer its heartbeats meanwhile.
        environment = os.environ | (variables or {})
        await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, timeout=1800, env=environment)
        path.unlink()
        return time.monotonic() - began

    async def queued(self, queue=QUEUE):
        """Messages that wait, and consumers; not counted is what a consumer holds unacknowledged."""
        declared = await self._channel.queue_declare(queue, passive=True)
        return declared.message_count, declared.consumer_count

    async def consumers(self):
        try:
            return (await self.queued())[1]
        except aiormq.exceptions.ChannelNotFoundEntity:  # not declared yet; asking has closed the channel
            self._channel = await self._broker.channel()
            return 0

    async def purge(self):
        for queue in (QUEUE, f"{QUEUE}.dead-letter"):
            await self._channel.queue_purge(queue)

    async def gone(self, numbers):
        """Whether no row that must go is left of these events; looked up by index."""
        return not await self._database.fetchval(
            "SELECT EXISTS (SELECT FROM snapshots WHERE event_id = ANY ($1::uuid[]) AND NOT params ? 'stays')",
            [event_id(number) for number in numbers],
        )

    async def verify(self):
        """Fails unless exactly the right rows are left, and no message is."""
        missing, surplus, left = await self._database.fetchrow(
            "SELECT count(*) FILTER (WHERE s.id IS NULL), count(*) FILTER (WHERE e.id IS NULL), count(s.id) "
            "FROM snapshots AS s FULL JOIN expected AS e USING (id)"
        )
        if missing or surplus:
            raise RuntimeError(f"wrong rows are left: {missing} missing, {surplus} too many, {left} in all")
        for queue in (QUEUE, f"{QUEUE}.dead-letter"):
            if count := (await self.queued(queue))[0]:
                raise RuntimeError(f"{count} messages are left in {queue}")

    async def versions(self):
        postgres = await self._database.fetchval("SHOW server_version")
        durability = [f"{name}={await self._database.fetchval('SHOW ' + name)}" for name in ("fsync", "synchronous_commit")]
        rabbitmq = self._broker.server_properties["version"]
        rabbitmq = rabbitmq.decode() if isinstance(rabbitmq, bytes) else rabbitmq
        return f"PostgreSQL {postgres} ({', '.join(durability)}), RabbitMQ {rabbitmq} (quorum queue)"
