"""The Celery application and what runs periodically."""

import os
from datetime import timedelta
from typing import Any

from celery import Celery, signals
from kombu import Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "drive_project.settings")

app = Celery("drive")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# A queue of its own, so that a worker without the block database and the keys of the store
# can leave these tasks to one that has them (-Q). By default a worker takes both.
app.conf.task_queues = [Queue("celery"), Queue("blocks")]
app.conf.task_routes = {"blocks.tasks.*": {"queue": "blocks"}}
# Each app has its periodic tasks in `tasks.py`; the times stand here, side by side. An entry
# that could not run before its successor is due is dropped (`expires`): one run is enough.
app.conf.beat_schedule = {
    name: {"task": name, "schedule": every, "options": {"expires": every.total_seconds()}}
    for name, every in {
        "files.tasks.relay_outbox": timedelta(seconds=5),
        "files.tasks.expire_uploads": timedelta(minutes=10),
        "files.tasks.expire_trash": timedelta(hours=1),
        "files.tasks.expire_versions": timedelta(hours=6),
        "files.tasks.finish_deletions": timedelta(minutes=1),
        "files.tasks.confirm_content_hashes": timedelta(minutes=1),
        "files.tasks.note_damage": timedelta(minutes=1),
        "blocks.tasks.collect_garbage": timedelta(minutes=10),
        "blocks.tasks.sweep_store": timedelta(days=1),
        "blocks.tasks.scrub_store": timedelta(days=1),
    }.items()
}


@signals.setup_logging.connect
def leave_logging_to_django(**kwargs: Any) -> None:
    """Celery configures no logging of its own where somebody listens to this signal."""


@signals.heartbeat_sent.connect
def say_alive(**kwargs: Any) -> None:
    """Let /readyz know, every two seconds, that a worker's main loop turns."""
    # Loaded late: this module is read before Django's applications are.
    import redis
    from django.core.cache import cache

    from drive_project.health import WORKER_ALIVE_KEY, WORKER_ALIVE_SECONDS, logger

    try:
        cache.set(WORKER_ALIVE_KEY, 1, timeout=WORKER_ALIVE_SECONDS)
    except redis.RedisError as error:
        # Raised into Celery's timer it would end the heart.
        logger.warning("Cannot say that the worker is alive: %s", error)
