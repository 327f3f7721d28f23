"""A limit holds over all that pass together, and changes at once."""

import threading

import pytest

from sync_client.limits import PIECE_BYTES, Bucket, Limits, Rates

NEVER = threading.Event()


class Clock:
    """Seconds that go on only while somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.on_wait = lambda: None

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds
        self.on_wait()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bucket(clock: Clock) -> Bucket:
    return Bucket(now=lambda: clock.now, wait=clock.wait)


@pytest.mark.parametrize("rate", [10_000, 1_000_000, 100_000_000])
def test_what_passes_keeps_the_rate(bucket: Bucket, clock: Clock, rate: int):
    bucket.set_rate(rate)
    total = 5 * rate
    for _ in range(0, total, PIECE_BYTES):
        bucket.take(PIECE_BYTES, stopped=NEVER)
    assert clock.now == pytest.approx(5, rel=0.4)
    assert total / clock.now <= rate * 1.5


def test_without_a_limit_nobody_waits(bucket: Bucket, clock: Clock):
    for _ in range(1000):
        bucket.take(1 << 20, stopped=NEVER)
    assert clock.now == 0


def test_a_pause_gives_no_more_than_a_moment_of_credit(bucket: Bucket, clock: Clock):
    bucket.set_rate(10_000)
    clock.now += 3600
    for _ in range(10):
        bucket.take(10_000, stopped=NEVER)
    assert clock.now - 3600 > 8


def test_a_limit_that_is_taken_away_lets_go_whoever_waits(bucket: Bucket, clock: Clock):
    bucket.set_rate(1)
    clock.on_wait = lambda: bucket.set_rate(None) if clock.now > 3 else None
    for _ in range(10):
        bucket.take(1 << 20, stopped=NEVER)
    assert clock.now < 5


def test_what_is_stopped_does_not_wait_on(bucket: Bucket, clock: Clock):
    stopped = threading.Event()
    clock.on_wait = stopped.set
    bucket.set_rate(1)
    for _ in range(10):
        bucket.take(1 << 20, stopped=stopped)
    assert clock.now < 2


def test_a_content_passes_whole_with_and_without_a_limit():
    content = bytes(range(256)) * 3000
    for rates in (Rates(), Rates(up=1 << 40)):
        pieces = list(Limits(rates).sending(content, stopped=NEVER))
        assert b"".join(pieces) == content
    assert max(len(piece) for piece in pieces) <= PIECE_BYTES
    assert list(Limits().sending(b"", stopped=NEVER)) == []
