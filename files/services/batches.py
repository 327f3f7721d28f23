"""Many writes in one request: in order, each for itself, in few transactions."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from drive_project.common.errors import DriveError
from files import idempotency, journal, queries
from files.idempotency import Answer
from files.models import File, Folder, UserDevice
from files.services import folders
from files.services.folders import CreatedFolder, NewFolder
from files.services.locking import lock_namespaces

log = logging.getLogger(__name__)

# Short enough for other writers to come in between on SQLite, long enough that the price of
# a durable commit is shared.
STEPS_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Step:
    """One write of a batch, with its idempotency key and all items that it names.

    new_folder: what it is about where it makes a folder; such steps are done together.
    """

    key: str
    request: Any
    item_ids: Sequence[UUID]
    write: Callable[[], Answer]
    new_folder: NewFolder | None = None


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
            for group in _groups(some):
                results += _results(device, group)
    return results


def _groups(steps: Sequence[Step | DriveError]) -> Iterator[Sequence[Step | DriveError]]:
    """The steps in order, with new folders that follow each other in one group.

    No key comes twice in a group: the second is answered by what the first has left.
    """
    group: dict[str, Step] = {}
    for index, step in enumerate(steps):
        is_folder = isinstance(step, Step) and step.new_folder is not None
        key = step.key or f"without, {index}" if isinstance(step, Step) else ""
        if group and (not is_folder or key in group):
            yield [*group.values()]
            group = {}
        if isinstance(step, Step) and is_folder:
            group[key] = step
        else:
            yield [step]
    if group:
        yield [*group.values()]


def _results(
    device: UserDevice, group: Sequence[Step | DriveError]
) -> Sequence[Answer | DriveError]:
    steps = [step for step in group if isinstance(step, Step) and step.new_folder]
    if len(steps) > 1:
        try:
            with transaction.atomic():
                return _new_folders(device, steps)
        except IntegrityError:
            # A key or an id was taken meanwhile: one by one it shows which.
            log.info("A batch of %d new folders is repeated one by one.", len(steps))
    return [_result(device, step) for step in group]


def _new_folders(device: UserDevice, steps: Sequence[Step]) -> list[Answer | DriveError]:
    done = idempotency.remembered_among(
        device, {step.key: step.request for step in steps if step.key}
    )
    left = [step for step in steps if step.key not in done]
    made = folders.create_folders(
        device=device, wanted=[step.new_folder for step in left if step.new_folder]
    )
    results = {
        id(step): result if isinstance(result, DriveError) else folder_answer(result)
        for step, result in zip(left, made, strict=True)
    }
    idempotency.remember_all(
        device,
        {
            step.key: (step.request, result)
            for step in left
            if isinstance(result := results[id(step)], Answer)
        },
    )
    return [results[id(step)] if id(step) in results else done[step.key] for step in steps]


def folder_answer(made: CreatedFolder) -> Answer:
    """201 the new folder, or 200 the one that is there already."""
    return Answer(201 if made.is_new else 200, {"item": journal.state_of(made.folder)})


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
