"""Stored and condemned objects: what shrinks, and what is to be deleted when.

All in the caller's transaction, which has locked the blocks and upload rows concerned.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from django.conf import settings

from blocks.models import CondemnedObject, StoredObject
from blocks.transactions import chunks


def condemned_for() -> timedelta:
    """How long a condemned object waits: until no URL for it can be in use any more."""
    longest: timedelta = max(settings.UPLOAD_URL_LIFETIME, settings.DOWNLOAD_URL_LIFETIME)
    return longest + timedelta(hours=1)


def condemn(places: Iterable[tuple[str, int]], now: datetime) -> int:
    """Mark (location, size in bytes) for deletion; the caller removes the row it leaves."""
    due_at = now + condemned_for()
    condemned = CondemnedObject.objects.bulk_create(
        CondemnedObject(s3_location=location, size_bytes=size_bytes, due_at=due_at)
        for location, size_bytes in places
    )
    return len(condemned)


def shrink(gone: Mapping[str, int], now: datetime) -> int:
    """Take bytes of blocks that no longer point there off `live_bytes`, by location.

    An object without a block is condemned; answers how many were.
    """
    empty: list[StoredObject] = []
    smaller: list[StoredObject] = []
    for batch in chunks(sorted(gone)):
        for stored in (
            StoredObject.objects.select_for_update()
            .filter(s3_location__in=batch)
            .order_by("s3_location")
        ):
            stored.live_bytes -= gone[stored.pk]
            (smaller if stored.live_bytes else empty).append(stored)
    StoredObject.objects.bulk_create(
        smaller,
        update_conflicts=True,
        unique_fields=["s3_location"],
        update_fields=["live_bytes"],
    )
    for empty_batch in chunks(empty):
        StoredObject.objects.filter(pk__in=[stored.pk for stored in empty_batch]).delete()
    return condemn(((stored.pk, stored.size_bytes) for stored in empty), now)
