"""Which versions of a file are kept, and which go. Pure: times in, decisions out.

A version's age counts from when another one took its place: who overwrites a file that was
two years old must find the old content tomorrow. Until `keep_all` after that every version
stays. Until `keep_daily` those stay that the file showed at the end of a day (UTC). What has
gone does not change what the others are, so it does not matter how often this is asked.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple
from uuid import UUID

# Between these a person may choose.
MIN_KEEP_ALL_DAYS = 1
MAX_DAYS = 3_650


@dataclass(frozen=True, slots=True)
class Policy:
    """keep_all: every version, for so long. keep_daily: one for each day, for so long."""

    keep_all: timedelta
    keep_daily: timedelta


class Moment(NamedTuple):
    """When a committed version became the current one."""

    committed_at: datetime
    version_id: UUID


def expired_versions(
    versions: Iterable[Moment], *, kept: Collection[UUID], policy: Policy, now: datetime
) -> list[UUID]:
    """Those of a file's committed versions that are to go, the oldest first.

    kept: versions that stay whatever their age; the current one has to be among them.
    """
    ordered = sorted(versions)
    return [
        version.version_id
        for version, replaced_at in zip(ordered, _replaced(ordered), strict=True)
        if version.version_id not in kept
        and not _is_recent(replaced_at, policy, now)
        and not _is_of_a_day(version.committed_at, replaced_at, policy, now)
    ]


def _replaced(ordered: list[Moment]) -> list[datetime]:
    """When each version was replaced by its successor.

    The newest has none. It is the current one, which is kept; where a clock went backward
    it may be another, and then it was replaced at once.
    """
    ends = [later.committed_at for _, later in pairwise(ordered)]
    return [*ends, ordered[-1].committed_at] if ordered else []


def _is_recent(replaced_at: datetime, policy: Policy, now: datetime) -> bool:
    return replaced_at > now - policy.keep_all


def _is_of_a_day(
    committed_at: datetime, replaced_at: datetime, policy: Policy, now: datetime
) -> bool:
    """Whether the file showed this version at the end of a day that still counts."""
    just_before = (replaced_at - datetime.resolution).astimezone(UTC)
    last_midnight = just_before.replace(hour=0, minute=0, second=0, microsecond=0)
    return committed_at <= last_midnight and last_midnight > now - policy.keep_daily
