"""The tables of the Block Service, in their own database (alias `blocks`).

Lock order everywhere: block lists by id, blocks by hash, upload rows by id, proofs by
device and hash, stored objects by location. What belongs to the File Service appears as
identifiers only.

A location is at every instant in exactly one of: an upload row, a stored object, a
condemned object. It moves in one transaction that locks the row it leaves.
"""

from django.db import models
from django.db.models import Q

from drive_project.common.ids import new_id


class BlockState(models.TextChoices):
    """awaited: named by a version, not yet verified. damaged: stored, but no longer right."""

    AWAITED = "awaited"
    STORED = "stored"
    DAMAGED = "damaged"


class StoredObject(models.Model):
    """An object of the store that holds verified blocks: one block, or a pack of many."""

    s3_location = models.CharField(primary_key=True, max_length=200, editable=False)
    size_bytes = models.PositiveBigIntegerField()
    # The sum of the sizes of the blocks that still point here.
    live_bytes = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    last_verified_at = models.DateTimeField(null=True, blank=True, db_index=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="blocks_object_live_not_over_size",
                condition=Q(live_bytes__lte=models.F("size_bytes")),
            ),
        ]
        indexes = [
            # What the collector rewrites; spelled as blocks.rewrite asks for it.
            models.Index(
                fields=["s3_location"],
                name="blocks_object_mostly_dead",
                condition=Q(size_bytes__gt=models.F("live_bytes") + models.F("live_bytes")),
            ),
        ]

    def __str__(self) -> str:
        return self.s3_location


class Block(models.Model):
    """A run of bytes in the object store, named by its SHA-256, stored once."""

    block_hash = models.CharField(primary_key=True, max_length=64, editable=False)
    # Null until verified.
    s3_location = models.ForeignKey(
        StoredObject,
        on_delete=models.RESTRICT,
        null=True,
        blank=True,
        db_column="s3_location",
        related_name="blocks",
    )
    # Where the block begins in its object, in bytes.
    offset = models.PositiveBigIntegerField(default=0)
    # Null until verified: before that, a size is only somebody's claim.
    size_bytes = models.PositiveIntegerField(null=True, blank=True)
    reference_count = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=10, choices=BlockState, default=BlockState.AWAITED)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="blocks_block_stored_has_place",
                condition=Q(state="awaited")
                | Q(size_bytes__isnull=False, s3_location__isnull=False),
            ),
        ]
        indexes = [
            # What the collector looks for.
            models.Index(
                fields=["block_hash"], name="blocks_block_at_zero", condition=Q(reference_count=0)
            ),
            # What every minute somebody asks for, and is hardly ever there.
            models.Index(
                fields=["block_hash"], name="blocks_block_damaged", condition=Q(state="damaged")
            ),
        ]

    def __str__(self) -> str:
        return self.block_hash[:12]


class ListState(models.TextChoices):
    """released is final: a call on it raises UploadExpired."""

    OPEN = "open"
    COMMITTED = "committed"
    RELEASED = "released"


class BlockList(models.Model):
    """The blocks of one version as a whole. Every call on a version locks this row first."""

    file_version_id = models.UUIDField(primary_key=True, editable=False)
    file_id = models.UUIDField(null=True)
    namespace_id = models.UUIDField(null=True, db_index=True)
    device_id = models.UUIDField(null=True)
    state = models.CharField(max_length=10, choices=ListState, default=ListState.OPEN)
    created_at = models.DateTimeField(auto_now_add=True)
    # When it was released; such rows are kept 30 days for calls that come late.
    released_at = models.DateTimeField(null=True, blank=True, db_index=True)

    def __str__(self) -> str:
        return str(self.file_version_id)


class FileVersionBlock(models.Model):
    """The founding design's join table: which block stands where in which version."""

    pk = models.CompositePrimaryKey("file_version_id", "block_sequence_index")
    file_version = models.ForeignKey(BlockList, on_delete=models.CASCADE, related_name="rows")
    block_sequence_index = models.PositiveIntegerField()
    file_id = models.UUIDField(null=True)
    block_hash = models.ForeignKey(
        Block, on_delete=models.RESTRICT, db_column="block_hash", related_name="rows"
    )
    # As the device claims it; equal to the block's once that is verified.
    size_bytes = models.PositiveIntegerField()
    version_timestamp = models.DateTimeField(auto_now_add=True)
    # True: when the row was written, a committed version that the caller may read held it.
    held = models.BooleanField(default=False)

    class Meta:
        indexes = [models.Index(fields=["block_hash"])]

    def __str__(self) -> str:
        return f"{self.file_version_id}[{self.block_sequence_index}]"


class BlockUpload(models.Model):
    """An object that is to be written, known before the URL for it leaves."""

    upload_id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    s3_location = models.CharField(max_length=200, unique=True, editable=False)
    # Null for what the server writes itself.
    device_id = models.UUIDField(null=True)
    # SHA-256 of the whole object; equal to the block's hash unless it is a pack.
    sha256 = models.CharField(max_length=64)
    size_bytes = models.PositiveBigIntegerField()
    # A pack's contents: [[block_hash, offset, size_bytes], …]. Empty for a single block.
    pack = models.JSONField(default=list, blank=True)
    # How many blocks it carries.
    block_count = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    # The last moment at which a URL for it is good.
    expires_at = models.DateTimeField(db_index=True)
    # When its bytes were found right. Its proofs name it from then on.
    verified_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["device_id", "sha256"])]

    def __str__(self) -> str:
        return self.s3_location


class BlockProof(models.Model):
    """A device sent this block and the server verified it; counts for its open uploads."""

    device_id = models.UUIDField()
    block_hash = models.CharField(max_length=64)
    # Where the verified bytes are while no stored block has adopted them; else null.
    upload = models.ForeignKey(BlockUpload, on_delete=models.SET_NULL, null=True, blank=True)
    offset = models.PositiveBigIntegerField(default=0)
    size_bytes = models.PositiveIntegerField()
    verified_at = models.DateTimeField()
    # Kept 7 days after its last use.
    used_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="blocks_proof_once", fields=["device_id", "block_hash"]),
        ]

    def __str__(self) -> str:
        return f"{self.device_id} {self.block_hash[:12]}"


class CondemnedObject(models.Model):
    """An object that is to be deleted from the store, at this exact location, when due."""

    s3_location = models.CharField(primary_key=True, max_length=200, editable=False)
    due_at = models.DateTimeField(db_index=True)
    size_bytes = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return self.s3_location


class Collection(models.Model):
    """One run of the collector, for people who want to know that it works. Kept 90 days."""

    started_at = models.DateTimeField(db_index=True)
    finished_at = models.DateTimeField()
    deleted_block_count = models.PositiveIntegerField(default=0)
    # Also a default of the database: the release before this one does not write it.
    rewritten_pack_count = models.PositiveIntegerField(default=0, db_default=0)
    condemned_object_count = models.PositiveIntegerField(default=0)
    deleted_object_count = models.PositiveIntegerField(default=0)
    freed_bytes = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.started_at:%Y-%m-%d %H:%M} {self.freed_bytes} bytes"


class Hold(models.Model):
    """While one is in force, nothing is released, rewritten or deleted; see blocks.holds."""

    hold_id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # Who holds, for people.
    reason = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    # A lease: its holder renews it, so a holder that was killed ends it.
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.reason
