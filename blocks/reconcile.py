"""Do counts, rows and objects agree? Checks what DESIGN calls I2, I7 and I8, and I1 in depth.

Reads only. Work that goes on meanwhile can look like a fault, except in a database whose
reads see one moment; so a finding counts when nothing is running, or when it stays.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Count, F, Max, Q, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from blocks.gc import unknown_among
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
from blocks.storage import ObjectStore
from blocks.transactions import chunks

BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be: which rule (kebab-case), about what, and in numbers."""

    rule: str
    subject: str
    detail: str = ""


def check(
    *, store: ObjectStore, unknown_kept: timedelta = timedelta(days=1), deep: bool = False
) -> Iterator[Finding]:
    """Every disagreement found.

    unknown_kept: how old an object may grow before a row has to know it. deep: read every
    block and hash it too.
    """
    yield from _counts()
    yield from _lists()
    yield from _places()
    yield from _objects(store, unknown_kept)
    if deep:
        yield from _bytes(store)


def _counts() -> Iterator[Finding]:
    for block in Block.objects.annotate(rows_count=Count("rows")).exclude(
        reference_count=F("rows_count")
    ):
        yield Finding(
            "reference-count",
            block.pk,
            f"{block.reference_count} counted, {block.rows_count} rows",
        )
    for stored in StoredObject.objects.annotate(
        sum_bytes=Coalesce(Sum("blocks__size_bytes"), 0)
    ).filter(~Q(live_bytes=F("sum_bytes")) | Q(live_bytes=0)):
        yield Finding(
            "live-bytes",
            stored.pk,
            f"{stored.live_bytes} counted, {stored.sum_bytes} in blocks",
        )
    for block_hash in Block.objects.filter(
        s3_location__isnull=False, s3_location__size_bytes__lt=F("offset") + F("size_bytes")
    ).values_list("pk", flat=True):
        yield Finding("block-beyond-object", block_hash)


def _lists() -> Iterator[Finding]:
    committed = FileVersionBlock.objects.filter(file_version__state=ListState.COMMITTED)
    for row in (
        committed.values("file_version_id")
        .annotate(count=Count("block_sequence_index"), last=Max("block_sequence_index"))
        .exclude(count=F("last") + 1)
        .order_by()
    ):
        yield Finding("list-with-gap", str(row["file_version_id"]))
    for version, index in (
        committed.exclude(block_hash__state=BlockState.AWAITED)
        .exclude(block_hash__size_bytes=F("size_bytes"))
        .values_list("file_version_id", "block_sequence_index")
    ):
        yield Finding("size-differs", f"{version}[{index}]")
    for version, index in committed.filter(block_hash__state=BlockState.AWAITED).values_list(
        "file_version_id", "block_sequence_index"
    ):
        yield Finding("committed-without-bytes", f"{version}[{index}]")
    for block_list in BlockList.objects.filter(state=ListState.RELEASED, released_at__isnull=True):
        yield Finding("released-without-date", str(block_list.pk))


def _places() -> Iterator[Finding]:
    uploads = BlockUpload.objects.values_list("s3_location", flat=True)
    stored = StoredObject.objects.values_list("s3_location", flat=True)
    condemned = CondemnedObject.objects.values_list("s3_location", flat=True)
    twice = [
        *uploads.filter(s3_location__in=stored),
        *uploads.filter(s3_location__in=condemned),
        *stored.filter(s3_location__in=condemned),
    ]
    for location in twice:
        yield Finding("location-in-two-places", location)
    for proof in BlockProof.objects.filter(upload__isnull=False, upload__verified_at__isnull=True):
        yield Finding("proof-of-unverified", str(proof))


def _objects(store: ObjectStore, unknown_kept: timedelta) -> Iterator[Finding]:
    must_be = StoredObject.objects.order_by("pk").values_list("pk", "size_bytes")
    verified = BlockUpload.objects.filter(verified_at__isnull=False).values_list(
        "s3_location", "size_bytes"
    )
    for rows in (must_be, verified):
        for batch in chunks(rows.iterator(), BATCH):
            sizes = store.sizes([location for location, _ in batch])
            for location, size_bytes in batch:
                if sizes.get(location) != size_bytes:
                    yield Finding(
                        "object-lost", location, f"{size_bytes} bytes, found {sizes.get(location)}"
                    )
    before = timezone.now() - unknown_kept
    old = (found for found in store.listing() if found.modified_at <= before)
    for found_batch in chunks(old, BATCH):
        for found in unknown_among(found_batch):
            yield Finding("object-unknown", found.location, f"{found.size_bytes} bytes")


def _bytes(store: ObjectStore) -> Iterator[Finding]:
    for block in Block.objects.filter(state=BlockState.STORED).iterator():
        data = store.read(block.s3_location_id or "", start=block.offset, length=block.size_bytes)
        if data is None or hashlib.sha256(data).hexdigest() != block.pk:
            yield Finding("bytes-differ", block.pk)
