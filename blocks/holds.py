"""Holds: while one is in force, nothing is released, rewritten or deleted.

A backup copies the file metadata, then the block metadata, then the objects, while Drive goes
on. What a version in the first copy names must still be in the second, and what the second
names must be in the store until it is copied. So a release waits (`references.settle`), and
the collector stops before each step that takes something away.

A hold is a lease: whoever was killed ends it by not renewing it. It is enough to look at it
before each step, without a lock: what was taken away by a step that began before the hold was
named by no copy that began after it.
"""

from datetime import timedelta
from uuid import UUID

from django.utils import timezone

from blocks.models import Hold
from blocks.transactions import block_transaction
from drive_project.common.errors import ServiceUnavailable

# How long a hold lives without being renewed: longer than any single step of its holder.
LIFETIME = timedelta(minutes=15)
RETRY_AFTER_SECONDS = 30


class HoldLost(Exception):
    """The hold ran out before it was renewed: something may have been deleted meanwhile."""


def begin(reason: str) -> UUID:
    """Take a hold. It is in force when this returns."""
    now = timezone.now()
    with block_transaction():
        Hold.objects.filter(expires_at__lte=now).delete()
        hold = Hold.objects.create(reason=reason, expires_at=now + LIFETIME)
    return hold.pk


def renew(hold_id: UUID) -> None:
    """Let it live on. Raises HoldLost where it had run out."""
    now = timezone.now()
    with block_transaction():
        in_force = Hold.objects.filter(pk=hold_id, expires_at__gt=now)
        if not in_force.update(expires_at=now + LIFETIME):
            raise HoldLost


def end(hold_id: UUID) -> None:
    """Give it up. Nothing happens where it is gone."""
    with block_transaction():
        Hold.objects.filter(pk=hold_id).delete()


def is_held() -> bool:
    """Whether something holds back what would be taken away."""
    return Hold.objects.filter(expires_at__gt=timezone.now()).exists()


def refuse_while_held() -> None:
    """Raises ServiceUnavailable while something is held; the caller comes again later."""
    if is_held():
        raise ServiceUnavailable(
            "A backup is being made; what is removed is let go of afterwards.",
            retry_after_seconds=RETRY_AFTER_SECONDS,
        )
