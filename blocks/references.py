"""Take, count and release: which versions name which blocks.

`reference_count` is the number of join rows, at every commit: each transaction here
writes both. A reference is taken before a byte is sent, so the collector can never take a
block that an open upload counts on.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connections
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from blocks import holds
from blocks.locations import check_hash
from blocks.models import (
    Block,
    BlockList,
    BlockProof,
    BlockState,
    FileVersionBlock,
    ListState,
)
from blocks.service import (
    MAX_BLOCK_BYTES,
    MAX_BLOCKS_PER_CALL,
    MIN_BLOCK_BYTES,
    BlockClaim,
    NewVersion,
    Settlement,
)
from blocks.transactions import ALIAS, block_transaction, chunks
from drive_project.common.errors import InvalidRequest, UploadExpired

log = logging.getLogger(__name__)

# Rows of a released version that go in one transaction.
RELEASE_BATCH = 1_000
# A caller who waits releases this much itself; the collector does the rest.
RELEASE_AT_ONCE = 10 * RELEASE_BATCH


def check_claims(version: NewVersion) -> dict[str, BlockClaim]:
    """The distinct blocks of a call, in order. Raises InvalidRequest for impossible ones."""
    if version.start_index < 0 or len(version.blocks) > MAX_BLOCKS_PER_CALL:
        raise InvalidRequest(f"At most {MAX_BLOCKS_PER_CALL} blocks in one call, from index 0 on.")
    distinct: dict[str, BlockClaim] = {}
    for claim in version.blocks:
        check_hash(claim.block_hash)
        if not MIN_BLOCK_BYTES <= claim.size_bytes <= MAX_BLOCK_BYTES:
            raise InvalidRequest(f"A block has {MIN_BLOCK_BYTES} to {MAX_BLOCK_BYTES} bytes.")
        if distinct.setdefault(claim.block_hash, claim) != claim:
            raise InvalidRequest("One block is named with two sizes.")
    return distinct


def lock_lists(file_version_ids: Iterable[UUID]) -> dict[UUID, BlockList]:
    """The lists that exist, locked in order of id until the transaction ends."""
    return {
        block_list.pk: block_list
        for batch in chunks(sorted(set(file_version_ids)))
        for block_list in BlockList.objects.select_for_update().filter(pk__in=batch).order_by("pk")
    }


def lock_blocks(hashes: Iterable[str]) -> dict[str, Block]:
    """The blocks that exist, locked in order of hash until the transaction ends."""
    return {
        block.pk: block
        for batch in chunks(sorted(set(hashes)))
        for block in Block.objects.select_for_update().filter(pk__in=batch).order_by("pk")
    }


def open_lists(
    versions: Iterable[NewVersion], *, besides: Iterable[UUID] = ()
) -> dict[UUID, BlockList]:
    """The versions' lists, made where they are missing, locked.

    besides: lists to lock with them, those that exist. Raises UploadExpired where one of
    the versions was released: that is final.
    """
    wanted = {version.file_version_id: version for version in versions}
    BlockList.objects.bulk_create(
        [
            BlockList(
                file_version_id=version.file_version_id,
                file_id=version.file_id,
                namespace_id=version.namespace_id,
                device_id=version.device_id,
            )
            for _, version in sorted(wanted.items())
        ],
        ignore_conflicts=True,
    )
    lists = lock_lists({*wanted, *besides})
    for file_version_id, version in wanted.items():
        if lists[file_version_id].state == ListState.RELEASED:
            raise UploadExpired(file_version_id=str(file_version_id))
        if lists[file_version_id].device_id != version.device_id:
            raise InvalidRequest("This upload belongs to another device.")
    return lists


def count_and_lock(added: Mapping[str, int]) -> dict[str, Block]:
    """Add to the counts (zero only locks), making the rows that are missing; all locked.

    In order of hash. A row that a collector deleted meanwhile is inserted again, as
    awaited: what it stood for is gone.
    """
    table = Block._meta.db_table
    with connections[ALIAS].cursor() as cursor:
        for batch in chunks(sorted(added.items()), 2_000):
            rows = ", ".join(["(%s, 0, %s, %s)"] * len(batch))
            cursor.execute(
                f'INSERT INTO {table} (block_hash, "offset", reference_count, state) '  # noqa: S608
                f"VALUES {rows} ON CONFLICT (block_hash) DO UPDATE SET "
                f"reference_count = {table}.reference_count + excluded.reference_count",
                [
                    value
                    for block_hash, count in batch
                    for value in (block_hash, count, BlockState.AWAITED.value)
                ],
            )
    return {
        block.pk: block for batch in chunks(added) for block in Block.objects.filter(pk__in=batch)
    }


def held_among(blocks: Mapping[str, Block], readable: Sequence[UUID]) -> set[str]:
    """The stored blocks that a committed version in a readable namespace has.

    Asked for all of them, stored or not: a query that is made only where somebody has a
    block would tell a stranger so by its time.
    """
    held: set[str] = set()
    if not readable:
        return held
    in_reach = FileVersionBlock.objects.filter(
        block_hash=OuterRef("pk"),
        file_version__state=ListState.COMMITTED,
        file_version__namespace_id__in=readable,
    )
    for batch in chunks(blocks):
        held.update(
            Block.objects.filter(
                Exists(in_reach), pk__in=batch, state=BlockState.STORED
            ).values_list("pk", flat=True)
        )
    return held


@dataclass(slots=True)
class Taken:
    """What one call added to a version's list: its blocks, and those with nothing to send."""

    version: NewVersion
    claims: dict[str, BlockClaim]
    present: set[str]


