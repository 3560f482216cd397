"""Faults of the messages that say which shards are ready."""

import random
from contextlib import suppress

from celery.exceptions import CeleryError
from kombu import Connection
from kombu.exceptions import KombuError
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

from tests.chaos.strike import Strike
from tests.chaos.world import World
from worker import signatures


def messages_doubled(world: World, dice: random.Random) -> Strike:
    """Double what is queued, and send anew what was done long ago or is being done."""
    with suppress(RedisError), world.redis() as client:
        for queue in ("gpu", "api"):
            for message in client.lrange(queue, 0, -1):
                client.rpush(queue, message)
    with suppress(DBAPIError, RedisError, KombuError, CeleryError, OSError):
        shards = world.rows("SELECT id, stage FROM shard ORDER BY id")
        some = dice.sample(shards, min(12, len(shards)))
        with Connection(world.urls.redis_url) as connection:
            for shard in some:
                message = signatures.of_stage(shard["stage"], shard["id"])
                message.apply_async(connection=connection, retry=False)
    return Strike("messages")


def messages_reordered(world: World, dice: random.Random) -> Strike:
    with suppress(RedisError), world.redis() as client:
        for queue in ("gpu", "api"):
            with client.pipeline() as pipe:
                pipe.lrange(queue, 0, -1).delete(queue)
                messages, _ = pipe.execute()
            dice.shuffle(messages)
            if messages:
                client.rpush(queue, *messages)
    return Strike("messages")
