"""What a device has sent and the server verified: it counts for the device's open uploads.

A proof with an upload row says where its bytes are. One without says that a stored block
has adopted them; then an open list of the device names that block (`references.forget_proofs`).
"""

from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, TypedDict
from uuid import UUID

from django.db.models import BooleanField, Case, Exists, F, OuterRef, Q, QuerySet, Value, When

from blocks.models import Block, BlockProof, BlockState, FileVersionBlock, ListState
from blocks.service import BlockClaim
from blocks.transactions import chunks

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations


def proved(device_id: UUID, claims: Collection[BlockClaim]) -> set[BlockClaim]:
    """Those of the claims that the device has proved.

    With the blocks locked, so that none of their proofs is dropped with a list that goes.
    One that ends with its time all the same has its block sent again.
    """
    found: set[BlockClaim] = set()
    for batch in chunks({claim.block_hash for claim in claims}):
        found.update(
            BlockClaim(block_hash, size_bytes)
            for block_hash, size_bytes in BlockProof.objects.filter(
                _has_bytes(), device_id=device_id, block_hash__in=batch
            ).values_list("block_hash", "size_bytes")
        )
    return found.intersection(claims)


def note_use(device_id: UUID, claims: Collection[BlockClaim], now: datetime) -> None:
    """Keep these proofs for another seven days. Locks them, so after any upload rows."""
    for batch in chunks(sorted(claim.block_hash for claim in claims)):
        used = list(
            BlockProof.objects.select_for_update()
            .filter(device_id=device_id, block_hash__in=batch)
            .order_by("device_id", "block_hash")
            .values_list("pk", flat=True)
        )
        BlockProof.objects.filter(pk__in=used).update(used_at=now)


def _has_bytes() -> Q:
    stored = Block.objects.filter(pk=OuterRef("block_hash"), state=BlockState.STORED)
    return Q(upload__isnull=False) | Q(Exists(stored))


class Answers(TypedDict):
    """What `rows_of` says of each row."""

    is_ready: bool
    is_claimed: bool


def rows_of(
    file_version_ids: Collection[UUID],
) -> "QuerySet[WithAnnotations[FileVersionBlock, Answers]]":
    """The join rows of versions, each with two answers.

    is_ready: the block is stored and undamaged, and the device may claim it: it was held,
    or the device proved it, or the version was found ready before and is committed.
    is_claimed: ready, or the device has proved it and the bytes wait to be adopted.
    """
    proof = BlockProof.objects.filter(
        device_id=OuterRef("file_version__device_id"),
        block_hash=OuterRef("block_hash"),
        size_bytes=OuterRef("size_bytes"),
    )
    is_ready = Q(block_hash__state=BlockState.STORED, block_hash__size_bytes=F("size_bytes")) & (
        Q(held=True) | Q(file_version__state=ListState.COMMITTED) | Q(Exists(proof))
    )
    is_waiting = Q(Exists(proof.filter(upload__isnull=False)))
    return FileVersionBlock.objects.filter(file_version_id__in=file_version_ids).annotate(
        is_ready=_truth(is_ready), is_claimed=_truth(is_ready | is_waiting)
    )


def _truth(condition: Q) -> Case:
    return Case(
        When(condition, then=Value(True)), default=Value(False), output_field=BooleanField()
    )
