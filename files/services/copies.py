"""Copies of files and folders on the server: new items with the same blocks; no bytes move.

The order is that of an upload: pending files and versions first, with their bytes reserved;
then the Block Service takes the references and says that all is readable; then everything
becomes visible in one transaction. A crash before that leaves pending versions for the sweep.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from blocks.service import MAX_COPIES_PER_CALL, Verdict
from drive_project.common.errors import (
    ContentDamaged,
    InvalidRequest,
    MoveIntoItself,
    NotFound,
    ServiceUnavailable,
)
from files import journal, outbox, queries
from files.idempotency import Answer, remember, remembered
from files.models import (
    ChangeAction,
    File,
    FileStatus,
    FileVersion,
    Folder,
    Namespace,
    User,
    UserDevice,
    VersionStatus,
)
from files.names import name_key, numbered
from files.queries import many
from files.services import quota
from files.services.aborts import abort_versions
from files.services.commits import verify
from files.services.decisions import upsert
from files.services.locking import lock_account, lock_folder, lock_namespaces
from files.services.moves import check_not_root
from files.services.versions import copy_blocks, copy_of

# What one copy may make: its last transaction holds the namespace's lock for some seconds.
MAX_COPIED_ITEMS = 10_000
# How long what was begun and not finished keeps its reservation.
LIFETIME = timedelta(hours=1)
RETRY_AFTER_SECONDS = 5

_FILE_FIELDS = [
    "parent_folder",
    "name",
    "name_key",
    "current_version",
    "size_bytes",
    "content_hash",
    "status",
    "modified_at",
]
_VERSION_FIELDS = ["blocks_digest", "committed_at", "status", "outcome_file_id"]


@dataclass(frozen=True, slots=True)
class _FileCopy:
    """A pending file and version, and of what; parent_id: in the original, None on top."""

    file: File
    version: FileVersion
    source_version_id: UUID
    parent_id: UUID | None


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to appear together. tops: the wanted items, in the caller's order.

    folders: all folders, by the ids of the originals, parents before their children.
    """

    namespace: Namespace
    tops: Sequence[UUID]
    folders: Mapping[UUID, Folder]
    parents: Mapping[UUID, UUID | None]
    files: Mapping[UUID, _FileCopy]


def copy_items(
    *,
    device: UserDevice,
    item_ids: Sequence[UUID],
    parent_folder_id: UUID,
    name: str | None = None,
    op_id: str = "",
) -> Answer:
    """Copy items, each with all that is live below it, into a folder: all of them or none.

    A taken name gets a counter. name: for a single item, in place of its own. The copies
    have histories of their own, which begin with the present content. Raises NotFound,
    PermissionDenied, MoveIntoItself, QuotaExceeded, ContentDamaged, and InvalidRequest for a
    root and for more than MAX_COPIED_ITEMS. Safe to repeat with the same op_id.
    """
    wanted = list(dict.fromkeys(item_ids))
    request = ["copy", [str(each) for each in wanted], str(parent_folder_id), name]
    if record := remembered(device, op_id, request):
        return Answer(record.status, record.answer)
    with transaction.atomic():
        plan = _begin(device, wanted, parent_folder_id)
    try:
        _take_blocks(device, plan)
        with transaction.atomic():
            copies = _show(device, plan, parent_folder_id, name)
            answer = Answer(201, {"items": [journal.state_of(item) for item in copies]})
            remember(device, op_id, request, answer.status, answer.body)
        return answer
    except IntegrityError:
        # The same request was running at the same time; its record is visible now.
        _give_up(plan)
        if record := remembered(device, op_id, request):
            return Answer(record.status, record.answer)
        raise
    except Exception:
        _give_up(plan)
        raise


def _give_up(plan: _Plan) -> None:
    abort_versions(plan.namespace.owner_id, [each.version.pk for each in plan.files.values()])


# --- First: what is to be copied, and the rows that nobody sees yet


