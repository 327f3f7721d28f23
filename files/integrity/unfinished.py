"""I10: nothing that was begun stays unfinished."""

from collections.abc import Iterator
from datetime import timedelta

from django.utils import timezone

from drive_project.common.findings import Finding
from files.models import FileVersion, OutboxMessage, VersionStatus

# The sweep runs every ten minutes, the relay every few seconds.
UPLOAD_OVERDUE = timedelta(hours=1)
MESSAGE_OVERDUE = timedelta(minutes=10)


def check() -> Iterator[Finding]:
    """Uploads that should have been aborted, messages that should have been delivered."""
    now = timezone.now()
    for pk, expires_at in (
        FileVersion.objects.filter(
            status=VersionStatus.PENDING, expires_at__lt=now - UPLOAD_OVERDUE
        )
        .values_list("pk", "expires_at")
        .iterator()
    ):
        yield Finding(
            "I10",
            "upload-overdue",
            str(pk),
            f"an upload that expired at {expires_at:%Y-%m-%d %H:%M} is still pending",
            file_version_id=pk,
        )
    # A message that is waiting for its turn again has a new due_at.
    for message in OutboxMessage.objects.filter(due_at__lt=now - MESSAGE_OVERDUE).iterator():
        yield Finding(
            "I10",
            "message-overdue",
            str(message.pk),
            f"{message.topic} message, due at {message.due_at:%Y-%m-%d %H:%M}, is not delivered",
        )
