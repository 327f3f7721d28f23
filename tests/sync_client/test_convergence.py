"""Two devices and a browser do anything, in any order, with crashes: all end the same."""

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from sync_client.errors import Transient
from sync_client.ignore import RULES_NAME
from sync_client.names import PARKED_PREFIX, name_key
from sync_client.selection import Wishes
from sync_client.trees import local_path, remote_path
from tests.fakes.server import FakeServer, Refusal, item_id
from tests.sync_client.devices import Device, settle

NAMES = st.sampled_from(["a", "b", "c", "A"])
DEVICES = st.sampled_from(["laptop", "phone"])
PICK = st.integers(0, 1000)


Tree = dict[tuple[str, ...], bytes | None]


class Crash(Exception):
    """The process dies here."""


class TwoFolders(RuleBasedStateMachine):
    """Every content is unique, so that none can vanish unseen."""

    def __init__(self) -> None:
        super().__init__()
        self.home = pathlib.Path(tempfile.mkdtemp())
        self.server = FakeServer()
        self.devices = {name: Device(name, self.home, self.server) for name in ("laptop", "phone")}
        self.number = 0
        # Content that a person has put somewhere, and that nobody replaced or removed where
        # it was: at rest it must be on every device.
        self.alive: set[bytes] = set()

    def teardown(self) -> None:
        try:
            self.rest()
        finally:
            for device in self.devices.values():
                device.stop()
            shutil.rmtree(self.home)

    def content(self) -> bytes:
        self.number += 1
        # Often of one size, so that only reading tells contents apart.
        return f"content {self.number:05}".encode()

    def places(self, device: Device, *, folders: bool) -> list[pathlib.Path]:
        found = [
            path
            for path in sorted(device.root.rglob("*"))
            if path.relative_to(device.root).parts[0] != ".drive" and path.is_dir() == folders
        ]
        return [device.root, *found] if folders else found

    def replaced(self, path: pathlib.Path) -> None:
        """A person is about to remove or overwrite what is there: it may go."""
        for each in [path] if path.is_file() else path.rglob("*"):
            if each.is_file():
                self.alive.discard(each.read_bytes())

    # What people do to a folder

    @rule(which=DEVICES, where=PICK, name=NAMES)
    def write(self, which: str, where: int, name: str) -> None:
        device = self.devices[which]
        folders = self.places(device, folders=True)
        path = folders[where % len(folders)] / name
        if path.is_dir():
            return
        if path.exists():
            self.replaced(path)
        content = self.content()
        path.write_bytes(content)
        self.alive.add(content)

    @rule(which=DEVICES, where=PICK, name=NAMES)
    def save_atomically(self, which: str, where: int, name: str) -> None:
        device = self.devices[which]
        folders = self.places(device, folders=True)
        path = folders[where % len(folders)] / name
        if path.is_dir():
            return
        if path.exists():
            self.replaced(path)
        content = self.content()
        half = path.with_name("half-written")
        half.write_bytes(content)
        half.replace(path)
        self.alive.add(content)

    @rule(which=DEVICES, where=PICK)
    def edit_and_keep_the_time(self, which: str, where: int) -> None:
        device = self.devices[which]
        files = self.places(device, folders=False)
        if not files:
            return
        path = files[where % len(files)]
        before = path.stat()
        self.replaced(path)
        content = self.content()
        path.write_bytes(content)
        self.alive.add(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    @rule(which=DEVICES, where=PICK, name=NAMES)
    def make_folder(self, which: str, where: int, name: str) -> None:
        device = self.devices[which]
        folders = self.places(device, folders=True)
        path = folders[where % len(folders)] / name
        if not path.exists() and len(path.parts) < 12:
            path.mkdir()

    @rule(which=DEVICES, where=PICK)
    def remove(self, which: str, where: int) -> None:
        device = self.devices[which]
        everything = self.places(device, folders=False) + self.places(device, folders=True)[1:]
        if not everything:
            return
        path = everything[where % len(everything)]
        self.replaced(path)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    @rule(which=DEVICES, what=PICK, where=PICK, name=NAMES)
    def move(self, which: str, what: int, where: int, name: str) -> None:
        device = self.devices[which]
        everything = self.places(device, folders=False) + self.places(device, folders=True)[1:]
        folders = self.places(device, folders=True)
        if not everything:
            return
        source = everything[what % len(everything)]
        target = folders[where % len(folders)] / name
        if target == source or target.is_relative_to(source) or target.is_dir():
            return
        if target.exists() and source.is_dir():
            return
        if target.exists():
            self.replaced(target)
        source.rename(target)

    @rule(which=DEVICES, first=PICK, second=PICK)
    def swap(self, which: str, first: int, second: int) -> None:
        device = self.devices[which]
        folders = self.places(device, folders=True)[1:]
        if len(folders) < 2:
            return
        one, other = folders[first % len(folders)], folders[second % len(folders)]
        if one.is_relative_to(other) or other.is_relative_to(one):
            return
        between = device.root / "on its way"
        one.rename(between)
        other.rename(one)
        between.rename(other)

    @rule(which=DEVICES, where=PICK)
    def make_executable(self, which: str, where: int) -> None:
        files = self.places(self.devices[which], folders=False)
        if files:
            path = files[where % len(files)]
            path.chmod(path.stat().st_mode ^ 0o111)

    # What happens in the browser

    def item(self, pick: int) -> dict[str, Any] | None:
        live = [
            each
            for each in self.server.items.values()
            if self.server.is_live(each) and item_id(each) != self.server.root_id
        ]
        return live[pick % len(live)] if live else None

    @rule(what=PICK, where=PICK, name=NAMES)
    def move_on_server(self, what: int, where: int, name: str) -> None:
        item = self.item(what)
        target = self.item(where)
        if item is None or target is None:
            return
        parent = target["folder_id"] if target["type"] == "folder" else self.server.root_id
        with contextlib.suppress(Refusal):
            self.server.move(item, parent=parent, name=name)

    @rule(what=PICK)
    def edit_on_server(self, what: int) -> None:
        item = self.item(what)
        if item is None or item["type"] == "folder":
            return
        self.alive.discard(self.server.contents[item["current_version_id"]])
        content = self.content()
        self.server.commit(
            device="web",
            op_id=self.server.new_id(),
            file_id=item["file_id"],
            base=item["current_version_id"],
            parent_id=item["parent_folder_id"],
            name=item["name"],
            content=content,
            mtime_ns=self.number,
            executable=False,
        )
        self.alive.add(content)

    @rule(first=PICK, second=PICK)
    def swap_on_server(self, first: int, second: int) -> None:
        one, other = self.item(first), self.item(second)
        if one is None or other is None or one is other:
            return
        places = [(each["parent_folder_id"], each["name"]) for each in (one, other)]
        with contextlib.suppress(Refusal):
            self.server.move(one, name="between")
            self.server.move(other, parent=places[0][0], name=places[0][1])
            self.server.move(one, parent=places[1][0], name=places[1][1])

    @rule(what=PICK)
    def delete_on_server(self, what: int) -> None:
        item = self.item(what)
        if item is None:
            return
        for path, content in self.server.tree().items():
            found = self.server.find(*path)
            if content is not None and found is not None:
                here: dict[str, Any] | None = found
                while here is not None:
                    if here is item:
                        self.alive.discard(content)
                    here = self.server.items.get(here["parent_folder_id"])
        self.server.delete(item)

    # What the program does

    @rule(which=DEVICES)
    def sync(self, which: str) -> None:
        self.devices[which].sync()

    @rule(which=DEVICES, after=st.integers(1, 12))
    def sync_until_a_crash(self, which: str, after: int) -> None:
        device = self.devices[which]
        left = after

        def fault(_: str) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise Crash

        device.fault = fault
        with contextlib.suppress(Crash):
            device.sync()
        device.fault = lambda _: None
        device.stop()
        device.start()

    @rule(which=DEVICES, after=st.integers(1, 12))
    def sync_until_the_network_fails(self, which: str, after: int) -> None:
        device = self.devices[which]
        left = after

        def fault(_: str) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise Transient("no network")

        device.fault = fault
        with contextlib.suppress(Transient):
            device.sync()
        device.fault = lambda _: None

    @rule(which=DEVICES)
    def lose_the_state(self, which: str) -> None:
        self.devices[which].lose_state()

    @rule()
    def rest(self) -> None:
        """At rest, all trees are equal, no content is lost, and looking again finds nothing."""
        laptop, phone = self.devices.values()
        settle(laptop, phone)
        expected = self.server.tree()
        for device in (laptop, phone):
            assert self.without_problems(device, device.tree()) == self.without_problems(
                device, expected
            )
            assert device.engine.cycle(rescan=True).operations == 0
        present = set(laptop.tree().values()) | set(phone.tree().values())
        assert self.alive <= present
        self.check_no_name_is_parked(expected)

    def check_no_name_is_parked(self, expected: Tree) -> None:
        parked = [path for path in expected if any(name.startswith(PARKED_PREFIX) for name in path)]
        assert not parked

    def without_problems(self, device: Device, tree: Tree) -> Tree:
        """A tree without what the device lists as problems, in any case of the letters."""
        tops = [_key(each.path.split("/")) for each in device.engine.status().problems]
        with device.trees.database.reading() as connection:
            # An item that cannot follow its node, or the other way round, has another place
            # there; so has one that was moved into a folder which is set aside.
            apart = connection.execute("SELECT item_id FROM dirty_items WHERE code IS NOT NULL")
            elsewhere = [item_id for (item_id,) in apart.fetchall()]
            for item_id, local_id in connection.execute("SELECT item_id, local_id FROM synced"):
                here = _key(local_path(connection, local_id))
                if any(here[: len(top)] == top for top in tops):
                    elsewhere.append(item_id)
            tops += [_key(remote_path(connection, each, device.trees.root)) for each in elsewhere]
        return {
            path: content
            for path, content in tree.items()
            if not any(_key(path)[: len(top)] == top for top in tops)
        }

    @initialize()
    def begin(self) -> None:
        for device in self.devices.values():
            device.sync()


RULES = st.lists(
    st.sampled_from(["a", "b/", "/c", "a/b", "**/c/", "*", "!a", "A"]), max_size=3, unique=True
)


class LeavingOut(TwoFolders):
    """The same, while rules and choices of what is left out come and go."""

    @rule(which=DEVICES, where=PICK, lines=RULES)
    def write_rules(self, which: str, where: int, lines: list[str]) -> None:
        device = self.devices[which]
        folders = self.places(device, folders=True)
        path = folders[where % len(folders)] / RULES_NAME
        if path.is_file():
            self.replaced(path)
        path.write_text("\n".join(lines))

    @rule(which=DEVICES, lines=RULES)
    def set_rules(self, which: str, lines: list[str]) -> None:
        device = self.devices[which]
        device.wishes = Wishes(tuple(lines), device.wishes.deselected)

    @rule(which=DEVICES, what=PICK)
    def select(self, which: str, what: int) -> None:
        device = self.devices[which]
        item = self.item(what)
        if item is not None and item["type"] == "folder":
            chosen = device.wishes.deselected ^ {item["folder_id"]}
            device.wishes = Wishes(device.wishes.ignore, chosen)

    @rule()
    def rest(self) -> None:
        """What each device follows is the same as on the server, and no content is lost."""
        laptop, phone = self.devices.values()
        settle(laptop, phone)
        expected = self.server.tree()
        present = set(expected.values())
        for device in (laptop, phone):
            ours = self.without_problems(device, self.followed(device, device.tree()))
            theirs = self.without_problems(device, self.followed(device, self.selected(device)))
            assert ours == theirs
            assert device.engine.cycle(rescan=True).operations == 0
            present |= set(device.tree().values())
        assert self.alive <= present
        self.check_no_name_is_parked(expected)

    def followed(self, device: Device, tree: Tree) -> Tree:
        """A tree without what the device ignores."""
        rules = device.engine.view.rules
        return {
            path: content
            for path, content in tree.items()
            if rules.ignoring(path, is_folder=content is None) is None
        }

    def selected(self, device: Device) -> Tree:
        """The server's tree without the folders that the device does not keep."""
        found = {}
        for path, content in self.server.tree().items():
            chain = [self.server.find(*path[: depth + 1]) for depth in range(len(path))]
            ids = {item_id(each) for each in chain if each is not None}
            if ids.isdisjoint(device.engine.view.deselected):
                found[path] = content
        return found


def _key(path: Sequence[str]) -> tuple[str, ...]:
    return tuple(name_key(name) for name in path)


TestTwoFolders = TwoFolders.TestCase
TestLeavingOut = LeavingOut.TestCase
TestTwoFolders.settings = TestLeavingOut.settings = settings(
    max_examples=int(os.environ.get("DRIVE_EXAMPLES", "25")),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # The same each time, unless more are asked for.
    derandomize="DRIVE_EXAMPLES" not in os.environ,
    # A found sequence is short enough to read; making it shorter takes minutes.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