def take(versions: Sequence[NewVersion], readable: Sequence[UUID]) -> list[Taken]:
    """Write the join rows and take the references, in the caller's transaction.

    When it returns, the lists and every block named are locked. Raises UploadExpired, or
    InvalidRequest where an index was given before with another block.
    """
    claims = [check_claims(version) for version in versions]
    lists = open_lists(versions)
    known = _rows_given_before(versions)
    new: dict[tuple[UUID, int], tuple[NewVersion, BlockClaim]] = {}
    for version in versions:
        for index, claim in enumerate(version.blocks, version.start_index):
            place = (version.file_version_id, index)
            if place in known:
                given: BlockClaim | None = known[place][0]
            else:
                given = new.setdefault(place, (version, claim))[1]
            if given != claim:
                raise InvalidRequest(f"Block {index} was given before, as another block.")
    if any(lists[place[0]].state != ListState.OPEN for place in new):
        raise InvalidRequest("This version is committed; its list is complete.")

    added = Counter(claim.block_hash for _, claim in new.values())
    distinct = {block_hash for of_one in claims for block_hash in of_one}
    blocks = count_and_lock({block_hash: added[block_hash] for block_hash in distinct})
    # Decided now that the rows are locked: nobody can collect or damage them meanwhile.
    held = held_among(blocks, readable)

    FileVersionBlock.objects.bulk_create(
        FileVersionBlock(
            file_version_id=file_version_id,
            block_sequence_index=index,
            file_id=version.file_id,
            block_hash_id=claim.block_hash,
            size_bytes=claim.size_bytes,
            held=claim.block_hash in held
            and blocks[claim.block_hash].size_bytes == claim.size_bytes,
        )
        for (file_version_id, index), (version, claim) in sorted(
            new.items(), key=lambda entry: entry[0]
        )
    )
    held_before = _note_held(known, blocks, held)
    return [
        Taken(
            version,
            of_one,
            {
                claim.block_hash
                for claim in of_one.values()
                if blocks[claim.block_hash].state == BlockState.STORED
                and blocks[claim.block_hash].size_bytes == claim.size_bytes
                and (
                    claim.block_hash in held
                    or (version.file_version_id, claim.block_hash) in held_before
                )
            },
        )
        for version, of_one in zip(versions, claims, strict=True)
    ]


def _rows_given_before(
    versions: Sequence[NewVersion],
) -> dict[tuple[UUID, int], tuple[BlockClaim, bool]]:
    """The rows of these versions in the range of the call, with `held`, by place."""
    with_blocks = [version for version in versions if version.blocks]
    if not with_blocks:
        return {}
    first = min(version.start_index for version in with_blocks)
    end = max(version.start_index + len(version.blocks) for version in with_blocks)
    rows = FileVersionBlock.objects.filter(
        file_version_id__in={version.file_version_id for version in with_blocks},
        block_sequence_index__gte=first,
        block_sequence_index__lt=end,
    ).values_list("file_version_id", "block_sequence_index", "block_hash_id", "size_bytes", "held")
    return {
        (file_version_id, index): (BlockClaim(block_hash, size_bytes), held)
        for file_version_id, index, block_hash, size_bytes, held in rows.iterator()
    }


def _note_held(
    known: Mapping[tuple[UUID, int], tuple[BlockClaim, bool]],
    blocks: Mapping[str, Block],
    held: Collection[str],
) -> set[tuple[UUID, str]]:
    """Mark rows of earlier calls that are held by now; all (version, hash) marked before."""
    before: set[tuple[UUID, str]] = set()
    now: dict[UUID, list[str]] = {}
    for (file_version_id, _), (claim, is_held) in known.items():
        if is_held:
            before.add((file_version_id, claim.block_hash))
        elif claim.block_hash in held and blocks[claim.block_hash].size_bytes == claim.size_bytes:
            now.setdefault(file_version_id, []).append(claim.block_hash)
    for file_version_id, hashes in now.items():
        for batch in chunks(hashes):
            FileVersionBlock.objects.filter(
                file_version_id=file_version_id, block_hash__in=batch
            ).update(held=True)
    return before