def _begin(device: UserDevice, wanted: Sequence[UUID], parent_folder_id: UUID) -> _Plan:
    user = device.user
    namespace_id = queries.namespace_id_of_folder(user, parent_folder_id)
    tops = _tops(user, wanted)
    # The originals' too, so that what is read below is one moment's tree.
    locked = lock_namespaces({namespace_id, *(item.namespace_id for item in tops.values())})
    namespace = locked[namespace_id]
    parent = queries.get_folder(user, parent_folder_id, write=True)
    if parent.namespace_id != namespace.pk:
        raise ServiceUnavailable(retry_after_seconds=RETRY_AFTER_SECONDS)
    tops = _tops(user, wanted)
    _check_places(tops, parent)
    top_folders = [item.pk for item in tops.values() if isinstance(item, Folder)]
    folders, files = queries.live_below(top_folders)
    if folders.count() + files.count() + len(tops) - len(top_folders) > MAX_COPIED_ITEMS:
        raise InvalidRequest(
            f"More than {MAX_COPIED_ITEMS:,} items cannot be copied at once. "
            "Copy the folders in it one after another."
        )
    found = list(folders)
    by_id = {folder.pk: folder for folder in found}
    originals = [item for item in tops.values() if isinstance(item, File)]
    copies = [(file, None) for file in originals] + [
        (file, file.parent_folder_id) for file in files.select_related("current_version")
    ]
    planned = {
        original.pk: _pending(device, namespace, parent, original, parent_id)
        for original, parent_id in copies
    }
    account = lock_account(namespace.owner_id)
    quota.reserve(account, sum(each.version.size_bytes for each in planned.values()))
    quota.save(account)
    File.objects.bulk_create([each.file for each in planned.values()])
    FileVersion.objects.bulk_create([each.version for each in planned.values()])
    ordered = _parents_first(top_folders, found)
    return _Plan(
        namespace=namespace,
        tops=wanted,
        folders={
            folder_id: Folder(
                namespace=namespace,
                name=by_id[folder_id].name,
                name_key=by_id[folder_id].name_key,
            )
            for folder_id in ordered
        },
        parents={
            folder.pk: None if folder.pk in tops else folder.parent_folder_id for folder in found
        },
        files=planned,
    )


def _tops(user: User, wanted: Sequence[UUID]) -> dict[UUID, Folder | File]:
    """The wanted items, all of them live and the person's to read. Raises NotFound."""
    found = many.live_items(user, wanted)
    if len(found) < len(wanted):
        raise NotFound("One of the items is not there (any more); nothing was copied.")
    return found


def _check_places(tops: Mapping[UUID, Folder | File], parent: Folder) -> None:
    for item in tops.values():
        if isinstance(item, Folder):
            check_not_root(item)
    above_target = queries.ancestors([parent.pk])
    if above_target.keys() & tops.keys():
        raise MoveIntoItself("A folder cannot be copied into itself or into what is below it.")
    above = queries.ancestors(
        item.parent_folder_id for item in tops.values() if item.parent_folder_id is not None
    )
    if above.keys() & tops.keys():
        raise InvalidRequest("One of the items lies below another one; leave it out.")


def _pending(
    device: UserDevice, namespace: Namespace, parent: Folder, original: File, parent_id: UUID | None
) -> _FileCopy:
    source = original.current_version
    if source is None:
        raise AssertionError("an uploaded file has a version")
    file = File(
        user=device.user,
        namespace=namespace,
        parent_folder=parent,
        name=original.name,
        name_key=original.name_key,
        executable=original.executable,
        client_modified_ns=original.client_modified_ns,
    )
    version = copy_of(
        source,
        file=file,
        device=device,
        executable=original.executable,
        client_modified_ns=original.client_modified_ns,
        lifetime=LIFETIME,
    )
    return _FileCopy(file, version, source.pk, parent_id)


def _parents_first(top_ids: Sequence[UUID], folders: Iterable[Folder]) -> list[UUID]:
    children: dict[UUID | None, list[UUID]] = {}
    for folder in folders:
        children.setdefault(folder.parent_folder_id, []).append(folder.pk)
    ordered = list(top_ids)
    for folder_id in ordered:  # grows while it is read: breadth first
        ordered += children.get(folder_id, [])
    return ordered


