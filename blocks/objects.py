"""Stored and condemned objects: what shrinks, and what is to be deleted when.

All in the caller's transaction, which has locked the blocks and upload rows concerned.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connections

from blocks.models import CondemnedObject, StoredObject
from blocks.transactions import ALIAS, chunks

# Objects that one statement shrinks.
SHRINK_BATCH = 2_000
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
    table, condemned = StoredObject._meta.db_table, CondemnedObject._meta.db_table
    list(StoredObject.objects.select_for_update().filter(pk__in=gone).order_by("pk").values("pk"))
    connection = connections[ALIAS]
    places = ", ".join(["%s"] * len(gone))
    pairs = ", ".join(["(%s, %s)"] * len(gone))
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} SET live_bytes = live_bytes - given.column2 "  # noqa: S608
            f"FROM (VALUES {pairs}) AS given WHERE s3_location = given.column1",
            [value for pair in gone.items() for value in pair],
        )
        cursor.execute(
            f"INSERT INTO {condemned} (s3_location, size_bytes, due_at) "  # noqa: S608
            f"SELECT s3_location, size_bytes, %s FROM {table} "
            f"WHERE live_bytes = 0 AND s3_location IN ({places})",
            [connection.ops.adapt_datetimefield_value(due_at), *gone],
        )
        count: int = cursor.rowcount
        # Not by a queryset, which looks for blocks first, and only where there is an object.
        cursor.execute(
            f"DELETE FROM {table} WHERE live_bytes = 0 AND s3_location IN ({places})",  # noqa: S608
            [*gone],
        )
    return count
