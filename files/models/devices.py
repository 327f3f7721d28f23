"""The programs that have signed in."""

from django.db import models

from drive_project.common.ids import new_id
from files.models.accounts import User


class DeviceKind(models.TextChoices):
    """What signs in. Each counts as a device where proofs and idempotency are concerned."""

    SYNC = "sync", "Sync client"
    BROWSER = "browser", "Browser"
    TOKEN = "token", "Access token"


class UserDevice(models.Model):
    """A program that signed in, with its token and how far it has come."""

    device_id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="devices")
    kind = models.CharField(max_length=10, choices=DeviceKind, default=DeviceKind.SYNC)
    name = models.CharField(max_length=100)
    platform = models.CharField(max_length=50, blank=True)
    client_version = models.CharField(max_length=50, blank=True)
    # SHA-256 of the token, hex; the token itself is known to the device alone. For a
    # browser: of its session key.
    token_digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    # A moment up to which the device has applied every namespace, as acknowledged by it.
    last_sync_time = models.DateTimeField(null=True, blank=True)
    cursor = models.TextField(blank=True, editable=False)
    last_seen_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["user", "revoked_at"]),
            # Those who hold connections ask every second who was signed out lately.
            models.Index(
                name="files_device_revoked_at",
                fields=["revoked_at"],
                condition=models.Q(revoked_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_revoked(self) -> bool:
        return self.revoked_at is not None
