"""How fast contents may go up and down: one limit for all folders of the device.

Requests to the server's API are small and do not count.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

# Slower, a block would not be through before the store gives up on the connection.
SLOWEST_BYTES_PER_SECOND = 10_000
# Contents pass in pieces of at most this, so that a low limit is kept evenly.
PIECE_BYTES = 16 * 1024
UNLIMITED_PIECE_BYTES = 256 * 1024
# So much of a second may pass at once after a pause.
BURST_SECONDS = 0.25
# Somebody who waits looks up this often whether the transfer was stopped.
LOOK_UP_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Rates:
    """Bytes per second in each direction; None: as fast as it goes."""

    up: int | None = None
    down: int | None = None


class Bucket:
    """A token bucket: `take` returns when so many bytes may pass. From any thread."""

    def __init__(
        self,
        *,
        now: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Condition, float], object] = threading.Condition.wait,
    ) -> None:
        """now, wait: the clock in seconds, and how to wait on a condition for a while."""
        self._now = now
        self._wait = wait
        self._changed = threading.Condition()
        self._rate: int | None = None
        # Below zero: taken in advance, to be waited for by whoever comes next.
        self._tokens = 0.0
        self._filled_at = now()

    @property
    def is_limited(self) -> bool:
        return self._rate is not None

    def set_rate(self, bytes_per_second: int | None) -> None:
        """From now on, also for those who wait."""
        with self._changed:
            self._fill()
            self._rate = bytes_per_second
            if bytes_per_second is not None:
                # What was taken at another speed is no debt at this one.
                self._tokens = min(max(self._tokens, 0.0), bytes_per_second * BURST_SECONDS)
            self._changed.notify_all()

    def take(self, count_bytes: int, *, stopped: threading.Event) -> None:
        """Wait until so many bytes may pass, or the transfer is to stop."""
        with self._changed:
            while self._rate is not None and not stopped.is_set():
                self._fill()
                if self._tokens > 0:
                    self._tokens -= count_bytes
                    return
                seconds = -self._tokens / self._rate + 0.001
                self._wait(self._changed, min(seconds, LOOK_UP_SECONDS))

    def _fill(self) -> None:
        now = self._now()
        if self._rate is not None:
            most = self._rate * BURST_SECONDS
            self._tokens = min(self._tokens + (now - self._filled_at) * self._rate, most)
        self._filled_at = now


class Limits:
    """The limits of a device, shared by the transfers of all its folders."""

    def __init__(self, rates: Rates | None = None) -> None:
        self.up = Bucket()
        self.down = Bucket()
        self.set(rates or Rates())

    def set(self, rates: Rates) -> None:
        """Take effect at once, also in the middle of a transfer."""
        self.up.set_rate(rates.up)
        self.down.set_rate(rates.down)

    def sending(self, content: bytes, *, stopped: threading.Event) -> Iterator[bytes]:
        """A content in pieces, each when it may go."""
        start = 0
        while start < len(content):
            size_bytes = PIECE_BYTES if self.up.is_limited else UNLIMITED_PIECE_BYTES
            piece = content[start : start + size_bytes]
            self.up.take(len(piece), stopped=stopped)
            yield piece
            start += len(piece)
