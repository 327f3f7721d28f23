"""A simulated machine: the real engine on a model of a disk, a network and a clock."""

import hashlib
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from greenlet import greenlet

from sync_client.engine import CycleResult, Engine, RemoteRoot
from sync_client.errors import (
    ApiProblem,
    MustStop,
    PathProblem,
    SyncError,
    Transient,
    path_problem,
)
from sync_client.ports import Fetched, FileSystem, FileToFetch, FileToSend, Path, Sent
from sync_client.trees import Trees
from tests.fakes.machine import SeededRandomness
from tests.fakes.server import Refusal
from tests.fakes.transfers import block_refs, blocks_unchanged
from tests.simulation.kernel import Kernel
from tests.simulation.server import cut, name_of
from tests.simulation.system_calls import load

if TYPE_CHECKING:
    from tests.simulation.world import World

# More often than that in one cycle, something goes round in circles.
MOST_EFFECTS = 20_000


class Died(BaseException):
    """The process was killed. Nothing catches it."""


class SimulatedClock:
    """`ports.Clock`: the world's time, and what this machine makes of it."""

    def __init__(self, machine: "Machine") -> None:
        self._machine = machine

    def now_ns(self) -> int:
        return self._machine.world.now_ns + self._machine.skew_ns

    def sleep(self, seconds: float) -> None:
        self._machine.effect("sleep", "")
        self._machine.world.now_ns += int(seconds * 1e9)


