"""Time and chance of the real world: the real `ports.Clock` and `ports.Randomness`."""

import os
import random
import threading
import time
import uuid


class SystemClock:
    """The clocks of this machine. Sleeping ends early when the process is told to stop."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping

    def now_ns(self) -> int:
        return time.time_ns()

    def sleep(self, seconds: float) -> None:
        self._stopping.wait(seconds)


class SystemRandomness:
    """Ids that nobody else has."""

    def new_id(self) -> str:
        return new_id()


def new_id() -> str:
    """A UUIDv7 (RFC 9562): sorted by the time it was made, which databases like."""
    milliseconds = time.time_ns() // 1_000_000
    number = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    number = number & ~(0xF << 76) | (7 << 76)
    number = number & ~(0x3 << 62) | (2 << 62)
    return str(uuid.UUID(int=number))


def jitter(seconds: float) -> float:
    """Between half of it and all of it: devices must not come back all at one moment."""
    return seconds * random.uniform(0.5, 1)  # noqa: S311 - not a secret
