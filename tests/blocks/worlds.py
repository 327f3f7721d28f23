"""Helpers for tests that look behind the Block Service's interface."""

from datetime import timedelta

from django.db.models import F

from blocks import gc, reconcile
from blocks.models import (
    Block,
    BlockList,
    BlockProof,
    BlockUpload,
    Collection,
    CondemnedObject,
    FileVersionBlock,
    Hold,
    StoredObject,
)
from blocks.storage import ObjectStore


def faults(store: ObjectStore) -> list[reconcile.Finding]:
    """What the check finds, every byte read, no object being too young to be known."""
    return list(reconcile.check(store=store, unknown_kept=timedelta(), deep=True))


def collect_now(store: ObjectStore) -> gc.Collected:
    """A run of the collector for which everything condemned is due."""
    return gc.collect(store=store, grace=timedelta())


def let_time_pass(by: timedelta) -> None:
    """Make everything recorded older; what waits for a moment waits that much less."""
    for model, names in {
        BlockUpload: ["created_at", "expires_at", "verified_at"],
        BlockProof: ["verified_at", "used_at"],
        CondemnedObject: ["due_at"],
        BlockList: ["created_at", "released_at"],
        Collection: ["started_at", "finished_at"],
        Hold: ["created_at", "expires_at"],
    }.items():
        model._default_manager.update(**{name: F(name) - by for name in names})


def forget_everything(store: ObjectStore) -> None:
    """Empty tables and an empty store, for the next example of a property."""
    for model in (
        FileVersionBlock,
        BlockProof,
        BlockUpload,
        Block,
        StoredObject,
        BlockList,
        CondemnedObject,
        Collection,
        Hold,
    ):
        model._default_manager.all().delete()
    for found in list(store.listing()):
        store.delete(found.location)
