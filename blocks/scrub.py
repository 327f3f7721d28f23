"""The scrub: read what is stored again, before somebody needs it, and say what is damaged.

A block whose bytes are not there or not right becomes `damaged`: nobody holds it any more, so
the next device that has it sends it again, to another location, and that heals it. A block
that reads right again (somebody mended the store) is stored again. A store that does not
answer is not damage: then the run ends.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.utils import timezone

from blocks import references
from blocks.locations import for_the_log
from blocks.models import Block, BlockState, FileVersionBlock, ListState, StoredObject
from blocks.storage import ObjectStore
from blocks.transactions import block_transaction, chunks, outside_transactions
from drive_project.common.errors import ServiceUnavailable

log = logging.getLogger(__name__)

# Objects whose rows are read at a time, and whose sizes are asked for at a time.
BATCH = 500
# A store without a single one of so many objects is not damaged, it is another store.
MANY = 100


@dataclass(frozen=True, slots=True)
class Subset:
    """One of `count` parts of all objects, numbered from 1; each object is in exactly one."""

    number: int
    count: int

    def has(self, location: str) -> bool:
        """Whether an object belongs to it. By its hash, so the parts are of equal size."""
        return int(location.split("/")[2][:8], 16) % self.count == self.number - 1


@dataclass(frozen=True, slots=True)
class Damage:
    """Blocks of one object that cannot be read as they were stored, and how that shows."""

    s3_location: str
    block_hashes: tuple[str, ...]
    detail: str


@dataclass(slots=True)
class Scrubbed:
    """What a run has looked at, damaged and healed so far."""

    object_count: int = 0
    block_count: int = 0
    size_bytes: int = 0
    damaged_count: int = 0
    healed_count: int = 0


class Pace:
    """Keeps a reader below a rate, in bytes per second; None: as fast as it goes."""

    def __init__(
        self,
        bytes_per_second: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = bytes_per_second
        self._clock, self._sleep = clock, sleep
        self._free_at = clock()

    def spend(self, size_bytes: int) -> None:
        """Return when so many bytes more are within the rate."""
        if self._rate is None:
            return
        self._sleep(max(0.0, self._free_at - self._clock()))
        # Counted from now: a slow store earns no burst.
        self._free_at = max(self._free_at, self._clock()) + size_bytes / self._rate


class Row(NamedTuple):
    """A block as its row says; `size_bytes` bytes from `offset`."""

    block_hash: str
    offset: int
    size_bytes: int
    state: str


@outside_transactions
def scrub(
    *,
    store: ObjectStore,
    done: Scrubbed,
    pace: Pace | None = None,
    subset: Subset | None = None,
    verified_before: datetime | None = None,
    is_over: Callable[[], bool] = lambda: False,
) -> Iterator[Damage]:
    """Read each stored object once, the least recently verified first; what is damaged now.

    done: counted up meanwhile. verified_before: what was verified since is left alone (by
    default: since this run began). is_over: asked before each object. Raises
    ServiceUnavailable when the store does not answer; what was found until then stands.
    """
    return _scrub(
        store, done, pace or Pace(None), subset, verified_before or timezone.now(), is_over
    )


def _scrub(
    store: ObjectStore,
    done: Scrubbed,
    pace: Pace,
    subset: Subset | None,
    before: datetime,
    is_over: Callable[[], bool],
) -> Iterator[Damage]:
    _check_that_it_is_the_store(store)
    for location, size_bytes in _oldest_first(before):
        if subset is not None and not subset.has(location):
            continue
        if is_over():
            return
        pace.spend(size_bytes)
        # The rows first: no block ever moves into an object that is there already.
        rows = rows_of(location)
        wrong, detail = examine(store, location, size_bytes, rows)
        done.object_count += 1
        done.block_count += len(rows)
        done.size_bytes += size_bytes
        hurt = _record(location, rows, wrong, done)
        if hurt:
            log.error("Object %s is damaged: %s", for_the_log(location), detail)
            yield Damage(location, hurt, detail)


def _check_that_it_is_the_store(store: ObjectStore) -> None:
    """Raises ServiceUnavailable for a disk that is not mounted, or another bucket."""
    if StoredObject.objects.count() >= MANY and next(iter(store.listing()), None) is None:
        raise ServiceUnavailable(
            "The object store is empty, though it should hold many objects. "
            "Is its disk mounted, is its bucket the right one?"
        )


def _oldest_first(before: datetime) -> Iterator[tuple[str, int]]:
    """Objects with their sizes: those that are to be looked at at once, then by last time."""
    at_once = StoredObject.objects.filter(last_verified_at__isnull=True).order_by("pk")
    last = ""
    while page := list(at_once.filter(pk__gt=last).values_list("pk", "size_bytes")[:BATCH]):
        yield from page
        last = page[-1][0]
    verified = StoredObject.objects.filter(last_verified_at__lt=before).order_by(
        "last_verified_at", "pk"
    )
    moment: datetime | None = None
    while rows := list(
        (
            verified
            if moment is None
            else verified.filter(last_verified_at__gte=moment).exclude(
                last_verified_at=moment, pk__lte=last
            )
        ).values_list("pk", "size_bytes", "last_verified_at")[:BATCH]
    ):
        for location, size_bytes, _ in rows:
            yield location, size_bytes
        last, _, moment = rows[-1]


def rows_of(location: str) -> list[Row]:
    """The blocks of an object, in order."""
    return [
        Row(block_hash, offset, size_bytes or 0, state)
        for block_hash, offset, size_bytes, state in Block.objects.filter(s3_location=location)
        .order_by("offset")
        .values_list("block_hash", "offset", "size_bytes", "state")
    ]


def examine(
    store: ObjectStore, location: str, size_bytes: int, rows: Sequence[Row]
) -> tuple[set[str], str]:
    """The blocks of an object that are not there as their rows say, and what is wrong.

    An object of another length is wrong as a whole: who downloads all of it gets other bytes.
    """
    data = store.read(location)
    if data is None:
        return {row.block_hash for row in rows}, "the object is not in the store"
    if len(data) != size_bytes:
        return (
            {row.block_hash for row in rows},
            f"the object has {len(data)} bytes, not {size_bytes}",
        )
    view = memoryview(data)
    wrong = {
        row.block_hash
        for row in rows
        if hashlib.sha256(view[row.offset : row.offset + row.size_bytes]).hexdigest()
        != row.block_hash
    }
    return wrong, "the bytes are not those of the hash" if wrong else ""


def _record(
    location: str, rows: Sequence[Row], wrong: Collection[str], done: Scrubbed
) -> tuple[str, ...]:
    """Write what was seen; the blocks that are damaged now.

    A block that moved meanwhile, or went, is no concern of this object any more.
    """
    with block_transaction():
        blocks = references.lock_blocks(row.block_hash for row in rows)
        here = [
            row
            for row in rows
            if row.block_hash in blocks
            and blocks[row.block_hash].s3_location_id == location
            and blocks[row.block_hash].offset == row.offset
        ]
        damaged = [row for row in here if row.block_hash in wrong]
        newly = [row for row in damaged if row.state != BlockState.DAMAGED]
        healed = [
            row for row in here if row.state == BlockState.DAMAGED and row.block_hash not in wrong
        ]
        _set_state(newly, BlockState.DAMAGED)
        _set_state(healed, BlockState.STORED)
        StoredObject.objects.filter(pk=location).update(last_verified_at=timezone.now())
    done.damaged_count += len(damaged)
    done.healed_count += len(healed)
    return tuple(row.block_hash for row in damaged)


def _set_state(rows: Sequence[Row], state: BlockState) -> None:
    for batch in chunks(row.block_hash for row in rows):
        Block.objects.filter(pk__in=batch).update(state=state)


@outside_transactions
def find_lost(*, store: ObjectStore, done: Scrubbed) -> Iterator[Damage]:
    """Look for every stored object without reading it; the blocks of what is not there whole.

    The other direction of `gc.sweep`. Costs a question to the store for each object.
    """
    return _find_lost(store, done)


def _find_lost(store: ObjectStore, done: Scrubbed) -> Iterator[Damage]:
    _check_that_it_is_the_store(store)
    last = ""
    while page := list(
        StoredObject.objects.filter(pk__gt=last)
        .order_by("pk")
        .values_list("pk", "size_bytes")[:BATCH]
    ):
        sizes = store.sizes([location for location, _ in page])
        for location, size_bytes in page:
            if sizes.get(location) == size_bytes:
                continue
            rows = rows_of(location)
            wrong, detail = examine(store, location, size_bytes, rows)
            done.object_count += 1
            done.block_count += len(rows)
            if hurt := _record(location, rows, wrong, done):
                log.error("Object %s is damaged: %s", for_the_log(location), detail)
                yield Damage(location, hurt, detail)
        last = page[-1][0]


def versions_hurt(block_hashes: Collection[str]) -> Iterator[tuple[str, UUID]]:
    """The committed versions that name these blocks: (block hash, version), each pair once."""
    for batch in chunks(sorted(block_hashes)):
        yield from (
            FileVersionBlock.objects.filter(
                block_hash__in=batch, file_version__state=ListState.COMMITTED
            )
            .order_by("block_hash", "file_version_id")
            .values_list("block_hash_id", "file_version_id")
            .distinct()
            .iterator()
        )