# --- Second: the blocks, outside of any transaction


def _take_blocks(device: UserDevice, plan: _Plan) -> None:
    """Have the blocks counted for the new versions, and found readable. Raises ContentDamaged."""
    files = list(plan.files.values())
    for start in range(0, len(files), MAX_COPIES_PER_CALL):
        some = files[start : start + MAX_COPIES_PER_CALL]
        copy_blocks({each.version: each.source_version_id for each in some})
        verdicts = verify(device, [each.version for each in some])
        for each, verdict in zip(some, verdicts, strict=True):
            if verdict.verdict is not Verdict.READY:
                raise ContentDamaged(
                    f"“{each.file.name}” cannot be read whole, so nothing was copied.",
                    retry_after_seconds=RETRY_AFTER_SECONDS,
                )
            each.version.blocks_digest = verdict.blocks_digest


# --- Third: all of it becomes visible


def _show(
    device: UserDevice, plan: _Plan, parent_folder_id: UUID, name: str | None
) -> list[Folder | File]:
    """Place and commit everything under the namespace's lock; the copies of the wanted items."""
    namespace, parent = lock_folder(device, parent_folder_id)
    if namespace.pk != plan.namespace.pk:
        raise ServiceUnavailable(retry_after_seconds=RETRY_AFTER_SECONDS)
    account = lock_account(namespace.owner_id)
    files = list(plan.files.values())
    pending = set(
        FileVersion.objects.select_for_update(no_key=True)
        .filter(pk__in=[each.version.pk for each in files], status=VersionStatus.PENDING)
        .order_by("pk")
        .values_list("pk", flat=True)
    )
    if len(pending) < len(files):
        raise ServiceUnavailable(
            "The copy took too long and was given up.", retry_after_seconds=RETRY_AFTER_SECONDS
        )
    tops = [plan.folders.get(pk) or plan.files[pk].file for pk in plan.tops]
    if name is not None:
        tops[0].name = name
    for item, free in zip(tops, _free_names(parent, tops), strict=True):
        item.name, item.name_key = free, name_key(free)
    for folder_id, folder in plan.folders.items():
        above = plan.parents[folder_id]
        folder.parent_folder = parent if above is None else plan.folders[above]
    now = timezone.now()
    for each in files:
        file, version = each.file, each.version
        file.parent_folder = parent if each.parent_id is None else plan.folders[each.parent_id]
        file.current_version = version
        file.size_bytes = version.size_bytes
        file.content_hash = version.content_hash
        file.status = FileStatus.UPLOADED
        version.status = VersionStatus.COMMITTED
        version.committed_at = now
        version.outcome_file_id = file.pk
    Folder.objects.bulk_create(plan.folders.values())
    upsert(FileVersion, [each.version for each in files], _VERSION_FIELDS)
    upsert(File, [each.file for each in files], _FILE_FIELDS)
    quota.spend(account, sum(each.version.size_bytes for each in files))
    quota.save(account)
    # Before the journal's own message: whoever is woken asks for these blocks.
    outbox.add_committed((each.version.pk, each.file.pk, namespace.pk) for each in files)
    made: list[Folder | File] = [*plan.folders.values(), *(each.file for each in files)]
    journal.append(namespace, [(ChangeAction.UPSERT, item) for item in made], device=device)
    return tops


def _free_names(parent: Folder, items: Sequence[Folder | File]) -> list[str]:
    """For each item its name or, where that is taken, one with a counter; all different.

    A round for each counter, so the queries do not grow with the number of items.
    """
    names = [item.name for item in items]
    used: set[str] = set()
    left = list(range(len(items)))
    number = 1
    while left:
        for index in left:
            if number > 1:
                is_folder = isinstance(items[index], Folder)
                names[index] = numbered(items[index].name, number, is_folder=is_folder)
        keys = {name_key(names[index]) for index in left}
        taken = {key for _, key in queries.items_named([parent.pk], keys)}
        again = []
        for index in left:
            key = name_key(names[index])
            if key in taken or key in used:
                again.append(index)
            else:
                used.add(key)
        left = again
        number += 1
    return names
