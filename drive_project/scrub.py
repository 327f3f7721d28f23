"""The scrub by hand: read what is stored, name the files that are hurt, and tell their owners."""

from collections.abc import Iterator

from blocks import gc
from blocks.scrub import Damage, Pace, Scrubbed, Subset, scrub
from blocks.storage import ObjectStore
from drive_project.problems import Problem, could_run, places_hurt
from files.services.damage import note_damage


def run(
    *,
    store: ObjectStore,
    done: Scrubbed,
    bytes_per_second: float | None = None,
    subset: Subset | None = None,
) -> Iterator[Problem]:
    """Every file that a damaged block hurts; a block that hurts none, by itself.

    The versions are marked and their devices told. A run over everything also condemns
    objects of which no row knows. Raises CannotRun.
    """
    with could_run():
        try:
            for damage in scrub(store=store, done=done, pace=Pace(bytes_per_second), subset=subset):
                yield from _problems(damage)
        finally:
            # Also of a run that the store ended: what was found is found.
            if done.damaged_count or done.healed_count:
                note_damage()
        if subset is None:
            gc.sweep(store=store)


def _problems(damage: Damage) -> Iterator[Problem]:
    left = dict.fromkeys(damage.block_hashes)
    where = f"{damage.detail} (object {damage.s3_location})"
    for block_hash, version_id, place in places_hurt(damage.block_hashes):
        left.pop(block_hash, None)
        yield Problem(
            "I1", block_hash, place.path, f"{where}; version {version_id} of {place.owner}"
        )
    for block_hash in left:
        yield Problem("I1", block_hash, None, f"{where}; no file has this block")
