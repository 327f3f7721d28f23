"""I2 and I7 across both databases: each version and its block list say the same.

What one database says changes while the other is read. So whatever looks wrong is looked at
once more, in the order in which a decision travels: it is made here, with its message in the
outbox, and recorded there. What is then neither the one nor the other is wrong.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import NamedTuple
from uuid import UUID

from django.db.models import QuerySet

from blocks.service import MAX_RECORDED_PER_CALL, RecordedState, RecordedVersion, get_block_service
from drive_project.common.findings import Finding, one_moment
from files import outbox
from files.models import FileVersion, OutboxMessage, VersionStatus

_FIELDS = (
    "file_version_id",
    "status",
    "size_bytes",
    "block_count",
    "blocks_digest",
    "file_id",
    "file__namespace_id",
)


class _Header(NamedTuple):
    """A version as the File Service has it."""

    file_version_id: UUID
    status: str
    size_bytes: int
    block_count: int
    blocks_digest: str
    file_id: UUID
    namespace_id: UUID


def check(checked: Counter[str]) -> Iterator[Finding]:
    """Versions whose list is not as they are, and lists of which no version is known."""
    versions = FileVersion.objects.order_by("pk")
    last: UUID | None = None
    while page := _headers(
        versions if last is None else versions.filter(pk__gt=last), MAX_RECORDED_PER_CALL
    ):
        checked["versions"] += len(page)
        yield from _compare(page)
        last = page[-1].file_version_id
    # A version that was removed stays recorded for BLOCK_GRACE; there may be very many.
    with closing(sqlite3.connect("", isolation_level=None)) as removed:
        _note_removed(removed)
        after: UUID | None = None
        while ids := get_block_service().recorded_ids(after=after, limit=MAX_RECORDED_PER_CALL):
            yield from _unknown(ids, removed)
            after = ids[-1]


def _headers(versions: QuerySet[FileVersion], limit: int) -> list[_Header]:
    return [_Header(*row) for row in versions.values_list(*_FIELDS)[:limit]]


def _recorded(ids: Sequence[UUID]) -> dict[UUID, RecordedVersion]:
    found = get_block_service().recorded_versions(file_version_ids=ids)
    return {each.file_version_id: each for each in found}


def _compare(page: Sequence[_Header]) -> Iterator[Finding]:
    recorded = _recorded([header.file_version_id for header in page])
    suspects = [
        header.file_version_id
        for header in page
        if _problem(header, recorded.get(header.file_version_id)) is not None
    ]
    if not suspects:
        return
    # Again, here first: what is decided now and not under way must be recorded by then.
    with one_moment("default"):
        headers = _headers(FileVersion.objects.filter(pk__in=suspects), len(suspects))
        under_way = _told_of(suspects)
    recorded = _recorded(suspects)
    for header in headers:
        found = _problem(header, recorded.get(header.file_version_id))
        if found is None or header.file_version_id in under_way:
            continue
        # A third time: an upload may have been decided between the two.
        still = _headers(FileVersion.objects.filter(pk=header.file_version_id), 1)
        if still == [header]:
            invariant, rule, detail = found
            pk = header.file_version_id
            yield Finding(invariant, rule, str(pk), detail, file_version_id=pk)


def _problem(header: _Header, recorded: RecordedVersion | None) -> tuple[str, str, str] | None:
    """Invariant, rule and detail where a version and its list do not go together."""
    state = None if recorded is None else recorded.state
    match header.status:
        case VersionStatus.COMMITTED:
            return _problem_of_committed(header, recorded)
        case VersionStatus.PENDING if state is RecordedState.RELEASED:
            return "I2", "list-released-early", "its list is released while it is pending"
        case VersionStatus.PENDING if state is RecordedState.COMMITTED:
            return "I2", "list-committed-early", "its list is committed while it is pending"
        case VersionStatus.ABORTED | VersionStatus.SAME if state in {
            RecordedState.OPEN,
            RecordedState.COMMITTED,
        }:
            return "I2", "list-not-released", f"its list is {state} while it is {header.status}"
    return None


def _problem_of_committed(
    header: _Header, recorded: RecordedVersion | None
) -> tuple[str, str, str] | None:
    if recorded is None or recorded.state is RecordedState.RELEASED:
        # An empty file has nothing to lose.
        if recorded is None and not header.block_count:
            return None
        word = "not recorded" if recorded is None else "released"
        return "I1", "list-lost", f"its list of {header.block_count} blocks is {word}"
    if (recorded.block_count, recorded.size_bytes) != (header.block_count, header.size_bytes):
        return (
            "I7",
            "list-differs",
            f"{header.block_count} blocks and {header.size_bytes} bytes; in its list "
            f"{recorded.block_count} and {recorded.size_bytes}",
        )
    if header.blocks_digest and recorded.blocks_digest != header.blocks_digest:
        return "I7", "list-differs", "its list is of other blocks, or in another order"
    if recorded.state is RecordedState.OPEN:
        return "I2", "list-not-told", "its list is not told that it is committed"
    if (recorded.file_id, recorded.namespace_id) != (header.file_id, header.namespace_id):
        return "I2", "list-elsewhere", "its list names another file or namespace"
    return None


def _note_removed(removed: sqlite3.Connection) -> None:
    """Write down, on disk, of which versions the release is under way."""
    removed.execute("CREATE TABLE removed(version_id TEXT PRIMARY KEY) WITHOUT ROWID")
    removed.execute("BEGIN")
    for ids in _messages(outbox.RELEASED):
        removed.executemany("INSERT OR IGNORE INTO removed VALUES (?)", [(str(pk),) for pk in ids])


def _unknown(ids: Sequence[UUID], removed: sqlite3.Connection) -> Iterator[Finding]:
    known = set(FileVersion.objects.filter(pk__in=ids).values_list("pk", flat=True))
    suspects = [
        pk
        for pk in ids
        if pk not in known
        and not removed.execute("SELECT 1 FROM removed WHERE version_id = ?", [str(pk)]).fetchone()
    ]
    if not suspects:
        return
    # Again, here first: a version goes in the transaction that writes the message, and the
    # message goes when the release is recorded.
    with one_moment("default"):
        known = set(FileVersion.objects.filter(pk__in=suspects).values_list("pk", flat=True))
        known |= _told_of(suspects)
    recorded = _recorded([pk for pk in suspects if pk not in known])
    for pk, each in recorded.items():
        if each.state is not RecordedState.RELEASED:
            yield Finding(
                "I2",
                "list-unknown",
                str(pk),
                f"a list of {each.block_count} blocks of a version that does not exist",
            )


def _told_of(ids: Sequence[UUID]) -> set[UUID]:
    """Those of the versions of which a message is under way to the Block Service."""
    wanted = set(ids)
    told: set[UUID] = set()
    for some in _messages(outbox.COMMITTED, outbox.RELEASED):
        told |= wanted.intersection(some)
    return told


def _messages(*topics: str) -> Iterator[list[UUID]]:
    """The versions that each message of these topics names."""
    payloads = OutboxMessage.objects.filter(topic__in=topics).values_list("payload", flat=True)
    for payload in payloads.iterator(chunk_size=100):
        yield [
            UUID(entry[0] if isinstance(entry, list) else entry) for entry in payload["versions"]
        ]
