"""Time and ids of one device in a test."""

import random
import time
import uuid


class FakeClock:
    """The real time, except that sleeping costs none: it is added instead."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def now_ns(self) -> int:
        return time.time_ns() + self.ahead_ns

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_ns / 1e9

    def sleep(self, seconds: float) -> None:
        self.ahead_ns += int(seconds * 1e9)


class SeededRandomness:
    """Ids and jitter that a seed repeats."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def new_id(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def jitter(self, seconds: float) -> float:
        return seconds * (0.5 + self._random.random() / 2)
