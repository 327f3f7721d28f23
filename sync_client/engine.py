"""The loop of one linked folder: observe, pull, plan, apply, until nothing is ready.

Everything it knows is in the trees; it may be killed at any moment and begins again there.
Who calls it, and when, is the daemon's business.
"""

import errno
import logging
import math
from collections import Counter
from collections.abc import Callable, Set
from dataclasses import dataclass

from sync_client import (
    apply_books,
    apply_disk,
    apply_files,
    apply_recovery,
    apply_server,
    rail,
    selection,
    viewing,
)
from sync_client.database import REBUILT, state_errors
from sync_client.errors import MustStop, SyncError, Transient
from sync_client.feed import Feed
from sync_client.nodes import RemoteRoot
from sync_client.operations import Action, Operation
from sync_client.pending import Pending, Problem, Status, read_status
from sync_client.planner import plan
from sync_client.ports import Api, Clock, FileSystem, Path, Randomness, Transfers
from sync_client.scanner import scan_everything, scan_folders
from sync_client.selection import Wishes
from sync_client.stash import STASH_KEPT_NS
from sync_client.trees import Trees
from sync_client.view import View
from sync_client.viewing import RulesReader
from sync_client.workbench import Workbench

__all__ = [
    "CycleResult",
    "Engine",
    "MustStop",
    "Problem",
    "RemoteRoot",
    "Status",
    "SyncError",
    "Transient",
]

logger = logging.getLogger("drive.engine")

SWEEP_EVERY_NS = 24 * 3600 * 1_000_000_000

# A cycle ends after so many rounds even if more is ready, to let the daemon breathe.
MAX_ROUNDS = 1_000


@dataclass(frozen=True, slots=True)
class CycleResult:
    """How a cycle ended.

    is_finished: there is nothing left that a further cycle could do by itself. is_settled:
    and the three trees are equal, with no problem and no held deletion. retry_after: seconds
    after which another cycle is worth while even if nothing happens (None: none needed).
    operations: how many steps were taken.
    """

    is_settled: bool
    is_finished: bool
    retry_after: float | None
    held_deletions: int
    operations: int


