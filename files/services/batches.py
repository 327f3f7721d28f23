"""Many writes in one request: in order, each for itself, in few transactions."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction

from drive_project.common.errors import DriveError
from files import idempotency, journal, queries
from files.idempotency import Answer
from files.models import File, Folder, UserDevice
from files.services.locking import lock_namespaces

# Short enough for other writers to come in between on SQLite, long enough that the price of
# a durable commit is shared.
STEPS_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Step:
    """One write of a batch, with its idempotency key and all items that it names."""

    key: str
    request: Any
    item_ids: Sequence[UUID]
    write: Callable[[], Answer]


def run(*, device: UserDevice, steps: Sequence[Step | DriveError]) -> list[Answer | DriveError]:
    """The answer of each step, in order; a refused one changes nothing for the others.

    A step that is an error already (it could not be parsed) keeps its place. After a crash
    between two transactions the same batch may come again: what was done is remembered.
    """
    results: list[Answer | DriveError] = []
    for start in range(0, len(steps), STEPS_AT_ONCE):
        some = steps[start : start + STEPS_AT_ONCE]
        with transaction.atomic(), journal.announced_together():
            # All at once and in order: step by step, two batches could wait for each other.
            lock_namespaces(
                _namespaces_of(
                    device,
                    (
                        item_id
                        for step in some
                        if isinstance(step, Step)
                        for item_id in step.item_ids
                    ),
                )
            )
            results += [_result(device, step) for step in some]
    return results


def _result(device: UserDevice, step: Step | DriveError) -> Answer | DriveError:
    if isinstance(step, DriveError):
        return step
    try:
        return idempotency.once(device=device, key=step.key, request=step.request, write=step.write)
    except DriveError as error:
        return error


def _namespaces_of(device: UserDevice, item_ids: Iterable[UUID]) -> set[UUID]:
    """The namespaces, writable for the device, in which these items are."""
    wanted = set(item_ids)
    found: set[UUID] = set()
    for model in (Folder, File):
        found.update(
            model._default_manager.filter(pk__in=wanted).values_list("namespace_id", flat=True)
        )
    return found.intersection(queries.writable_namespaces(device.user))
