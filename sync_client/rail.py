"""Hold deletions that take most of a folder, however long they take (pure, over the trees).

Deletions that follow one another are one burst, whichever side they happened on. It is
judged as a whole against what there was when it began, so it cannot slip through plan by
plan; and once it is more than a few, nothing of it is carried out before it has come to
rest. Nodes that are newer than the burst do not count against it: programs make and remove
files all day.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from sync_client.trees import Trees

# A deletion of more items than this, and of more than half of the tree, is held.
HOLD_ABOVE_ITEMS = 100

_SECOND_NS = 1_000_000_000
# Of a burst that is large enough to be held nothing is carried out while it grows, unless
# that goes on for ever.
REST_NS = 2 * _SECOND_NS
LONGEST_REST_NS = 600 * _SECOND_NS
# It is over when it has not grown for so long, or has lasted so long; never while it is held,
# or is confirmed and not yet done.
QUIET_NS = 300 * _SECOND_NS
LONGEST_NS = 1800 * _SECOND_NS

_META = "deletions"


@dataclass(frozen=True, slots=True)
class Burst:
    """Deletions that belong together.

    size: items that both sides had when it began; first_new_id: the local id from which on
    nodes are newer. total: how many are gone or about to go; confirmed: how many may go
    because somebody said so.
    """

    began_ns: int
    grew_ns: int
    size: int
    first_new_id: int
    total: int = 0
    held: int = 0
    confirmed: int | None = None


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is to become of the deletions of a plan.

    held: how many wait for a confirmation. rest_ns: they wait so long for further ones.
    """

    burst: Burst | None
    held: int = 0
    rest_ns: int = 0

    @property
    def lets_through(self) -> bool:
        return not self.held and not self.rest_ns


def judge(trees: Trees, local_ids: Sequence[int], *, now_ns: int) -> Ruling:
    """The ruling over the deletions of a plan, by the nodes they concern."""
    burst = _last(trees)
    if burst is not None and _is_over(burst, now_ns):
        burst = None
    if not local_ids and (burst is None or burst.confirmed is not None):
        # What was confirmed is done. The next deletion is another one.
        return Ruling(None)
    there = trees.synced_count()
    if burst is None:
        burst = Burst(now_ns, now_ns, there, trees.next_local_id)
    gone = max(0, burst.size - trees.synced_count(before_id=burst.first_new_id))
    total = gone + len(local_ids)
    if not local_ids:
        return Ruling(replace(burst, total=total, held=0))
    of_old = gone + sum(1 for local_id in local_ids if local_id < burst.first_new_id)
    grew_ns = now_ns if total > burst.total else burst.grew_ns
    burst = replace(burst, total=total, grew_ns=grew_ns, held=0)
    if burst.confirmed is not None and total <= burst.confirmed:
        return Ruling(burst)
    if _is_most(of_old, burst.size) or _is_most(len(local_ids), there):
        held = len(local_ids)
        return Ruling(replace(burst, held=held), held=held)
    if total > HOLD_ABOVE_ITEMS and abs(now_ns - burst.began_ns) < LONGEST_REST_NS:
        return Ruling(burst, rest_ns=max(0, REST_NS - abs(now_ns - grew_ns)))
    return Ruling(burst)


def note(trees: Trees, ruling: Ruling) -> None:
    """Remember a ruling for the next one; in the caller's transaction."""
    _store(trees, ruling.burst)


def held(connection: sqlite3.Connection) -> int:
    """How many deletions wait for a confirmation. From any thread."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (_META,)).fetchone()
    return Burst(**json.loads(row[0])).held if row is not None else 0


def confirm(trees: Trees, count: int) -> None:
    """Let that many of the held deletions go, and no more. Nothing where none is held."""
    burst = _last(trees)
    if burst is not None and burst.held:
        beyond = max(0, burst.held - count)
        _store(trees, replace(burst, confirmed=burst.total - beyond))


def leave(trees: Trees, local_ids: Sequence[int]) -> None:
    """These nodes are no longer synced, and were not deleted: they do not count as gone."""
    burst = _last(trees)
    if burst is not None and local_ids:
        old = sum(1 for local_id in local_ids if local_id < burst.first_new_id)
        _store(trees, replace(burst, size=burst.size - old))


def as_before(trees: Trees) -> Ruling:
    """No ruling: nothing is judged now."""
    burst = _last(trees)
    return Ruling(burst, held=burst.held if burst is not None else 0)


def _is_most(count: int, of_all: int) -> bool:
    return count > HOLD_ABOVE_ITEMS and 2 * count > of_all


def _is_over(burst: Burst, now_ns: int) -> bool:
    if burst.held or burst.confirmed is not None:
        return False
    return abs(now_ns - burst.grew_ns) >= QUIET_NS or abs(now_ns - burst.began_ns) >= LONGEST_NS


def _last(trees: Trees) -> Burst | None:
    stored = trees.meta(_META)
    return Burst(**json.loads(stored)) if stored is not None else None


def _store(trees: Trees, burst: Burst | None) -> None:
    trees.set_meta(_META, json.dumps(asdict(burst)) if burst is not None else None)
