"""One run of a seed; and the shortest part of it that still goes wrong.

Each act has a chance of its own, made from the seed and the act's number, so acts can be left
out without changing what the others draw.
"""

import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from tests.simulation.world import World

# How often all come to rest within a run, in acts.
REST_EVERY = 30


@dataclass(frozen=True)
class Failure:
    """What went wrong."""

    kind: str
    message: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


@dataclass
class Outcome:
    """How a run ended."""

    steps: int
    trace: str
    failure: Failure | None = None
    acts: Sequence[int] = ()
    log: list[str] = field(default_factory=list)


def run(
    seed: int, *, acts: int = 60, only: Sequence[int] | None = None, keeps_log: bool = False
) -> Outcome:
    """Run a seed; whatever it raises is its failure."""
    chance = Random(seed)
    # Of three runs, one has a single author, and one has what cannot be synced. Of seven, one
    # has disks without renameat2.
    world = World(
        chance,
        machines=(2, 3, 2, 2, 4)[seed % 5],
        is_alone=seed % 3 == 2,
        has_problems=seed % 3 == 0,
        has_old_disks=seed % 7 == 5,
    )
    if keeps_log:
        world.log = []
    numbers = range(acts) if only is None else only
    failure = None
    try:
        world.rest()
        for number in numbers:
            chance.seed(f"{seed} {number}")
            if number % REST_EVERY == REST_EVERY - 1:
                world.rest()
            else:
                world.act()
        chance.seed(f"{seed} end")
        world.rest()
    except Exception as error:  # noqa: BLE001  (whatever it is, it is what was looked for)
        failure = Failure(type(error).__name__, str(error), traceback.format_exc())
    outcome = Outcome(world.steps, world.trace.hexdigest(), failure, list(numbers))
    outcome.log = world.log or []
    if keeps_log and failure is not None:
        outcome.log += [failure.where, *world.described()]
    world.close()
    return outcome


def shrink(seed: int, *, acts: int = 60) -> Outcome:
    """The failing run of a seed with as few acts as leaving out some of them can give."""
    best = run(seed, acts=acts)
    size = max(1, acts // 2)
    while size >= 1:
        at = 0
        while at < len(best.acts):
            shorter = [*best.acts[:at], *best.acts[at + size :]]
            outcome = run(seed, acts=acts, only=shorter)
            if outcome.failure is not None:
                best = outcome
            else:
                at += size
        size //= 2
    return best
