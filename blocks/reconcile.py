"""Do counts, rows and objects agree? The Block Service's half of fsck: I1, I2, I7 and I8.

Reads only, beside work that goes on. Each comparison within the database is one statement,
which sees one moment; what is compared with the store is looked at again before it counts.
Memory is bounded: rows come by the batch.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from django.db.models import Count, Exists, F, Max, OuterRef, Q, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from blocks import scrub
from blocks.gc import UNKNOWN_KEPT, unknown_among
from blocks.models import (
    Block,
    BlockList,
    BlockProof,
    BlockState,
    BlockUpload,
    CondemnedObject,
    FileVersionBlock,
    ListState,
    StoredObject,
)
from blocks.storage import ObjectStore, StoredFile
from blocks.transactions import chunks
from drive_project.common.findings import Finding

__all__ = ["Finding", "check"]

BATCH = 1_000


def check(
    *,
    store: ObjectStore,
    checked: Counter[str] | None = None,
    unknown_kept: timedelta = UNKNOWN_KEPT,
    deep: bool = False,
) -> Iterator[Finding]:
    """Every disagreement found. Raises ServiceUnavailable when the store does not answer.

    checked: counts what was looked at. unknown_kept: how old an object may grow before a row
    has to know it. deep: read every object and hash its blocks too.
    """
    checked = Counter() if checked is None else checked
    checked["blocks"] += Block.objects.count()
    checked["block_lists"] += BlockList.objects.count()
    checked["references"] += FileVersionBlock.objects.count()
    yield from _counts()
    yield from _lists()
    yield from _places()
    yield from _damaged()
    yield from _objects(store, checked)
    yield from _unknown(store, timezone.now() - unknown_kept)
    if deep:
        yield from _bytes(store, checked)


def _counts() -> Iterator[Finding]:
    for block in (
        Block.objects.annotate(rows_count=Count("rows"))
        .exclude(reference_count=F("rows_count"))
        .iterator()
    ):
        yield Finding(
            "I2",
            "reference-count",
            block.pk,
            f"{block.reference_count} counted, {block.rows_count} rows",
        )
    for stored in (
        StoredObject.objects.annotate(sum_bytes=Coalesce(Sum("blocks__size_bytes"), 0))
        .filter(~Q(live_bytes=F("sum_bytes")) | Q(live_bytes=0))
        .iterator()
    ):
        yield Finding(
            "I2",
            "live-bytes",
            stored.pk,
            f"{stored.live_bytes} counted, {stored.sum_bytes} in blocks",
        )
    for block_hash in Block.objects.filter(
        s3_location__size_bytes__lt=F("offset") + F("size_bytes")
    ).values_list("pk", flat=True):
        yield Finding(
            "I1",
            "block-beyond-object",
            block_hash,
            "it should end behind the end of its object",
            block_hash=block_hash,
        )


def _lists() -> Iterator[Finding]:
    committed = FileVersionBlock.objects.filter(file_version__state=ListState.COMMITTED)
    for row in (
        committed.values("file_version_id")
        .annotate(count=Count("block_sequence_index"), last=Max("block_sequence_index"))
        .exclude(count=F("last") + 1)
        .order_by()
        .iterator()
    ):
        yield Finding(
            "I7",
            "list-with-gap",
            str(row["file_version_id"]),
            f"{row['count']} rows up to index {row['last']}",
            file_version_id=row["file_version_id"],
        )
    for version, index, claimed, size_bytes in (
        committed.exclude(block_hash__state=BlockState.AWAITED)
        .exclude(block_hash__size_bytes=F("size_bytes"))
        .values_list(
            "file_version_id", "block_sequence_index", "size_bytes", "block_hash__size_bytes"
        )
        .iterator()
    ):
        yield Finding(
            "I7",
            "size-differs",
            f"{version}[{index}]",
            f"{claimed} bytes in the list, {size_bytes} in the block",
            file_version_id=version,
        )
    for version, index in (
        committed.filter(block_hash__state=BlockState.AWAITED)
        .values_list("file_version_id", "block_sequence_index")
        .iterator()
    ):
        yield Finding(
            "I1",
            "committed-without-bytes",
            f"{version}[{index}]",
            "the block was never stored",
            file_version_id=version,
        )
    for pk in (
        BlockList.objects.filter(state=ListState.RELEASED, released_at__isnull=True)
        .values_list("pk", flat=True)
        .iterator()
    ):
        yield Finding("I2", "released-without-date", str(pk))


def _places() -> Iterator[Finding]:
    uploads = BlockUpload.objects.values_list("s3_location", flat=True)
    stored = StoredObject.objects.values_list("s3_location", flat=True)
    condemned = CondemnedObject.objects.values_list("s3_location", flat=True)
    for where, twice in {
        "an upload and stored": uploads.filter(s3_location__in=stored),
        "an upload and condemned": uploads.filter(s3_location__in=condemned),
        "stored and condemned": stored.filter(s3_location__in=condemned),
    }.items():
        for location in twice.iterator():
            yield Finding("I8", "location-in-two-places", location, where)
    for proof in BlockProof.objects.filter(
        upload__isnull=False, upload__verified_at__isnull=True
    ).iterator():
        yield Finding("I2", "proof-of-unverified", str(proof.pk), str(proof))


def _damaged() -> Iterator[Finding]:
    """What the scrub has found and nobody has healed yet, where a version needs it."""
    named = FileVersionBlock.objects.filter(
        block_hash=OuterRef("pk"), file_version__state=ListState.COMMITTED
    )
    for pk in (
        Block.objects.filter(Exists(named), state=BlockState.DAMAGED)
        .values_list("pk", flat=True)
        .iterator()
    ):
        yield Finding("I1", "block-damaged", pk, "its stored bytes are not right", block_hash=pk)


def _objects(store: ObjectStore, checked: Counter[str]) -> Iterator[Finding]:
    stored = StoredObject.objects.values_list("s3_location", "size_bytes")
    verified = BlockUpload.objects.filter(verified_at__isnull=False).values_list(
        "s3_location", "size_bytes"
    )
    for rows in (stored, verified):
        last = ""
        while page := list(rows.filter(s3_location__gt=last).order_by("s3_location")[:BATCH]):
            last = page[-1][0]
            checked["objects"] += len(page)
            sizes = store.sizes([location for location, _ in page])
            for location, size_bytes in page:
                # A location is used once, and its object goes after its row: so where the
                # row is still there, the object should have been.
                if sizes.get(location) != size_bytes and _is_needed(location):
                    yield from _lost(location, size_bytes, sizes.get(location))


def _is_needed(location: str) -> bool:
    uploads = BlockUpload.objects.filter(s3_location=location, verified_at__isnull=False)
    # In this order: a location moves from the uploads to the stored objects.
    return uploads.exists() or StoredObject.objects.filter(pk=location).exists()


def _lost(location: str, size_bytes: int, found: int | None) -> Iterator[Finding]:
    """By block, for the sake of their files; damaged ones are known already."""
    detail = f"object {location} has {size_bytes} bytes, found {found}"
    blocks = Block.objects.filter(s3_location=location)
    hurt = list(blocks.exclude(state=BlockState.DAMAGED).values_list("pk", flat=True))
    for block_hash in hurt:
        yield Finding("I1", "object-lost", block_hash, detail, block_hash=block_hash)
    if not hurt and not blocks.exists():
        # Sent and verified, and named by no version yet.
        yield Finding("I8", "upload-lost", location, detail)


def _unknown(store: ObjectStore, before: datetime) -> Iterator[Finding]:
    old = (found for found in store.listing() if found.modified_at <= before)
    for batch in chunks(old, BATCH):
        for found in _still_there(store, unknown_among(batch)):
            yield Finding(
                "I8", "object-unknown", found.location, f"{found.size_bytes} bytes of no row"
            )


def _still_there(store: ObjectStore, unknown: Sequence[StoredFile]) -> list[StoredFile]:
    """Without what was deleted, and its row with it, since the store listed it."""
    there = store.sizes([found.location for found in unknown]) if unknown else {}
    return [found for found in unknown if found.location in there]


def _bytes(store: ObjectStore, checked: Counter[str]) -> Iterator[Finding]:
    last = ""
    while page := list(
        StoredObject.objects.filter(pk__gt=last)
        .order_by("pk")
        .values_list("pk", "size_bytes")[:BATCH]
    ):
        last = page[-1][0]
        for location, size_bytes in page:
            rows = scrub.rows_of(location)
            wrong, detail = scrub.examine(store, location, size_bytes, rows)
            checked["bytes"] += size_bytes
            # Read again: a block that has moved meanwhile is not this object's any more.
            known = {row.block_hash: row.state for row in scrub.rows_of(location)}
            for block_hash in sorted(wrong & known.keys()):
                if known[block_hash] != BlockState.DAMAGED:
                    yield Finding("I1", "bytes-differ", block_hash, detail, block_hash=block_hash)
