"""A device in a test: a real folder, the real engine, and a model of the server."""

import pathlib
from collections.abc import Callable

from sync_client.engine import CycleResult, Engine, RemoteRoot
from sync_client.filesystem import LocalFileSystem, prepare_root
from sync_client.selection import Wishes
from sync_client.trees import Trees
from tests.fakes.machine import FakeClock, SeededRandomness
from tests.fakes.server import FakeApi, FakeServer
from tests.fakes.transfers import FakeTransfers


class Device:
    """`root` is its linked folder; `sync` runs a cycle that looks at everything."""

    def __init__(
        self,
        name: str,
        home: pathlib.Path,
        server: FakeServer,
        *,
        folder_id: str | None = None,
        fault: Callable[[str], None] = lambda _: None,
        exchange_works: bool = True,
    ) -> None:
        self._exchange_works = exchange_works
        self.name = name
        self.root = home / name
        self.state = home / f"{name}.db"
        self.server = server
        self.clock = FakeClock()
        self.fault = fault
        self._folder_id = folder_id or server.root_id
        self._starts = 0
        self._wishes = Wishes()
        prepare_root(self.root, root_id=name, device_id=name)
        self.start()

    def start(self) -> None:
        """Begin as after the start of the program."""
        self._starts += 1

        def fault(where: str) -> None:
            self.fault(where)

        self.fs = LocalFileSystem(self.root, root_id=self.name, exchange_works=self._exchange_works)
        self.trees = Trees(self.state, root=RemoteRoot(self.server.namespace_id, self._folder_id))
        self.transfers = FakeTransfers(self.server, self.fs, self.name, fault=fault)
        self.engine = Engine(
            trees=self.trees,
            fs=self.fs,
            api=FakeApi(self.server, self.name, fault=fault),
            transfers=self.transfers,
            clock=self.clock,
            randomness=SeededRandomness(f"{self.name} {self._starts}"),
            device_name=self.name,
            wishes=self._wishes,
        )

    @property
    def wishes(self) -> Wishes:
        """What is to be left out here; it outlives the program and its state."""
        return self._wishes

    @wishes.setter
    def wishes(self, wishes: Wishes) -> None:
        self._wishes = self.engine.wishes = wishes

    def stop(self) -> None:
        self.trees.close()

    def lose_state(self) -> None:
        """The state database is gone; the folder is not."""
        self.stop()
        for each in self.state.parent.glob(f"{self.name}.db*"):
            each.unlink()
        self.start()

    def sync(self) -> CycleResult:
        # Whatever was written a moment ago is old enough by now.
        self.clock.ahead_ns += 3_000_000_000
        return self.engine.cycle(rescan=True, pull=True)

    def tree(self) -> dict[tuple[str, ...], bytes | None]:
        """Path to content of everything in the folder; None for folders."""
        found: dict[tuple[str, ...], bytes | None] = {}
        for path in self.root.rglob("*"):
            parts = path.relative_to(self.root).parts
            if parts[0] == ".drive":
                continue
            found[parts] = None if path.is_dir() else path.read_bytes()
        return found


def settle(*devices: Device, rounds: int = 12) -> None:
    """Sync in turn until nobody has anything to do. Fails if that does not end."""
    for _ in range(rounds):
        results = [device.sync() for device in devices]
        if not any(result.operations or not result.is_finished for result in results):
            return
    raise AssertionError("the devices do not come to rest")