class SimulatedApi:
    """`ports.Api` over the simulated network."""

    def __init__(self, machine: "Machine") -> None:
        self._machine = machine

    def request(
        self,
        method: str,
        path: str,
        *,
        json: dict[str, Any] | None = None,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        machine = self._machine
        body, asked = json, dict(params or {})
        return machine.call(
            path, lambda: machine.world.server.handle(machine.name, method, path, body, asked)
        )


class SimulatedTransfers:
    """`ports.Transfers`: block by block, each step over the simulated network."""

    def __init__(self, machine: "Machine", fs: FileSystem) -> None:
        self._machine = machine
        self._fs = fs

    def send(
        self,
        files: Sequence[FileToSend],
        *,
        on_result: Callable[[FileToSend, Sent | SyncError], None],
    ) -> None:
        for file in files:
            try:
                outcome: Sent | SyncError = self._send(file)
            except (PathProblem, ApiProblem) as problem:
                outcome = problem
            on_result(file, outcome)

    def _send(self, file: FileToSend) -> Sent:
        machine, server = self._machine, self._machine.world.server
        content = b"".join(blocks_unchanged(self._fs, file))
        blocks = cut(content)
        wanted = {
            "op_id": file.op_id,
            "file_id": file.file_id,
            "base": file.base_version_id,
            "parent_id": file.parent_folder_id,
            "name": file.name,
            "mtime_ns": file.signature.mtime_ns,
            "executable": file.signature.executable,
            "conflict_of": file.conflict_of,
            "conflict_kind": file.conflict_kind,
        }
        hashes = [name_of(each) for each in blocks]
        missing = machine.call("init", lambda: server.begin(machine.name, wanted, hashes))
        for block in blocks:
            if name_of(block) in missing:
                machine.call("put", partial(server.put_block, block))
        answer = machine.call("commit", lambda: server.finish(machine.name, file.op_id))
        return Sent(answer, hashlib.sha256(content).hexdigest(), block_refs(blocks))

    def fetch(
        self,
        files: Sequence[FileToFetch],
        *,
        on_result: Callable[[FileToFetch, Fetched | SyncError], None],
    ) -> None:
        for file in files:
            try:
                outcome: Fetched | SyncError = self._fetch(file)
            except ApiProblem as problem:
                outcome = problem
            except OSError as error:
                outcome = path_problem(file.staged, error)
            on_result(file, outcome)

    def _fetch(self, file: FileToFetch) -> Fetched:
        machine, server = self._machine, self._machine.world.server
        blocks = machine.call("download", lambda: server.blocks_of(file.file_version_id))
        if blocks is None:
            raise ApiProblem(404, "not-found", "", {})
        staged = self._fs.stage(file.staged)
        try:
            offset = 0
            for block in blocks:
                # What a run before had fetched is verified and kept.
                if staged.read_at(offset, len(block)) != block:
                    machine.call("get", lambda: None)
                    staged.write_at(offset, block)
                offset += len(block)
        except BaseException:
            staged.close()
            raise
        signature = staged.finish(
            size_bytes=file.size_bytes, mtime_ns=file.mtime_ns, executable=file.executable
        )
        refs = block_refs(blocks)
        return Fetched(signature, hashlib.sha256(b"".join(blocks)).hexdigest(), refs)


class Machine:
    """One device. Its cycles go on effect by effect, as the world's scheduler says."""

    def __init__(self, name: str, world: "World") -> None:
        self.name = name
        self.world = world
        self.skew_ns = 0
        self.kernel = Kernel(lambda: world.now_ns + self.skew_ns, self.effect)
        # Folders that the watcher would name.
        self.dirty: set[Path] = set()
        self.last: CycleResult | None = None
        self._starts = 0
        self._state: bytes | None = None
        self._process: Any = None
        self._is_dead = False
        self._budget = 0
        # The names of the effects at which to stop before the budget is used up.
        self.halt_at: frozenset[str] = frozenset()
        self.halted: tuple[str, str] = ("", "")
        self._in_cycle = 0
        self._is_running = False
        self.module: types.ModuleType
        self._start_program()
        self.module.prepare_root(self.module.DISK, root_id=name, device_id=name)
        self.kernel.sync_all()

    # The program

    def _start_program(self) -> None:
        self._starts += 1
        self._is_dead = False
        world = self.world
        seed = SeededRandomness(f"{self.name} {self._starts}")
        bytes_of_it = SeededRandomness(f"{self.name} {self._starts} bytes")
        self.module = load(
            self.kernel,
            new_bytes=lambda size: bytes_of_it.new_id().replace("-", "").encode()[:size],
            sleep=SimulatedClock(self).sleep,
        )
        self.fs = self.module.LocalFileSystem(self.module.DISK, root_id=self.name)
        root = RemoteRoot(world.server.namespace_id, world.server.root_id)
        self.trees = Trees(None, root=root)
        if self._state is not None:
            self.trees.database.connection.deserialize(self._state)
            self.trees.database.is_new = False
            self.trees._begin()
        self._note_commits()
        clock = SimulatedClock(self)
        self.engine = Engine(
            trees=self.trees,
            fs=self.fs,
            api=SimulatedApi(self),
            transfers=SimulatedTransfers(self, self.fs),
            clock=clock,
            randomness=seed,
            device_name=self.name,
        )

    def _note_commits(self) -> None:
        """A transaction of the state database is an effect, with a moment before and after."""
        database = self.trees.database
        original = database.transaction

        @contextmanager
        def transaction() -> Iterator[None]:
            is_inner = database.connection.in_transaction
            with original():
                yield
                if not is_inner:
                    self.effect("commit", "")
            if not is_inner:
                self.effect("committed", "")

        database.transaction = transaction  # type: ignore[method-assign]

    def effect(self, name: str, detail: str) -> None:
        """The program is about to touch the world, or has just done so."""
        if self._is_dead:
            raise Died
        if not self._is_running:
            return
        world = self.world
        world.note(self.name, name, detail)
        self._in_cycle += 1
        if self._in_cycle > MOST_EFFECTS:
            raise AssertionError(f"{self.name}: a cycle that does not end")
        self._budget -= 1
        if self._budget <= 0 or name in self.halt_at:
            self.halted = (name, detail)
            self._is_running = False
            self._process.parent.switch()
            if self._is_dead:
                raise Died
            self._is_running = True

    def call(self, label: str, action: Callable[[], Any]) -> Any:
        """One request and its answer."""
        self.effect("request", label)
        world = self.world
        fate = world.fate_of_request(self)
        if fate == "unreachable":
            raise Transient("no network")
        if fate in {"late", "twice"}:
            world.late.append(action)
        if fate == "late":
            raise Transient("no answer")
        try:
            answer = action()
        except Refusal as refusal:
            raise ApiProblem(
                refusal.status, refusal.document["code"], "", refusal.document
            ) from refusal
        self.effect("answer", label)
        if fate == "unanswered":
            raise Transient("no answer")
        return answer

    # The scheduler's side

    @property
    def is_busy(self) -> bool:
        """Whether a cycle is under way."""
        return self._process is not None

    def advance(
        self, budget: int, *, rescan: bool, pull: bool, halt_at: frozenset[str] = frozenset()
    ) -> None:
        """Let the program go on for so many effects; a new cycle where none is under way."""
        self._budget, self.halt_at = budget, halt_at
        if self._process is None:
            self._in_cycle = 0
            self._process = greenlet(self._cycle)
            dirty, self.dirty = self.dirty, set()
            arguments: tuple[Any, ...] = (dirty, rescan, pull)
        else:
            arguments = ()
        self._is_running = True
        try:
            self._process.switch(*arguments)
        finally:
            self._is_running = False
            if self._process.dead:
                self._process = None

    def _cycle(self, dirty: set[Path], rescan: bool, pull: bool) -> None:
        self.last = None
        try:
            self.last = self.engine.cycle(dirty=dirty, rescan=rescan, pull=pull)
        except Transient:
            # The daemon looks again at what it was told.
            self.dirty |= dirty
        except MustStop:
            # A full disk: the person has to make room first.
            if not self.kernel.is_full:
                raise
            self.dirty |= dirty
        except Died:
            return

    def finish(self, *, rescan: bool = True) -> CycleResult | None:
        """Let the program go on to the end of the cycle, then take a whole one."""
        if self.is_busy:
            self.advance(MOST_EFFECTS, rescan=rescan, pull=True)
        self.advance(MOST_EFFECTS, rescan=rescan, pull=True)
        return self.last

    def crash(self, *, loses_power: bool) -> None:
        """The program dies between two effects; its committed state remains."""
        connection = self.trees.database.connection
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        self._state = connection.serialize()
        self._stop()
        if loses_power:
            self.kernel.cut_power(self.world.chance)
        self._start_program()

    def wipe_state(self) -> None:
        """The state database is gone; the folder is not."""
        self._state = None
        self._stop()
        self._start_program()

    def _stop(self) -> None:
        self._is_dead = True
        if self._process is not None:
            self._process.throw(Died)
            self._process = None
        self.kernel.die()
        self.trees.close()

    def close(self) -> None:
        self._stop()

    def problems(self) -> list[tuple[str, ...]]:
        """The paths that the program lists as problems."""
        return [tuple(each.path.split("/")) for each in self.engine.status().problems]
