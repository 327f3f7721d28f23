"""The journal: the ordered changes of a namespace, and the cursors that point into it.

A caller holds the namespace's lock (`files.services.locking`) from before its first read to
the end of its transaction. So the order of `seq` is the order of commit, there are no gaps,
and a reader sees a prefix.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection
from django.utils import timezone

from drive_project.common.rendering import rfc3339
from files import cursors, outbox
from files.models import Change, ChangeAction, File, Folder, ItemType, Mount, Namespace, UserDevice

Item = Folder | File | Mount

# Rows of one UPDATE or INSERT: well below the number of parameters that SQLite takes.
ROWS_AT_ONCE = 500
# What a compaction leaves of the journal, at the least.
KEPT_FOR = timedelta(days=90)
_PURPOSE = "files.changes"
# The namespaces that a batch has appended to; None outside of one.
_gathered: ContextVar[set[UUID] | None] = ContextVar("gathered", default=None)


def _optional(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def _optional_id(identifier: UUID | None) -> str | None:
    return None if identifier is None else str(identifier)


def state_of(item: Item) -> dict[str, Any]:
    """The item as `docs/protocol.md` spells it: in answers, in the journal, in snapshots.

    Reads `file.current_version`; lists select it together with the files.
    """
    match item:
        case Folder():
            return {
                "type": ItemType.FOLDER.value,
                "folder_id": str(item.pk),
                "namespace_id": str(item.namespace_id),
                "parent_folder_id": _optional_id(item.parent_folder_id),
                "name": item.name,
                "rev": item.rev,
                "created_at": rfc3339(item.created_at),
                "modified_at": rfc3339(item.modified_at),
                "deleted_at": _optional(item.deleted_at),
            }
        case File():
            return {
                "type": ItemType.FILE.value,
                "file_id": str(item.pk),
                "namespace_id": str(item.namespace_id),
                "parent_folder_id": str(item.parent_folder_id),
                "name": item.name,
                "size_bytes": item.size_bytes,
                "content_hash": item.content_hash,
                "current_version_id": _optional_id(item.current_version_id),
                "executable": item.executable,
                "client_modified_ns": item.client_modified_ns,
                "rev": item.rev,
                "created_at": rfc3339(item.created_at),
                "modified_at": rfc3339(item.modified_at),
                "deleted_at": _optional(item.deleted_at),
                "is_damaged": item.is_damaged,
            }
        case Mount():
            return {
                "type": ItemType.MOUNT.value,
                "mount_id": str(item.pk),
                "namespace_id": str(item.namespace_id),
                "parent_folder_id": str(item.parent_folder_id),
                "name": item.name,
                "rev": item.rev,
            }


def type_of(item: Item) -> ItemType:
    """What kind of item it is."""
    match item:
        case Folder():
            return ItemType.FOLDER
        case File():
            return ItemType.FILE
        case Mount():
            return ItemType.MOUNT


def append(
    namespace: Namespace,
    items: Sequence[tuple[ChangeAction, Item]],
    *,
    device: UserDevice | None,
) -> list[Change]:
    """Write one entry for each item, in this order, and announce them.

    The items' rows must be saved already; their `rev` is set here, on the instance and in
    the row. `namespace` comes from `lock_namespace` of this transaction. `device` is None
    for what the server did by itself.
    """
    if not items:
        return []
    changed_at = max(_clock(), namespace.last_changed_at or datetime.min.replace(tzinfo=UTC))
    changes = []
    for seq, (action, item) in enumerate(items, start=namespace.head_seq + 1):
        item.rev = seq
        changes.append(
            Change(
                namespace=namespace,
                seq=seq,
                changed_at=changed_at,
                device_id=None if device is None else device.pk,
                action=action,
                item_type=type_of(item),
                item_id=item.pk,
                item=state_of(item),
            )
        )
    for model in (Folder, File, Mount):
        _save_revs(model, {item.pk: item.rev for _, item in items if isinstance(item, model)})
    Change.objects.bulk_create(changes, batch_size=ROWS_AT_ONCE)
    namespace.head_seq += len(changes)
    namespace.last_changed_at = changed_at
    namespace.save(update_fields=["head_seq", "last_changed_at"])
    gathered = _gathered.get()
    if gathered is None:
        outbox.add_changed(namespace.pk, namespace.head_seq)
    else:
        gathered.add(namespace.pk)
    return changes


@contextmanager
def announced_together() -> Iterator[None]:
    """Announce all that is appended within by one message for each namespace, at the end.

    For a batch, which would else send a thousand signals where one says the same. Inside
    the transaction of the whole batch.
    """
    token = _gathered.set(set())
    try:
        yield
        touched = _gathered.get() or set()
    finally:
        _gathered.reset(token)
    # Read again: some of it may have been rolled back to a savepoint.
    for namespace in Namespace.objects.filter(pk__in=touched):
        outbox.add_changed(namespace.pk, namespace.head_seq)


def _clock() -> datetime:
    """The database's clock now, that is after the lock; not when the transaction began."""
    if connection.vendor != "postgresql":
        # An embedded database has no clock but this machine's.
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment


def _save_revs(model: type[Item], revs: Mapping[UUID, int]) -> None:
    """Set `rev` of these rows. Many at once, since a restored folder writes all below it."""
    if len(revs) <= 1:
        for item_id, rev in revs.items():
            model._default_manager.filter(pk=item_id).update(rev=rev)
        return
    key = model._meta.pk
    rows = [(key.get_db_prep_value(item_id, connection), rev) for item_id, rev in revs.items()]
    table, column = model._meta.db_table, key.column
    with connection.cursor() as cursor:
        for start in range(0, len(rows), ROWS_AT_ONCE):
            some = rows[start : start + ROWS_AT_ONCE]
            values = ", ".join(["(%s, %s)"] * len(some))
            cursor.execute(
                # Table and column are names of our own models.
                f"UPDATE {table} SET rev = fresh.column2 "  # noqa: S608
                f"FROM (VALUES {values}) AS fresh WHERE {table}.{column} = fresh.column1",
                [parameter for row in some for parameter in row],
            )


class Position(NamedTuple):
    """A place in a namespace's journal: after this seq, which was that change.

    change_id is None only before the first entry (seq 0).
    """

    seq: int
    change_id: UUID | None


START = Position(0, None)


def encode_cursor(positions: Mapping[UUID, Position]) -> str:
    """An opaque, signed text for a position in each namespace."""
    return cursors.seal(
        {
            namespace_id.hex: [position.seq, position.change_id and position.change_id.hex]
            for namespace_id, position in positions.items()
        },
        _PURPOSE,
    )


def decode_cursor(text: str) -> dict[UUID, Position]:
    """The positions of a cursor of this server; none for "". Raises InvalidCursor."""
    if not text:
        return {}
    return {
        UUID(namespace_id): Position(seq, change_id and UUID(change_id))
        for namespace_id, (seq, change_id) in cursors.unseal(text, _PURPOSE).items()
    }


def merge_cursors(texts: Iterable[str]) -> dict[UUID, Position]:
    """The positions of several cursors; where two name one namespace, the later text counts."""
    positions: dict[UUID, Position] = {}
    for text in texts:
        positions.update(decode_cursor(text))
    return positions
