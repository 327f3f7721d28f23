"""Conflicts on behalf of a person: which there are, whether they are open, what they say."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import F, QuerySet

from drive_project.common.errors import NotFound
from drive_project.common.rendering import rfc3339
from files.journal import state_of
from files.models import Conflict, File, FileVersion, User
from files.queries.access import check_role
from files.queries.ancestry import standings
from files.queries.pages import Place, newest_first


class ConflictState(StrEnum):
    """open: not settled, and both files are live. Everything else is settled."""

    OPEN = "open"
    SETTLED = "settled"


class FoundConflict(NamedTuple):
    """A conflict with its files, and the two versions as far as they are still kept."""

    conflict: Conflict
    state: ConflictState
    file_version: FileVersion | None
    copy_version: FileVersion | None

    @property
    def rev(self) -> int:
        """Grows with every change of either file: both take it from one journal."""
        return max(self.conflict.file.rev, self.conflict.copy.rev)


class ConflictPage(NamedTuple):
    """Conflicts, the newest first; next_place: where the next page begins after."""

    items: Sequence[FoundConflict]
    next_place: Place | None


def conflicts_of(
    user: User, *, state: ConflictState | None = None, after: Place | None = None, limit: int
) -> ConflictPage:
    """The conflicts in all namespaces that the person can read, of one state or of both.

    A page may hold fewer than `limit` though more follow: whether a folder above is in the
    trash is looked up for the rows of a page.
    """
    rows = _conflicts(user)
    if state is ConflictState.OPEN:
        rows = rows.filter(
            settled_at__isnull=True, file__deleted_at__isnull=True, copy__deleted_at__isnull=True
        )
    conflicts, next_place = newest_first(rows, "created_at", after=after, limit=limit)
    found = [each for each in _found(conflicts) if state is None or each.state is state]
    return ConflictPage(found, next_place)


def get_conflict(user: User, conflict_id: UUID, *, write: bool = False) -> FoundConflict:
    """One conflict that the person can read, or settle. Raises NotFound or PermissionDenied."""
    conflict = (
        _conflicts(user).filter(pk=conflict_id).annotate(role=F("namespace__memberships__role"))
    ).first()
    found = [] if conflict is None else _found([conflict])
    if conflict is None or not found:
        raise NotFound
    check_role(conflict.role, write=write)
    return found[0]


def _conflicts(user: User) -> QuerySet[Conflict]:
    return Conflict.objects.filter(
        namespace__memberships__user=user,
        # Where one of the two has gone elsewhere, who may read the one need not see the other.
        file__namespace=F("namespace"),
        copy__namespace=F("namespace"),
        file__is_purging=False,
        copy__is_purging=False,
    ).select_related("file__current_version", "copy__current_version", "device", "settled_by__user")


def _found(conflicts: Iterable[Conflict]) -> list[FoundConflict]:
    """With a query for what lies above and one for the versions, however many there are.

    Without those of which a file is being deleted for ever.
    """
    conflicts = list(conflicts)
    above = standings(
        file.parent_folder_id for each in conflicts for file in (each.file, each.copy)
    )
    versions = FileVersion.objects.select_related("author", "device").in_bulk(
        {
            version_id
            for each in conflicts
            for version_id in (each.file_version_id, each.copy_version_id)
            if version_id is not None
        }
    )
    found = []
    for each in conflicts:
        places = [above[file.parent_folder_id] for file in (each.file, each.copy)]
        if any(place.is_purging for place in places):
            continue
        is_deleted = each.file.is_deleted or each.copy.is_deleted
        is_open = (
            each.settled_at is None and not is_deleted and all(place.is_live for place in places)
        )
        found.append(
            FoundConflict(
                each,
                ConflictState.OPEN if is_open else ConflictState.SETTLED,
                versions.get(each.file_version_id) if each.file_version_id else None,
                versions.get(each.copy_version_id) if each.copy_version_id else None,
            )
        )
    return found


def state_of_conflict(found: FoundConflict) -> dict[str, Any]:
    """The conflict as `docs/protocol.md` spells it."""
    conflict = found.conflict
    by = conflict.settled_by
    return {
        "conflict_id": str(conflict.pk),
        "namespace_id": str(conflict.namespace_id),
        "kind": str(conflict.kind),
        "state": found.state.value,
        "rev": found.rev,
        "created_at": rfc3339(conflict.created_at),
        "base_version_id": conflict.base_version_id and str(conflict.base_version_id),
        "original": _side(conflict.file, conflict.file_version_id, found.file_version),
        "copy": _side(conflict.copy, conflict.copy_version_id, found.copy_version),
        "settled_at": conflict.settled_at and rfc3339(conflict.settled_at),
        "settled_how": str(conflict.settled_how) or None,
        "settled_by": by and by.user.email,
        "settled_by_device": by and by.name,
    }


def _side(file: File, version_id: UUID | None, version: FileVersion | None) -> dict[str, Any]:
    device = version.device if version is not None else None
    return {
        "file_version_id": version_id and str(version_id),
        "committed_at": version and version.committed_at and rfc3339(version.committed_at),
        "author": version and version.author.email,
        "device_id": device and str(device.pk),
        "device": device and device.name,
        "file": state_of(file),
    }
