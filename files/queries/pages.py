"""Pages of rows that are listed from the newest to the oldest."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, TypeVar
from uuid import UUID

from django.db.models import Model, Q, QuerySet

Row = TypeVar("Row", bound=Model)


class Place(NamedTuple):
    """Where a page ended: the moment by which the rows are ordered, and the id."""

    moment: datetime
    item_id: UUID


def newest_first(
    rows: QuerySet[Row], field: str, *, after: Place | None, limit: int
) -> tuple[Sequence[Row], Place | None]:
    """The next rows in the order of a moment that all of them have; the place, if more follow."""
    if after is not None:
        rows = rows.filter(
            Q(**{f"{field}__lt": after.moment})
            | Q(**{field: after.moment, "pk__lt": after.item_id})
        )
    found = list(rows.order_by(f"-{field}", "-pk")[: limit + 1])
    if len(found) <= limit:
        return found, None
    last = found[limit - 1]
    return found[:limit], Place(getattr(last, field), last.pk)
