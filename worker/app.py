"""The Celery application: queues, delivery, and what a worker process does when it starts.

A message is a hint that carries a shard's id. Postgres says what is to be done, so a message that
is lost, doubled or late costs time at most: nothing here retries, and no result is kept.
"""

import os
from typing import Any

from celery import Celery, bootsteps
from celery.signals import worker_ready, worker_shutdown, worker_shutting_down

from neurogloss.config.settings import with_verified_server
from neurogloss.stages import GPU_STAGES

VISIBILITY_TIMEOUT_S = 3600  # far above the longest task; the shard's lease brings it back sooner

_broker = with_verified_server(os.environ.get("REDIS_URL", "memory://"))
app = Celery("worker", broker=_broker, include=["worker.tasks"])
app.conf.update(
    # A message whose worker is killed comes again; the claim decides whether there is anything to
    # do.
    task_acks_late=True,
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    task_serializer="json",
    # Never pickle: whoever can write to Redis could run code in workers.
    accept_content=["json"],
    task_routes={
        **{f"worker.{stage}": {"queue": "gpu"} for stage in GPU_STAGES},
        "worker.*": {"queue": "api"},
    },
    # Messages that a busy worker has reserved would be kept from idle ones.
    worker_prefetch_multiplier=1,
    # Shards go on while Redis is away: what was claimed is in Postgres.
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    # Without limit: a Redis that is away for hours must not end the workers.
    broker_connection_max_retries=None,
    broker_channel_error_retry=True,  # a Redis that is full refuses what workers acknowledge
    broker_transport_options={
        "visibility_timeout": VISIBILITY_TIMEOUT_S,
        # Else a Redis whose host vanished would hold the worker for ever.
        "socket_timeout": 30,
        "socket_keepalive": True,
    },
)


class _OutliveLostChannels(bootsteps.StartStopStep):
    """Counts as a lost connection what kombu raises where a channel is gone.

    Where messages are acknowledged, or put back, just after their connection was lost, kombu raises
    AttributeError. Celery would take that for the end of the worker, and of the tasks in its other
    threads; so it connects anew.
    """

    requires = ("celery.worker.consumer.connection:Connection",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        consumer.connection_errors += (AttributeError,)

    def start(self, consumer: Any) -> None:
        consumer.connection.connection_errors += (AttributeError,)


app.steps["consumer"].add(_OutliveLostChannels)


@worker_ready.connect
def _start(sender: Any, **_: Any) -> None:
    from worker import process  # only workers have a process; importing the app opens nothing

    queues = sorted(queue.name for queue in sender.task_consumer.queues)
    process.start(name=sender.hostname, queue=",".join(queues))


@worker_shutting_down.connect
def _stopping(**_: Any) -> None:
    from worker import process

    process.stop_soon()


@worker_shutdown.connect
def _stopped(**_: Any) -> None:
    from worker import process

    process.stop()
