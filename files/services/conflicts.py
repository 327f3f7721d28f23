"""Settling a conflict: which of two contents counts.

It is made of ordinary writes, so it can be undone like them: a new version of the file, the
copy in the trash, entries in the journal.
"""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from drive_project.common.errors import DriveError, NotFound, StalePrecondition
from files import idempotency, journal, queries
from files.conflicts import name_without_mark
from files.idempotency import Answer
from files.models import Conflict, File, FileVersion, OnConflict, Settled, UserDevice
from files.queries import ConflictState, FoundConflict
from files.services.aborts import withdraw
from files.services.commits import commit_verified, verified_digest
from files.services.deletions import delete_file
from files.services.locking import lock_namespace
from files.services.moves import update_file
from files.services.versions import begin_copy, copy_blocks

# Of the version that is begun for `mine`, should this process die before its commit.
LIFETIME = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class _TakenOver:
    """A pending version of the file with the copy's content, verified."""

    version: FileVersion
    blocks_digest: str


def settle_conflict(
    *, device: UserDevice, conflict_id: UUID, keep: Settled, rev: int, op_id: str = ""
) -> Answer:
    """Settle an open conflict; the answer is the conflict as it is then.

    mine: the copy's present content becomes a new version of the file, without a byte being
    moved, and the copy goes to the trash. theirs: the file stays, the copy goes to the
    trash. both: both files stay, and the copy gets an ordinary name. One transaction
    decides: all of it has happened, or nothing. rev: the conflict's, as the caller has seen
    it. Raises NotFound, PermissionDenied, QuotaExceeded, IdempotencyKeyReused, and
    StalePrecondition with the conflict as `current` when either file has changed since or
    it is not open any more. Safe to repeat by op_id.
    """
    request = ["conflicts/settle", str(conflict_id), str(keep), rev]
    if (record := idempotency.remembered(device, op_id, request)) is not None:
        return Answer(record.status, record.answer)
    version: FileVersion | None = None
    try:
        taken_over = None
        if keep is Settled.MINE:
            version, source_id = _begin(device, conflict_id, rev)
            copy_blocks({version: source_id})
            taken_over = _TakenOver(version, verified_digest(device, version))
        return idempotency.once(
            device=device,
            key=op_id,
            request=request,
            write=lambda: _settle(device, conflict_id, keep, rev, taken_over),
        )
    except DriveError:
        # Refused perhaps only because its twin was faster.
        if (record := idempotency.remembered(device, op_id, request)) is not None:
            return Answer(record.status, record.answer)
        raise
    finally:
        # Unless it was committed: then this finds nothing to do.
        if version is not None:
            withdraw(device=device, version=version, op_id="")


def _begin(device: UserDevice, conflict_id: UUID, rev: int) -> tuple[FileVersion, UUID]:
    """A pending version of the file, and the version whose content it is to get."""
    with transaction.atomic():
        conflict = _lock_open(device, conflict_id, rev).conflict
        copy = conflict.copy
        if copy.current_version is None:
            raise NotFound
        version = begin_copy(
            device=device,
            file=conflict.file,
            source=copy.current_version,
            executable=copy.executable,
            client_modified_ns=copy.client_modified_ns,
            on_conflict=OnConflict.FAIL,
            lifetime=LIFETIME,
        )
    return version, copy.current_version.pk


def _settle(
    device: UserDevice, conflict_id: UUID, keep: Settled, rev: int, taken_over: _TakenOver | None
) -> Answer:
    """The decision, inside the transaction of `idempotency.once`."""
    conflict = _lock_open(device, conflict_id, rev).conflict
    copy = conflict.copy
    with journal.announced_together():
        if taken_over is not None:
            # First in the journal: a device has the content in the file before the copy goes.
            commit_verified(
                device=device,
                namespace_id=conflict.namespace_id,
                version=taken_over.version,
                blocks_digest=taken_over.blocks_digest,
            )
        if keep is Settled.BOTH:
            # As long as it is named like a conflict copy, every device takes it for one.
            update_file(device=device, file_id=copy.pk, rev=copy.rev, name=_name_of_its_own(copy))
        else:
            delete_file(device=device, file_id=copy.pk, rev=copy.rev)
    Conflict.objects.filter(pk=conflict.pk).update(
        settled_at=timezone.now(), settled_how=keep, settled_by=device
    )
    settled = queries.get_conflict(device.user, conflict_id)
    return Answer(200, queries.state_of_conflict(settled))


def _name_of_its_own(copy: File) -> str:
    return queries.free_name(
        copy.parent_folder, name_without_mark(copy.name), is_folder=False, besides=copy.pk
    )


def _lock_open(device: UserDevice, conflict_id: UUID, rev: int) -> FoundConflict:
    """The conflict under its namespace's lock, open and at this revision."""
    lock_namespace(queries.get_conflict(device.user, conflict_id).conflict.namespace_id)
    found = queries.get_conflict(device.user, conflict_id, write=True)
    if found.state is not ConflictState.OPEN or found.rev != rev:
        raise StalePrecondition(current=queries.state_of_conflict(found))
    return found