class Engine:
    """Keeps one folder of the disk and one of the server the same.

    wishes: what the person who uses this device wants to be left out; may be set between
    cycles.
    One thread at a time; `status` may be asked from any. on_progress is called after every
    step worth showing, on the engine's thread.
    """

    def __init__(
        self,
        *,
        trees: Trees,
        fs: FileSystem,
        api: Api,
        transfers: Transfers,
        clock: Clock,
        randomness: Randomness,
        device_name: str,
        on_progress: Callable[[], None] = lambda: None,
        wishes: Wishes | None = None,
    ) -> None:
        self.wishes = wishes or Wishes()
        self._rules = RulesReader(trees, fs, clock)
        self._trees = trees
        self._fs = fs
        self._clock = clock
        self._feed = Feed(trees, api, clock)
        self._pending = Pending(trees, clock, randomness)
        self._has_recovered = False
        # Deletions wait for further ones: they go once a look at everything finds none.
        self._rests = False
        self._swept_ns: int | None = None
        self._bench = Workbench(
            trees=trees,
            fs=fs,
            api=api,
            transfers=transfers,
            feed=self._feed,
            pending=self._pending,
            clock=clock,
            randomness=randomness,
            device_name=device_name,
            on_progress=on_progress,
        )

    def cycle(
        self,
        *,
        dirty: set[Path] | None = None,
        closed: Set[Path] = frozenset(),
        rescan: bool = False,
        pull: bool = True,
        retry: bool = False,
    ) -> CycleResult:
        """Look, plan and apply until nothing is ready.

        dirty: folders in which the disk changed; closed: files whose writers have closed them,
        so that nobody has to wait whether they write on; rescan: look at all of it; pull: ask the
        server for changes first; retry: what was set aside, too, since somebody asks for it. The
        first cycle of a process does all three. Raises
        Transient (again later, nothing is lost), MustStop (the user has to act) and
        StateDamaged (open it again: it begins anew).
        """
        try:
            with state_errors(self._trees.database.path):
                self._bench.closed = closed
                if retry:
                    self._trees.retry_problems()
                return self._cycle(dirty or set(), rescan=rescan, pull=pull)
        except OSError as error:
            # In the middle of a step, perhaps: what a crash would have left is to be finished.
            self._has_recovered = False
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise MustStop(
                    "There is no space left on the disk of the linked folder.",
                    next_step="Free some space.",
                ) from error
            raise

    def _cycle(self, dirty: set[Path], *, rescan: bool, pull: bool) -> CycleResult:
        self._fs.check_root()
        is_first = not self._has_recovered
        if is_first:
            apply_recovery.recover(self._bench)
        self._sweep()
        if is_first:
            # What the rules of the device ignore need not be looked at, nor what is below.
            viewing.refresh(self._trees, self._rules, device_rules=self.wishes.ignore)
        if rescan or is_first or self._rests:
            self._bench.rescan.clear()
            self._bench.look_again(*scan_everything(self._trees, self._fs, self._clock).again)
        self._has_recovered = True
        self._bench.look_again(*dirty)
        self._look()
        selection.select_again(self._trees, self.wishes.deselected)
        is_behind = self._bench.pull or self._trees.meta("cursor") is None
        if pull or is_first or self._rests or is_behind:
            self._feed.pull()
            self._feed.check_digest()
            self._bench.pull = False
        return self._work()

    def is_settled(self) -> bool:
        """Whether the three trees are equal: nothing to do, in flight, set aside or held."""
        return self._trees.is_settled() and not self._pending.intents()

    def confirm_deletes(self, count: int) -> None:
        """Let so many held deletions go ahead with the next cycle; more are held again."""
        with self._trees.transaction():
            rail.confirm(self._trees, count)

    def status(self) -> Status:
        """What is left to do, and what cannot be done. From any thread."""
        return read_status(self._trees)

    @property
    def view(self) -> View:
        """What is followed at present. From any thread."""
        return self._trees.view

    @property
    def cursor(self) -> str | None:
        """The place in the server's journal up to which everything is known here."""
        return self._trees.meta("cursor")

    def _sweep(self) -> None:
        """Once a day, drop what is kept no longer."""
        now_ns = self._clock.now_ns()
        if self._swept_ns is None or abs(now_ns - self._swept_ns) >= SWEEP_EVERY_NS:
            self._swept_ns = now_ns
            self._fs.sweep_stash(now_ns - STASH_KEPT_NS)
            self._pending.sweep()

    def _work(self) -> CycleResult:
        done = 0
        for _ in range(MAX_ROUNDS):
            self._follow()
            operations, ruling = self._plan()
            self._rests = ruling.rest_ns > 0
            if not operations and not self._deselect():
                break
            # What is to be done is known now, and may take long.
            self._bench.on_progress()
            # Gone in the middle, a disk must not look like a folder that was emptied.
            self._fs.check_root()
            self._apply(operations)
            done += len(operations)
            self._look()
            if self._bench.pull or self._bench.is_in_doubt:
                self._feed.pull()
                # Only now: what could not be pulled is to be before the next plan.
                self._bench.pull = False
            if self._bench.is_in_doubt:
                self._feed.check_digest(at_once=True)
                self._bench.is_in_doubt = False
        else:
            return CycleResult(False, False, 0.0, ruling.held, done)
        due_ns = self._trees.next_due_ns()
        waits = None if due_ns is None else max(0.0, (due_ns - self._clock.now_ns()) / 1e9)
        if self._rests:
            waits = min(ruling.rest_ns / 1e9, waits or math.inf)
        if (racy_ns := selection.waits_ns(self._trees, self.wishes.deselected)) is not None:
            waits = min(racy_ns / 1e9, waits or math.inf)
        is_finished = not self._rests and not self._trees.has_busy_entries() and racy_ns is None
        if is_finished and self._trees.meta(REBUILT) is not None:
            self._trees.set_meta(REBUILT, None)
        return CycleResult(
            is_settled=self.is_settled() and not ruling.held,
            is_finished=is_finished,
            retry_after=waits,
            held_deletions=ruling.held,
            operations=done,
        )

    def _follow(self) -> None:
        """Before each plan: what the rules say, and what they let in that was not looked at."""
        selection.leave_out_absent(self._trees, self.wishes.deselected)
        while folders := viewing.refresh(self._trees, self._rules, device_rules=self.wishes.ignore):
            self._bench.look_again(*folders)
            self._look()

    def _deselect(self) -> bool:
        """Leave out what was deselected, as far as the server has all of it."""
        return selection.release(self._trees, self._fs, self._clock, self.wishes.deselected)

    def _plan(self) -> tuple[list[Operation], rail.Ruling]:
        trees = self._trees
        found = plan(trees, now_ns=self._clock.now_ns())
        with trees.transaction():
            trees.clear(item_ids=found.clean_items, local_ids=found.clean_locals)
            trees.drop_stale_marks()
            rail.note(trees, found.ruling)
        return found.operations, found.ruling

    def _apply(self, operations: list[Operation]) -> None:
        bench = self._bench
        for conflict, count in Counter(each.conflict for each in operations).items():
            if conflict is not None:
                logger.info("%d × %s", count, conflict)

        def among(actions: frozenset[Action]) -> list[Operation]:
            return [each for each in operations if each.action in actions]

        apply_books.apply_books(bench, among(apply_books.ACTIONS))
        apply_disk.apply_disk(bench, among(apply_disk.ACTIONS))
        apply_server.apply_server(bench, among(apply_server.ACTIONS))
        uploads = among(frozenset({Action.UPLOAD}))
        repeated = [each for each in uploads if apply_files.sent_before(bench, each)]
        apply_files.upload(bench, repeated)
        trouble: Transient | None = None
        try:
            apply_files.download(bench, among(frozenset({Action.DOWNLOAD})))
        except Transient as error:
            if error.concerns_all:
                raise
            # What goes wrong on the way down keeps nothing from going up.
            trouble = error
        again = set(repeated)
        apply_files.upload(bench, [each for each in uploads if each not in again])
        bench.on_progress()
        if trouble is not None:
            raise trouble

    def _look(self) -> None:
        """Scan what turned out to be not as expected, until it is."""
        for _ in range(3):
            folders, self._bench.rescan = self._bench.rescan, set()
            if not folders:
                return
            self._bench.look_again(*scan_folders(self._trees, self._fs, self._clock, folders).again)
