"""Which versions stay, as a table and for any history."""

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from files.retention import Moment, Policy, expired_versions

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
DAY = timedelta(days=1)
POLICY = Policy(keep_all=30 * DAY, keep_daily=365 * DAY)


def history(*ages: timedelta) -> list[Moment]:
    """Versions that became current so long ago; the last one is current."""
    return [Moment(NOW - age, UUID(int=number)) for number, age in enumerate(ages)]


def gone(versions: list[Moment], policy: Policy = POLICY, now: datetime = NOW) -> list[int]:
    """The numbers of those that go."""
    kept = {versions[-1].version_id} if versions else set()
    return [each.int for each in expired_versions(versions, kept=kept, policy=policy, now=now)]


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param(history(900 * DAY), [], id="the current one, however old"),
        pytest.param(history(900 * DAY, DAY), [], id="replaced yesterday, though old"),
        pytest.param(history(20 * DAY, 20 * DAY - HOUR, HOUR), [], id="all of a month"),
        pytest.param(
            # At noon, at one and at two of one day; the day ended with the third.
            history(40 * DAY, 40 * DAY - HOUR, 40 * DAY - 2 * HOUR, HOUR),
            [0, 1],
            id="one of a day after a month",
        ),
        pytest.param(
            history(42 * DAY, 41 * DAY, 40 * DAY, HOUR), [], id="each of a day of its own"
        ),
        pytest.param(history(402 * DAY, 401 * DAY, HOUR), [0], id="nothing of a day after a year"),
        pytest.param(
            # It was there at the end of a day within the year, so it stays for that day.
            history(402 * DAY, 364 * DAY, HOUR),
            [],
            id="replaced within the year",
        ),
        pytest.param(
            [
                Moment(datetime(2026, 1, 5, 9, tzinfo=UTC), UUID(int=0)),
                Moment(datetime(2026, 1, 6, 0, tzinfo=UTC), UUID(int=1)),
                Moment(datetime(2026, 1, 6, 1, tzinfo=UTC), UUID(int=2)),
            ],
            [0],
            id="at midnight the new one is shown",
        ),
    ],
)
def test_which_versions_go(versions: list[Moment], expected: list[int]) -> None:
    assert gone(versions) == expected


def test_what_somebody_needs_stays() -> None:
    versions = history(900 * DAY, 800 * DAY, 700 * DAY)
    kept = {versions[-1].version_id, UUID(int=0)}

    assert expired_versions(versions, kept=kept, policy=POLICY, now=NOW) == [UUID(int=1)]


ages = st.lists(
    st.timedeltas(min_value=timedelta(), max_value=900 * DAY)
    # Many on few days, too.
    | st.integers(0, 60 * 24).map(lambda hours: hours * HOUR),
    max_size=40,
).map(lambda each: sorted(each, reverse=True))
policies = st.builds(
    Policy,
    keep_all=st.integers(1, 400).map(lambda days: days * DAY),
    keep_daily=st.integers(0, 800).map(lambda days: days * DAY),
)


def shown_at(versions: list[Moment], moment: datetime) -> int | None:
    """The version that the file showed then."""
    before = [each for each in versions if each.committed_at <= moment]
    return max(before).version_id.int if before else None


@given(ages=ages, policy=policies)
def test_exactly_what_the_policy_says_stays(ages: list[timedelta], policy: Policy) -> None:
    """Said the other way round: by what the file showed at which moment."""
    versions = history(*ages)
    wanted = {len(versions) - 1}
    # Whatever was shown at any moment that is not too long ago: at the changes, and at the
    # beginning of that time.
    recent = [NOW - policy.keep_all + datetime.resolution] + [
        each.committed_at for each in versions if each.committed_at > NOW - policy.keep_all
    ]
    # A version that was there for no time at all was shown at its moment nevertheless.
    wanted |= {
        each.version_id.int for each in versions if each.committed_at > NOW - policy.keep_all
    }
    wanted |= {number for each in recent if (number := shown_at(versions, each)) is not None}
    midnight = NOW.replace(hour=0)
    while midnight > NOW - policy.keep_daily:
        if (number := shown_at(versions, midnight)) is not None:
            wanted.add(number)
        midnight -= DAY

    assert set(gone(versions, policy)) == set(range(len(versions))) - wanted


@given(ages=ages, policy=policies, steps=st.lists(st.integers(0, 300), max_size=5))
def test_it_does_not_matter_how_often_it_runs(
    ages: list[timedelta], policy: Policy, steps: list[int]
) -> None:
    versions = history(*ages)
    left, now = list(versions), NOW
    for days in steps:
        now += days * DAY
        removed = {UUID(int=each) for each in gone(left, policy, now)}
        left = [each for each in left if each.version_id not in removed]

    removed = {UUID(int=each) for each in gone(versions, policy, now)}
    if not steps:
        removed = set()
    assert left == [each for each in versions if each.version_id not in removed]


@given(ages=ages, policy=policies, rng=st.randoms(use_true_random=False))
def test_the_order_in_which_they_are_told_does_not_matter(
    ages: list[timedelta], policy: Policy, rng: random.Random
) -> None:
    versions = history(*ages)
    mixed = list(versions)
    rng.shuffle(mixed)
    kept = {versions[-1].version_id} if versions else set()

    assert expired_versions(mixed, kept=kept, policy=policy, now=NOW) == expired_versions(
        versions, kept=kept, policy=policy, now=NOW
    )
