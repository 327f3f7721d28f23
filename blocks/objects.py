"""Stored and condemned objects: what shrinks, and what is to be deleted when.

All in the caller's transaction, which has locked the blocks and upload rows concerned.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connections
from django.db.models import BigIntegerField, Case, F, When

from blocks.models import CondemnedObject, StoredObject
from blocks.transactions import ALIAS, chunks

# Objects that one statement shrinks.
SHRINK_BATCH = 500
# What a caller shrinks who must not show by its time that there is nothing to shrink.
NOTHING: Mapping[str, int] = {"": 0}


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

    An object without a block is condemned; answers how many were. The same statements run
    whatever is found, also for NOTHING.
    """
    due_at = now + condemned_for()
    return sum(_shrink(dict(batch), due_at) for batch in chunks(sorted(gone.items()), SHRINK_BATCH))


def _shrink(gone: Mapping[str, int], due_at: datetime) -> int:
    concerned = StoredObject.objects.filter(s3_location__in=gone)
    list(concerned.select_for_update().order_by("s3_location").values_list("pk"))
    concerned.update(
        live_bytes=F("live_bytes")
        - Case(
            *(When(s3_location=location, then=size) for location, size in gone.items()),
            output_field=BigIntegerField(),
        )
    )
    connection = connections[ALIAS]
    places = ", ".join(["%s"] * len(gone))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {CondemnedObject._meta.db_table} (s3_location, size_bytes, due_at) "  # noqa: S608
            f"SELECT s3_location, size_bytes, %s FROM {StoredObject._meta.db_table} "
            f"WHERE live_bytes = 0 AND s3_location IN ({places})",
            [connection.ops.adapt_datetimefield_value(due_at), *gone],
        )
        condemned: int = cursor.rowcount
        # Not by a queryset, which looks for blocks first, and only where there is an object.
        cursor.execute(
            f"DELETE FROM {StoredObject._meta.db_table} "  # noqa: S608
            f"WHERE live_bytes = 0 AND s3_location IN ({places})",
            [*gone],
        )
    return condemned
