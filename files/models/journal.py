"""The journal, what makes a repeated request harmless, and what is still to be told."""

import uuid

from django.db import models

from files.models.devices import UserDevice
from files.models.tree import Namespace


class ItemType(models.TextChoices):
    """What a journal entry is about."""

    FOLDER = "folder"
    FILE = "file"
    MOUNT = "mount"


class ChangeAction(models.TextChoices):
    """upsert: the item is as `item` says. delete: it is in the trash or gone (a tombstone)."""

    UPSERT = "upsert"
    DELETE = "delete"


class Change(models.Model):
    """One entry of a namespace's journal, with the full state of the item after it."""

    namespace = models.ForeignKey(Namespace, on_delete=models.CASCADE, related_name="changes")
    seq = models.BigIntegerField()
    # Random: a cursor carries it, so a restored server that went another way is noticed.
    change_id = models.UUIDField(default=uuid.uuid4, editable=False)
    changed_at = models.DateTimeField()
    # Null for what the server did by itself.
    device_id = models.UUIDField(null=True, blank=True)
    action = models.CharField(max_length=10, choices=ChangeAction)
    item_type = models.CharField(max_length=10, choices=ItemType)
    item_id = models.UUIDField()
    # As `files.journal.state_of` writes it; what `GET /changes` sends.
    item = models.JSONField()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="files_change_seq", fields=["namespace", "seq"]),
        ]
        indexes = [
            models.Index(fields=["namespace", "changed_at"]),
            # What one item went through, and how it was before a change.
            models.Index(name="files_change_of_item", fields=["namespace", "item_id", "seq"]),
        ]

    def __str__(self) -> str:
        return f"{self.namespace_id}:{self.seq}"


class IdempotencyRecord(models.Model):
    """A completed write of a device, so that a repeat gets the same answer (kept 30 days).

    Holds identifiers, never URLs: a repeated init presigns anew.
    """

    device = models.ForeignKey(UserDevice, on_delete=models.CASCADE, related_name="+")
    # files.idempotency.MAX_ITEM_KEY_LENGTH
    key = models.CharField(max_length=104)
    # SHA-256 of the canonical request: the same key with another body is refused.
    request_digest = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    answer = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="files_idempotency_key", fields=["device", "key"]),
        ]

    def __str__(self) -> str:
        return self.key


class OutboxMessage(models.Model):
    """Something decided here that others must learn; kept until they have (at least once)."""

    # See files.outbox for the topics and their payloads.
    topic = models.CharField(max_length=20)
    payload = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)
    # Not before this moment (the grace of a removed version).
    due_at = models.DateTimeField(db_index=True)
    # Set where a receiver that was there could not take it: a fault to look into. It is
    # still tried, rarely.
    set_aside_at = models.DateTimeField(null=True, blank=True)
    # db_default: the release before this one writes rows without it.
    error = models.CharField(max_length=200, blank=True, default="", db_default="")

    def __str__(self) -> str:
        return f"{self.topic} {self.pk}"
