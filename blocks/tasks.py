"""Celery's doors to the collector and the scrub: harmless to repeat, to overlap and to kill."""

import time
from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from blocks import gc, scrub
from blocks.scrub import Pace, Scrubbed
from blocks.storage import get_object_store

# Redis gives a task that is not acknowledged for an hour to another worker.
SCRUB_BUDGET = timedelta(minutes=50)


@shared_task(ignore_result=True, acks_late=True)
def collect_garbage() -> None:
    """Delete what no version names any more. Runs every ten minutes."""
    gc.collect(store=get_object_store(), rewrites=gc.REWRITES_PER_RUN)


@shared_task(ignore_result=True, acks_late=True)
def sweep_store() -> None:
    """Condemn objects of which no row knows, mark the blocks of rows without their object.

    Runs once a day: it lists the whole store, and asks it for each object.
    """
    store = get_object_store()
    gc.sweep(store=store)
    for _ in scrub.find_lost(store=store, done=Scrubbed()):
        pass


@shared_task(ignore_result=True, acks_late=True)
def scrub_store() -> None:
    """Read again what was not read for SCRUB_DAYS, at a limited rate. Runs once a day.

    Ends before the broker would give it to another worker; what is left is first the next day.
    """
    until = time.monotonic() + SCRUB_BUDGET.total_seconds()
    damage = scrub.scrub(
        store=get_object_store(),
        done=Scrubbed(),
        pace=Pace(settings.SCRUB_BYTES_PER_SECOND),
        verified_before=timezone.now() - settings.SCRUB_INTERVAL,
        is_over=lambda: time.monotonic() > until,
    )
    for _ in damage:
        pass