def settle(settlements: Sequence[Settlement]) -> None:
    """Record decisions; of what is released, lower the counts of the first ten thousand rows.

    Raises ServiceUnavailable for a release while something is held; nothing is recorded then.
    """
    if not all(each.is_committed for each in settlements):
        holds.refuse_while_held()
    now = timezone.now()
    for batch in chunks(settlements, 1_000):
        with block_transaction():
            # A release of an unknown version stays as a row, so that a late init for it
            # cannot leak a reference.
            BlockList.objects.bulk_create(
                [
                    BlockList(file_version_id=pk, state=ListState.RELEASED, released_at=now)
                    for pk in sorted(
                        {each.file_version_id for each in batch if not each.is_committed}
                    )
                ],
                ignore_conflicts=True,
            )
            lists = lock_lists(settlement.file_version_id for settlement in batch)
            for settlement in batch:
                block_list = lists.get(settlement.file_version_id)
                if block_list is None:
                    log.warning("Version %s has no block list.", settlement.file_version_id)
                elif block_list.state != ListState.RELEASED:
                    # A commit that is told after the release is an old message.
                    _apply(settlement, block_list, now)
            # The rows are there and locked, so this only updates, and faster than bulk_update.
            BlockList.objects.bulk_create(
                lists.values(),
                update_conflicts=True,
                unique_fields=["file_version_id"],
                update_fields=["state", "file_id", "namespace_id", "released_at"],
            )
    released = [each.file_version_id for each in settlements if not each.is_committed]
    release_rows(released, limit=RELEASE_AT_ONCE)


def _apply(settlement: Settlement, block_list: BlockList, now: datetime) -> None:
    if settlement.is_committed:
        block_list.state = ListState.COMMITTED
        block_list.file_id = settlement.file_id or block_list.file_id
        block_list.namespace_id = settlement.namespace_id or block_list.namespace_id
    else:
        block_list.state = ListState.RELEASED
        block_list.released_at = now


def unreleased_lists(limit: int) -> list[UUID]:
    """Released lists that still have rows: their release was long, or was interrupted."""
    return list(
        BlockList.objects.filter(
            Exists(FileVersionBlock.objects.filter(file_version=OuterRef("pk"))),
            state=ListState.RELEASED,
        ).values_list("pk", flat=True)[:limit]
    )


def release_rows(file_version_ids: Sequence[UUID], *, limit: int) -> int:
    """Delete rows of released lists and lower the counts, up to about `limit` rows.

    In transactions of a thousand rows, so it may be killed anywhere and called again.
    """
    done = 0
    waiting = list(file_version_ids)
    while waiting and done < limit:
        with block_transaction():
            lists = lock_lists(waiting[:RELEASE_BATCH])
            released = {
                pk: block_list
                for pk, block_list in lists.items()
                if block_list.state == ListState.RELEASED
            }
            rows = list(
                FileVersionBlock.objects.filter(file_version_id__in=released)
                .order_by("file_version_id", "block_sequence_index")
                .values_list("file_version_id", "block_sequence_index", "block_hash_id")[
                    :RELEASE_BATCH
                ]
            )
            if rows:
                _drop(rows, released)
        if len(rows) < RELEASE_BATCH:
            waiting = waiting[RELEASE_BATCH:]
        done += len(rows)
    return done


def _drop(rows: Sequence[tuple[UUID, int, str]], released: Mapping[UUID, BlockList]) -> None:
    gone = Counter(block_hash for _, _, block_hash in rows)
    blocks = lock_blocks(gone)
    # The rows come in order, so those of one list are one range.
    ranges: dict[UUID, tuple[int, int]] = {}
    for file_version_id, index, _ in rows:
        first, _last = ranges.get(file_version_id, (index, index))
        ranges[file_version_id] = (first, index)
    whole = [pk for pk in ranges if pk != rows[-1][0]]
    last = rows[-1][0]
    FileVersionBlock.objects.filter(
        Q(file_version_id__in=whole)
        | Q(file_version_id=last, block_sequence_index__lte=ranges[last][1])
    ).delete()
    for block_hash, count in gone.items():
        blocks[block_hash].reference_count -= count
    Block.objects.bulk_create(
        blocks.values(),
        update_conflicts=True,
        unique_fields=["block_hash"],
        update_fields=["reference_count"],
    )
    forget_proofs(
        {
            (released[file_version_id].device_id, block_hash)
            for file_version_id, _, block_hash in rows
        }
    )


def forget_proofs(places: Collection[tuple[UUID | None, str]]) -> None:
    """Drop proofs of (device, hash) without bytes of their own, which no open list needs.

    Otherwise a device could send a block, remove its version, wait for the collector, and
    learn from "nothing to send" that a stranger has the block too.
    """
    by_device: dict[UUID, set[str]] = {}
    for device_id, block_hash in places:
        if device_id is not None:
            by_device.setdefault(device_id, set()).add(block_hash)
    for device_id, hashes in sorted(by_device.items()):
        in_use = FileVersionBlock.objects.filter(
            block_hash=OuterRef("block_hash"),
            file_version__state=ListState.OPEN,
            file_version__device_id=device_id,
        )
        for batch in chunks(sorted(hashes)):
            doomed = list(
                BlockProof.objects.select_for_update()
                .filter(
                    ~Exists(in_use),
                    device_id=device_id,
                    block_hash__in=batch,
                    upload__isnull=True,
                )
                .order_by("device_id", "block_hash")
                .values_list("pk", flat=True)
            )
            BlockProof.objects.filter(pk__in=doomed).delete()
