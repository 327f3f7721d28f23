"""Versions of which a stored block is damaged: marked while it is so, and told to devices.

The Block Service finds the damage and learns of the healing; here the versions' marks follow.
A device that has the content of a marked version sends it again, which heals it.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction

from blocks.service import MAX_RECORDED_PER_CALL, get_block_service
from drive_project.common.errors import NotFound
from files import journal
from files.models import ChangeAction, File, FileVersion, VersionStatus
from files.queries import standings
from files.services.locking import lock_namespace

log = logging.getLogger(__name__)

# Versions that are marked in one transaction: others wait for the namespace's lock so long.
VERSIONS_AT_ONCE = 500


@dataclass(slots=True)
class Noted:
    """How many versions were marked, and of how many the mark was taken away."""

    damaged: int = 0
    healed: int = 0


def note_damage() -> Noted:
    """Make the marks agree with what the Block Service says. Harmless to repeat."""
    noted = Noted()
    for ids in _damaged():
        fresh = FileVersion.objects.filter(
            pk__in=ids, status=VersionStatus.COMMITTED, is_damaged=False
        )
        noted.damaged += _mark(list(fresh.values_list("pk", "file__namespace_id")), True)
    for marked in _marked():
        recorded = get_block_service().recorded_versions(file_version_ids=[pk for pk, _ in marked])
        # One that the Block Service does not know is no longer read by anybody.
        damaged = {each.file_version_id for each in recorded if each.damaged_count}
        noted.healed += _mark([place for place in marked if place[0] not in damaged], False)
    if noted.damaged or noted.healed:
        log.warning(
            "%d versions are damaged from now on, %d no longer.", noted.damaged, noted.healed
        )
    return noted


def _damaged() -> Iterator[list[UUID]]:
    after: UUID | None = None
    while ids := get_block_service().damaged_ids(after=after, limit=MAX_RECORDED_PER_CALL):
        yield ids
        after = ids[-1]


def _marked() -> Iterator[list[tuple[UUID, UUID]]]:
    """Marked versions, each with its namespace."""
    marked = FileVersion.objects.filter(is_damaged=True).order_by("pk")
    page = list(marked.values_list("pk", "file__namespace_id")[:MAX_RECORDED_PER_CALL])
    while page:
        yield page
        page = list(
            marked.filter(pk__gt=page[-1][0]).values_list("pk", "file__namespace_id")[
                :MAX_RECORDED_PER_CALL
            ]
        )


def _mark(places: Sequence[tuple[UUID, UUID]], is_damaged: bool) -> int:
    """Set or take away the mark of versions in these namespaces; how many it was news of."""
    count = 0
    for namespace_id in sorted({namespace_id for _, namespace_id in places}):
        ids = [pk for pk, place in places if place == namespace_id]
        for start in range(0, len(ids), VERSIONS_AT_ONCE):
            count += _mark_in(namespace_id, ids[start : start + VERSIONS_AT_ONCE], is_damaged)
    return count


@transaction.atomic
def _mark_in(namespace_id: UUID, version_ids: Sequence[UUID], is_damaged: bool) -> int:
    try:
        namespace = lock_namespace(namespace_id)
    except NotFound:
        return 0
    # Of a file that has moved to another namespace meanwhile, the next run takes care.
    here = FileVersion.objects.filter(
        pk__in=version_ids,
        file__namespace=namespace,
        status=VersionStatus.COMMITTED,
        is_damaged=not is_damaged,
    ).values_list("pk", flat=True)
    news = list(here)
    FileVersion.objects.filter(pk__in=news).update(is_damaged=is_damaged)
    files = list(
        File.objects.filter(current_version__in=news, namespace=namespace)
        .select_related("current_version")
        .order_by("pk")
    )
    standing = standings({file.parent_folder_id for file in files})
    journal.append(
        namespace,
        [
            # To a device, what lies in the trash is gone, and stays so.
            (
                ChangeAction.UPSERT
                if standing[file.parent_folder_id].is_live and not file.is_deleted
                else ChangeAction.DELETE,
                file,
            )
            for file in files
        ],
        device=None,
    )
    return len(news)
