"""Celery's doors to the collector. Both are harmless to repeat, to overlap and to kill."""

from celery import shared_task

from blocks import gc
from blocks.storage import get_object_store


@shared_task(ignore_result=True, acks_late=True)
def collect_garbage() -> None:
    """Delete what no version names any more. Runs every ten minutes."""
    gc.collect(store=get_object_store(), rewrites=gc.REWRITES_PER_RUN)


@shared_task(ignore_result=True, acks_late=True)
def sweep_store() -> None:
    """Condemn objects of which no row knows. Runs once a day: it lists the whole store."""
    gc.sweep(store=get_object_store())
