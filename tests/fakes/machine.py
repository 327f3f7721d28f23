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

    def sleep(self, seconds: float) -> None:
        self.ahead_ns += int(seconds * 1e9)


class SeededRandomness:
    """Ids that a seed repeats."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def new_id(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))
