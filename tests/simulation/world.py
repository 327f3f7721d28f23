"""The whole world of a simulation: machines, a server, people, faults, and what must hold.

One scheduler decides what happens next. Everything that it decides comes from one source of
chance, so a run is its seed: the same seed gives the same trace.
"""

import contextlib
import hashlib
import stat
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from sync_client import linux
from sync_client.names import is_parked, name_key
from tests.fakes.server import Refusal, item_id
from tests.simulation.kernel import Inode, Violation, described
from tests.simulation.ledger import Ledger
from tests.simulation.machine import Machine
from tests.simulation.server import Backup, SimulatedServer

NAMES = ("a", "b", "c", "A", "d.txt")
NAMES_ALONE = ("a", "b", "c", "d.txt", "e")
# The steps in whose moment a hostile program writes.
PLACING = frozenset(
    {"exchange", "rename", "exchanged", "renamed", "link", "linked", "chmod", "utime", "fchmod"}
)
LOOKING = frozenset({"statx", "open", "pread", "listdir", "commit", "answer", "fsync", "lease"})

_COPY = " (conflicted copy"
_FIRST_MOMENT_NS = 1_764_000_000_123_456_789
_SECOND_NS = 1_000_000_000
# How a request fares while the network is bad, out of 20.
_FATES = ("unreachable", "unanswered", "late", "twice")


@dataclass(frozen=True)
class Seen:
    """The contents on a device; those behind its problems; those it cannot take for them."""

    here: set[bytes | None]
    on_its_way: set[bytes | None]
    expected: set[bytes | None]


class World:
    """Machines with one account, and the people before them.

    is_alone: only the person at the first machine changes anything; then there is never a
    reason for a conflict copy. has_problems: people also make what cannot be synced (links,
    names that differ only in case, files that nobody may read). has_old_disks: renameat2 of
    the first machine knows no flags, that of the second one only RENAME_NOREPLACE.
    """

    def __init__(
        self,
        chance: Random,
        *,
        machines: int = 2,
        is_alone: bool = False,
        has_problems: bool = False,
        has_old_disks: bool = False,
    ) -> None:
        self.chance = chance
        self.is_alone = is_alone
        self.has_problems = has_problems
        self.now_ns = _FIRST_MOMENT_NS
        self.steps = 0
        self.trace = hashlib.blake2b(digest_size=16)
        self.ledger = Ledger()
        self.known: set[bytes] = {b""}
        self.server = SimulatedServer()
        self.committed: set[bytes] = set()
        self.backup: Backup | None = None
        self.late: list[Callable[[], Any]] = []
        # Out of a hundred requests, so many meet trouble.
        self.trouble = 0
        self.is_down = False
        self.open_files: list[tuple[Machine, int]] = []
        # For whoever wants to read what happened.
        self.log: list[str] | None = None
        names = ["laptop", "phone", "desktop", "tablet"][:machines]
        self.machines: list[Machine] = []
        for name in names:
            machine = Machine(name, self)
            machine.kernel.known = self.known
            if has_old_disks and len(self.machines) < 2:
                machine.kernel.flags = (0, linux.RENAME_NOREPLACE)[len(self.machines)]
            self.machines.append(machine)
            self._as_person(machine, self._furnish, machine)
        self.outside = [described(each.kernel.outside) for each in self.machines]

    def _furnish(self, machine: Machine) -> None:
        kernel = machine.kernel
        descriptor = kernel.open(kernel.outside, "precious", 0o101 | 0o100, 0o644)
        kernel.pwrite(descriptor, b"not yours", 0)
        kernel.close(descriptor)

    def close(self) -> None:
        for machine in self.machines:
            machine.close()

    # The trace

    def note(self, who: str, what: str, detail: str) -> None:
        self.steps += 1
        self.now_ns += 20_000
        self.trace.update(f"{who} {what} {detail}\n".encode(errors="surrogateescape"))
        if self.log is not None:
            self.log.append(f"{self.steps} {who} {what} {detail}")

    def fate_of_request(self, machine: Machine) -> str:
        if self.is_down:
            return "unreachable"
        if self.trouble and self.chance.randrange(100) < self.trouble:
            return self.chance.choice(_FATES)
        return "fine"

    # What people do to a folder

    def content(self) -> bytes:
        # Often of one size, so that only reading tells contents apart; often with blocks in
        # common; of one to four blocks.
        number = self.ledger.written + 1
        content = b"%06d" % number + b"abcdefghijklmnopqr"[: 6 * self.chance.randrange(4)]
        if self.chance.randrange(4) == 0:
            content += b"tail"
        self.known.add(content)
        self.ledger.register(content)
        return content

    def _as_person(self, machine: Machine, action: Callable[..., None], *arguments: Any) -> None:
        kernel = machine.kernel
        kernel.by_person = True
        try:
            action(*arguments)
        finally:
            kernel.by_person = False

    def person(self, machine: Machine, what: str | None = None) -> None:
        """A person at a machine does something."""
        doings = PERSON if self.has_problems else PERSON_ALONE
        name = what or self.chance.choice(doings)
        self.note(machine.name, "person", name)
        self._explain(machine, "before")
        with contextlib.suppress(OSError):
            # What the system refuses to a person, or lets wait, does not happen.
            self._as_person(machine, getattr(self, f"_do_{name}"), machine)
        self._explain(machine, "after")
        self._pass_time()

    def _explain(self, machine: Machine, when: str) -> None:
        if self.log is not None:
            tree = {"/".join(path): inode.data for path, inode in machine.kernel.tree().items()}
            self.log.append(f"      {when}: {tree}")

    def _pass_time(self) -> None:
        self.now_ns += self.chance.choice((0, 50_000, 5_000_000, 80_000_000, _SECOND_NS))

    def _folders(self, machine: Machine) -> list[tuple[tuple[str, ...], Inode]]:
        kernel = machine.kernel
        found = [each for each in kernel.tree().items() if each[1].is_folder]
        return [((), kernel.root), *sorted(found)]

    def _files(self, machine: Machine) -> list[tuple[tuple[str, ...], Inode]]:
        return sorted(each for each in machine.kernel.tree().items() if each[1].is_file)

    def _folder(self, machine: Machine) -> tuple[tuple[str, ...], Inode]:
        return self.chance.choice(self._folders(machine))

    def _name(self) -> str:
        return self.chance.choice(NAMES if self.has_problems else NAMES_ALONE)

    def _note_dirty(self, machine: Machine, *paths: tuple[str, ...]) -> None:
        # Now and then the watcher misses something.
        if self.chance.randrange(8):
            machine.dirty.update(paths)

    def _gone(self, inode: Inode) -> None:
        """A person removes this, or writes over it."""
        if inode.is_file:
            self.ledger.discharge(inode.data)
        for below in inode.entries.values():
            self._gone(below)

    def _put(self, machine: Machine, path: tuple[str, ...], folder: Inode, name: str) -> None:
        """Write a whole new content to a name, in place."""
        kernel = machine.kernel
        there = folder.entries.get(name)
        if there is not None and not there.is_file:
            return
        descriptor = kernel.open(folder, name, 0o101, 0o644)
        if there is not None:
            self._gone(there)
        content = self.content()
        kernel.truncate(descriptor, 0)
        kernel.pwrite(descriptor, content, 0)
        kernel.close(descriptor)
        self._note_dirty(machine, path)

    def _do_write(self, machine: Machine) -> None:
        path, folder = self._folder(machine)
        self._put(machine, path, folder, self._name())

    def _do_edit(self, machine: Machine) -> None:
        if files := self._files(machine):
            path, _ = self.chance.choice(files)
            self._put(machine, path[:-1], machine.kernel.parent_of(path), path[-1])

    def _do_save(self, machine: Machine) -> None:
        """As editors do: another file, renamed over the old one."""
        path, folder = self._folder(machine)
        self._save(machine, path, folder, self._name())

    def _save(self, machine: Machine, path: tuple[str, ...], folder: Inode, name: str) -> None:
        kernel = machine.kernel
        there = folder.entries.get(name)
        if there is not None and not there.is_file:
            return
        self._put(machine, path, folder, f"{name}.half-written")
        if there is not None and there is folder.entries.get(name):
            kernel.rename(folder, f"{name}.half-written", folder, name, 0)
            self._gone(there)
        else:
            kernel.rename(folder, f"{name}.half-written", folder, name, 0)

    def _do_edit_keeping_the_time(self, machine: Machine) -> None:
        files = self._files(machine)
        if not files:
            return
        path, inode = self.chance.choice(files)
        mtime_ns, size = inode.mtime_ns, len(inode.data)
        kernel = machine.kernel
        descriptor = kernel.open(kernel.parent_of(path), path[-1], 0o1)
        self._gone(inode)
        content = b"%06d" % (self.ledger.written + 1)
        content += b"=" * (size - len(content))
        self.known.add(content)
        self.ledger.register(content)
        kernel.truncate(descriptor, len(content))
        kernel.pwrite(descriptor, content, 0)
        kernel.set_times(inode, mtime_ns)
        kernel.close(descriptor)
        self._note_dirty(machine, path[:-1])

    def _do_append(self, machine: Machine) -> None:
        files = self._files(machine)
        if not files:
            return
        path, _ = self.chance.choice(files)
        kernel = machine.kernel
        descriptor = kernel.open(kernel.parent_of(path), path[-1], 0o1)
        self._write_more(machine, descriptor)
        kernel.close(descriptor)
        self._note_dirty(machine, path[:-1])

    def _write_more(self, machine: Machine, descriptor: int) -> None:
        """Append, so that the file has a content that no other has."""
        kernel = machine.kernel
        inode = kernel.inode_of(descriptor)
        is_shown = kernel.is_shown(inode)
        content = inode.data + b"+%06d" % (self.ledger.written + 1)
        if is_shown:
            self._gone(inode)
        self.known.add(content)
        if inode.links > 0:
            self.ledger.register(content, is_shown=is_shown)
        kernel.pwrite(descriptor, content[len(inode.data) :], len(inode.data))

    def _do_open(self, machine: Machine) -> None:
        """A program opens a file for writing, and keeps it open."""
        files = self._files(machine)
        if not files or len(self.open_files) >= 3:
            return
        path, _ = self.chance.choice(files)
        self.open_files.append(
            (machine, machine.kernel.open(machine.kernel.parent_of(path), path[-1], 0o1))
        )

    def _do_write_to_open(self, machine: Machine) -> None:
        for owner, descriptor in self.open_files:
            if owner is machine and descriptor in machine.kernel.handles:
                self._write_more(machine, descriptor)
                self._note_dirty(machine, ())
                return

    def _do_close(self, machine: Machine) -> None:
        for each in list(self.open_files):
            if each[0] is machine:
                self.open_files.remove(each)
                if each[1] in machine.kernel.handles:
                    machine.kernel.close(each[1])

    def _do_make_folder(self, machine: Machine) -> None:
        path, folder = self._folder(machine)
        if len(path) < 4:
            machine.kernel.make_folder(folder, self._name(), 0o755)
            self._note_dirty(machine, path)

    def _anything(self, machine: Machine) -> tuple[tuple[str, ...], Inode] | None:
        everything = sorted(machine.kernel.tree().items())
        return self.chance.choice(everything) if everything else None

    def _do_remove(self, machine: Machine) -> None:
        found = self._anything(machine)
        if found is not None:
            path, _ = found
            self._remove(machine, machine.kernel.parent_of(path), path[-1])
            self._note_dirty(machine, path[:-1])

    def _remove(self, machine: Machine, folder: Inode, name: str) -> None:
        kernel = machine.kernel
        inode = folder.entries[name]
        if inode.is_folder:
            for below in sorted(inode.entries):
                self._remove(machine, inode, below)
            kernel.remove_folder(folder, name)
            return
        kernel.unlink(folder, name)
        self._gone(inode)

    def _do_change_type(self, machine: Machine) -> None:
        """A folder where a file was, or a file where a folder was."""
        found = self._anything(machine)
        if found is None:
            return
        path, inode = found
        folder = machine.kernel.parent_of(path)
        self._remove(machine, folder, path[-1])
        if inode.is_folder:
            self._put(machine, path[:-1], folder, path[-1])
        else:
            machine.kernel.make_folder(folder, path[-1], 0o755)
        self._note_dirty(machine, path[:-1])

    def _do_move(self, machine: Machine) -> None:
        found = self._anything(machine)
        if found is not None:
            self._move(machine, *found, *self._folder(machine), self._name())

    def _move(
        self, machine: Machine, path: tuple[str, ...], inode: Inode,
        target: tuple[str, ...], folder: Inode, name: str,
    ) -> None:  # fmt: skip
        there = folder.entries.get(name)
        if target[: len(path)] == path or there is inode:
            return
        if there is not None and (there.is_folder or inode.is_folder):
            return
        machine.kernel.rename(machine.kernel.parent_of(path), path[-1], folder, name, 0)
        if there is not None:
            self._gone(there)
        self._note_dirty(machine, path[:-1], target)

    def _do_rename(self, machine: Machine) -> None:
        found = self._anything(machine)
        if found is not None:
            path, inode = found
            self._move(
                machine, path, inode, path[:-1], machine.kernel.parent_of(path), self._name()
            )

    def _do_move_into_new(self, machine: Machine) -> None:
        found = self._anything(machine)
        path, folder = self._folder(machine)
        if found is None or len(path) >= 4 or path[: len(found[0])] == found[0]:
            return
        name = self._name()
        below = machine.kernel.make_folder(folder, name, 0o755)
        self._move(machine, *found, (*path, name), below, self._name())
        self._note_dirty(machine, path)

    def _do_swap(self, machine: Machine) -> None:
        one, other = self._anything(machine), self._anything(machine)
        if one is None or other is None:
            return
        path, other_path = one[0], other[0]
        shorter = min(len(path), len(other_path))
        if path[:shorter] == other_path[:shorter]:
            return
        kernel = machine.kernel
        folder, other_folder = kernel.parent_of(path), kernel.parent_of(other_path)
        kernel.rename(folder, path[-1], kernel.root, "on its way", 0)
        kernel.rename(other_folder, other_path[-1], folder, path[-1], 0)
        kernel.rename(kernel.root, "on its way", other_folder, other_path[-1], 0)
        self._note_dirty(machine, (), path[:-1], other_path[:-1])

    def settle_conflict(self, machine: Machine, keeps: str) -> None:
        """A person looks at a conflict copy, and keeps it, the original or both."""
        copies = [each for each in self._files(machine) if _COPY in each[0][-1]]
        if not copies:
            return
        path, inode = self.chance.choice(copies)
        self.note(machine.name, "settle", f"{keeps} {path[-1]}")
        folder = machine.kernel.parent_of(path)
        stem, _, more = path[-1].partition(_COPY)
        original = stem + more.rpartition(")")[2]

        def do() -> None:
            if keeps == "copy":
                self._move(machine, path, inode, path[:-1], folder, original)
            elif keeps == "original":
                self._remove(machine, folder, path[-1])
            else:
                self._move(machine, path, inode, path[:-1], folder, self._name())
            self._note_dirty(machine, path[:-1])

        with contextlib.suppress(OSError):
            self._as_person(machine, do)
        self._pass_time()

    def _do_rename_case(self, machine: Machine) -> None:
        found = self._anything(machine)
        if found is not None:
            path, inode = found
            self._move(
                machine, path, inode, path[:-1], machine.kernel.parent_of(path), path[-1].swapcase()
            )

    def _do_make_executable(self, machine: Machine) -> None:
        if files := self._files(machine):
            path, inode = self.chance.choice(files)
            machine.kernel.set_mode(inode, inode.mode ^ 0o111)
            self._note_dirty(machine, path[:-1])

    def _do_forbid(self, machine: Machine) -> None:
        """A file or folder that the client cannot read any more; or it may again."""
        found = self._anything(machine)
        if found is not None:
            path, inode = found
            machine.kernel.set_mode(inode, inode.mode ^ 0o600)
            self._note_dirty(machine, path[:-1])

    def _do_link(self, machine: Machine) -> None:
        """A link that leads out of the folder, to what is no business of the client's."""
        path, folder = self._folder(machine)
        name = self._name()
        if name not in folder.entries:
            machine.kernel.make_link(folder, name, "/outside")
            self._note_dirty(machine, path)

    # What happens in the browser

    def web(self) -> None:
        name = self.chance.choice(WEB)
        self.note("web", name, "")
        with contextlib.suppress(Refusal):
            getattr(self, f"_web_{name}")()
        self._note_committed()

    def _item(self) -> dict[str, Any] | None:
        live = [
            each
            for each in self.server.items.values()
            if self.server.is_live(each) and item_id(each) != self.server.root_id
        ]
        return self.chance.choice(live) if live else None

    def _parent(self) -> str:
        item = self._item()
        is_folder = item is not None and item["type"] == "folder"
        return str(item["folder_id"]) if item is not None and is_folder else self.server.root_id

    def _web_edit(self) -> None:
        item = self._item()
        if item is not None and item["type"] == "file":
            self.ledger.discharge(self.server.contents[item["current_version_id"]])
            self.server.edit(item, self.content(), mtime_ns=self.now_ns)

    def _web_create(self) -> None:
        content, parent = self.content(), self._parent()
        self.server.commit(
            device="web", op_id=self.server.new_id(), file_id=None, base=None, parent_id=parent,
            name=self._name(), content=content, mtime_ns=self.now_ns, executable=False,
        )  # fmt: skip

    def _web_make_folder(self) -> None:
        self.server.create_folder(self._parent(), self._name(), device="web")

    def _web_move(self) -> None:
        item = self._item()
        if item is not None:
            self.server.move(item, parent=self._parent(), name=self._name())

    def _web_swap(self) -> None:
        one, other = self._item(), self._item()
        if one is None or other is None or one is other:
            return
        places = [(each["parent_folder_id"], each["name"]) for each in (one, other)]
        self.server.move(one, name="between")
        self.server.move(other, parent=places[0][0], name=places[0][1])
        self.server.move(one, parent=places[1][0], name=places[1][1])

    def _web_delete(self) -> None:
        item = self._item()
        if item is None:
            return
        for each in self.server.items.values():
            is_there = each is item or self.server._is_below(each, item_id(item))
            if each["type"] == "file" and is_there and self.server.is_live(each):
                self.ledger.discharge(self.server.contents[each["current_version_id"]])
        self.server.delete(item)

    def _web_restore(self) -> None:
        trashed = self.server.trashed()
        if trashed:
            self.server.restore_from_trash(self.chance.choice(trashed))

    def _note_committed(self) -> None:
        self.committed.update(self.server.contents.values())

    # Faults

    def deliver(self) -> None:
        """A request that seemed lost arrives after all, and nobody waits for its answer."""
        if self.late:
            action = self.late.pop(self.chance.randrange(len(self.late)))
            self.note("network", "late", "")
            with contextlib.suppress(Refusal):
                action()

    def crash(self, machine: Machine, *, loses_power: bool) -> None:
        self.note(machine.name, "crash", "power" if loses_power else "")
        for each in [each for each in self.open_files if each[0] is machine]:
            self.open_files.remove(each)
        machine.crash(loses_power=loses_power)
        machine.dirty.clear()

    def wipe_state(self, machine: Machine) -> None:
        self.note(machine.name, "wipe", "")
        for each in [each for each in self.open_files if each[0] is machine]:
            self.open_files.remove(each)
        machine.wipe_state()

    def maintain_server(self) -> None:
        """What a server does by itself, or what is done to it."""
        what = self.chance.choice(SERVER_ALONE if self.is_alone else SERVER)
        self.note("server", what, "")
        server = self.server
        match what:
            case "collect":
                server.collect()
            case "expire":
                server.expire_uploads()
            case "cut journal":
                server.cut_journal()
            case "quota":
                server.is_over_quota = not server.is_over_quota
            case "down":
                self.is_down = not self.is_down
            case "restart":
                self.late.clear()
            case "back up":
                self._note_committed()
                self.backup = server.back_up()
            case "restore" if self.backup is not None:
                self._restore(self.backup)

    def _restore(self, backup: Backup) -> None:
        """The server goes back to its backup. What only it had since then is lost."""
        self.server.restore(backup)
        self.late.clear()
        self.committed = set(self.server.contents.values())
        held = set(self.server.tree().values())
        for machine in self.machines:
            held.update(inode.data for inode in machine.kernel.walk(machine.kernel.root))
        for content in [each for each in self.ledger.owed if each not in held]:
            del self.ledger.owed[content]
        self.backup = None

    # The scheduler

    def act(self) -> None:
        """The next thing that happens."""
        chance = self.chance
        machine = chance.choice(self.machines)
        author = self.machines[0] if self.is_alone else machine
        dice = chance.randrange(100)
        if dice < 30:
            self.person(author)
        elif dice < 38:
            if not self.is_alone:
                self.web()
        elif dice < 68:
            self.advance(machine, chance.choice((1, 3, 10, 30, 100, 300)))
        elif dice < 78:
            self.interfere(author)
        elif dice < 84:
            self.complete(machine)
        elif dice < 88:
            self.crash(machine, loses_power=chance.randrange(3) > 0)
        elif dice < 91:
            self.crash_in_the_middle(machine)
        elif dice < 92:
            if not self.is_alone:
                self.wipe_state(machine)
        elif dice < 94:
            self.trouble = chance.choice((0, 0, 5, 20))
        elif dice < 96:
            self.deliver()
        elif dice < 98:
            self.maintain_server()
        elif dice < 99:
            machine.kernel.is_full = not machine.kernel.is_full
        else:
            machine.skew_ns += chance.choice((-3600, -5, -1, 1, 5, 3600)) * _SECOND_NS

    def _go_on(self, machine: Machine, budget: int, halt_at: frozenset[str] = frozenset()) -> None:
        rescan, pull = self.chance.random() < 0.5, self.chance.random() < 0.8
        machine.advance(budget, rescan=rescan, pull=pull, halt_at=halt_at)

    def advance(self, machine: Machine, budget: int) -> None:
        self._go_on(machine, budget)
        self._note_committed()

    def complete(self, machine: Machine) -> None:
        self.now_ns += _SECOND_NS
        self._go_on(machine, 1_000_000)
        self._note_committed()

    def interfere(self, machine: Machine) -> None:
        """A hostile program does something in the very moment of a step of the client."""
        moments = PLACING if self.chance.randrange(3) else LOOKING
        self._go_on(machine, 10_000, moments)
        for _ in range(self.chance.randrange(4)):
            if machine.is_busy:
                self._go_on(machine, 10_000, moments)
        if not machine.is_busy:
            return
        # To the very file, where it can be told which.
        names = machine.halted[1].split(" ")
        hit = [each for each in self._files(machine) if each[0][-1] in names]
        if hit and self.chance.randrange(4):
            self._as_person_to(machine, *self.chance.choice(hit))
        else:
            self.person(machine)

    def _as_person_to(self, machine: Machine, path: tuple[str, ...], inode: Inode) -> None:
        self.note(machine.name, "hostile", "/".join(path))
        folder = machine.kernel.parent_of(path)

        def do() -> None:
            match self.chance.randrange(4):
                case 0:
                    self._put(machine, path[:-1], folder, path[-1])
                case 1:
                    self._save(machine, path[:-1], folder, path[-1])
                case 2:
                    self._remove(machine, folder, path[-1])
                case 3:
                    self._move(machine, path, inode, path[:-1], folder, self._name())

        with contextlib.suppress(OSError):
            self._as_person(machine, do)
        self._pass_time()

    def crash_in_the_middle(self, machine: Machine) -> None:
        """Between two steps that belong together."""
        moments = self.chance.choice((PLACING, frozenset({"commit"}), frozenset({"committed"})))
        self._go_on(machine, 10_000, moments)
        for _ in range(self.chance.randrange(3)):
            if machine.is_busy:
                self._go_on(machine, 10_000, moments)
        if machine.is_busy:
            self.crash(machine, loses_power=self.chance.randrange(4) > 0)

    # At rest

    def rest(self) -> None:
        """Everything works again: all come to rest, and what must hold is checked."""
        self.note("world", "rest", "")
        self.is_down, self.trouble, self.server.is_over_quota = False, 0, False
        while self.late:
            self.deliver()
        for machine in self.machines:
            machine.kernel.is_full = False
            self._as_person(machine, self._permit, machine)
            self._as_person(machine, self._do_close, machine)
        quiet_rounds, before = 0, None
        for _ in range(60):
            # Beyond every pause there is, once nothing else goes on.
            self.now_ns += (4_000 if quiet_rounds else 3) * _SECOND_NS
            results = [machine.finish() for machine in self.machines]
            # What is listed as a problem is tried again and again.
            is_quiet = all(
                result is not None
                and result.is_finished
                and (not result.operations or machine.problems())
                for machine, result in zip(self.machines, results, strict=True)
            )
            after = self.server.head_seq, [described(each.kernel.root) for each in self.machines]
            quiet_rounds = quiet_rounds + 1 if is_quiet and after == before else 0
            before = after
            if quiet_rounds == 3:
                break
        else:
            raise Violation("the devices do not come to rest")
        self._note_committed()
        self.check()

    def _permit(self, machine: Machine) -> None:
        for inode in machine.kernel.tree().values():
            if inode.mode & 0o600 != 0o600 and inode.kind != stat.S_IFLNK:
                machine.kernel.set_mode(inode, inode.mode | 0o600)

    def check(self) -> None:
        """What must hold whenever all are at rest. Raises Violation."""
        expected = self.server.tree()
        everywhere: list[Seen] = []
        for machine in self.machines:
            here = {
                path: inode.data if inode.is_file else None
                for path, inode in machine.kernel.tree().items()
                if inode.kind != stat.S_IFLNK
            }
            excused = self._excused(machine)
            mine = {path: each for path, each in here.items() if not excused(path)}
            theirs = {path: each for path, each in expected.items() if not excused(path)}
            if mine != theirs:
                lacks = {path: each for path, each in theirs.items() if mine.get(path, 0) != each}
                more = {path: each for path, each in mine.items() if theirs.get(path, 0) != each}
                problems = machine.engine.status().problems
                raise Violation(f"{machine.name} differs: lacks {lacks}, has {more}; {problems}")
            everywhere.append(
                Seen(
                    set(here.values()),
                    {each for path, each in here.items() if excused(path)},
                    {each for path, each in expected.items() if excused(path)},
                )
            )
            self._check_metadata(machine, set(theirs) & set(mine))
            self._check_own(machine)
        for content, is_shown in self.ledger.owed.items():
            # Behind a problem that a device lists, a content may wait: on its way from there,
            # or on its way there.
            if any(content in each.on_its_way for each in everywhere):
                continue
            if all(content in each.here or content in each.expected for each in everywhere):
                continue
            if not is_shown and self._is_anywhere(content):
                continue
            where = [m.name for m, each in zip(self.machines, everywhere, strict=True)
                     if content in each.here]  # fmt: skip
            raise Violation(
                f"{content!r} is lost: it is on {where or 'no device'},"
                f" on the server {content in expected.values()},"
                f" as a version {content in self.server.contents.values()}"
            )
        if lost := self.committed - set(self.server.contents.values()):
            raise Violation(f"the server lost {lost}")
        for path in expected:
            if any(is_parked(name) for name in path):
                raise Violation(f"{path} is still parked")
            # A folder that a device had made in the moment of a crash is not in its books: if
            # the name is a file's by then, the folder gives way like a person's, with nothing
            # in it.
            is_content = expected[path] is not None
            if self.is_alone and is_content and any(_COPY in name for name in path):
                raise Violation(f"{path}: a conflict copy, although only one person wrote")
        self.check_outside()
        self._check_blocks()

    def _excused(self, machine: Machine) -> Callable[[tuple[str, ...]], bool]:
        """Whether a path is or is below a problem that is listed, here or on the server.

        A problem has one path, and what it is about may be elsewhere on the other side, where
        a move cannot be followed. Whatever wants that place waits for it.
        """
        problems = {_key(path) for path in machine.problems()}
        places = set(problems)
        for item in self.server.items.values():
            synced = machine.trees.synced(item_id(item))
            if synced is None or not self.server.is_live(item):
                continue
            if machine.trees.local(synced.local_id) is None:
                continue
            mine, theirs = machine.trees.path_of(synced.local_id), self.server.path_of(item)
            if _is_below(mine, problems) or _is_below(theirs, problems):
                places |= {_key(mine), _key(theirs)}
        return lambda path: _is_below(path, places)

    def check_outside(self) -> None:
        """Nothing outside a linked folder is ever touched. Raises Violation."""
        for machine, before in zip(self.machines, self.outside, strict=True):
            if described(machine.kernel.outside) != before:
                raise Violation(f"{machine.name}: something outside the root was touched")

    def described(self) -> list[str]:
        """The trees and problems of all, for people."""
        lines = [
            f"server {path} {content!r}" for path, content in sorted(self.server.tree().items())
        ]
        for machine in self.machines:
            for path, inode in sorted(machine.kernel.tree().items()):
                lines.append(f"{machine.name} {path} {inode.data!r} {inode.number}")
            lines += [f"{machine.name} {each}" for each in machine.engine.status().problems]
        return lines

    def _check_metadata(self, machine: Machine, paths: set[tuple[str, ...]]) -> None:
        tree = machine.kernel.tree()
        for path in paths:
            item, inode = self.server.find(*path), tree[path]
            if item is None or item["type"] == "folder":
                continue
            if inode.data != self.server.contents[item["current_version_id"]]:
                continue
            mine = bool(inode.mode & 0o100), inode.mtime_ns
            theirs = item["executable"], item["client_modified_ns"]
            if mine != theirs:
                raise Violation(f"{machine.name} {path}: mode and time {mine}, server {theirs}")

    def _check_own(self, machine: Machine) -> None:
        staging = machine.kernel.look_up(machine.kernel.root, ".drive/staging")
        # Downloads that nobody wants any more stay until the next start.
        if left := [name for name in staging.entries if not name.endswith(".part")]:
            raise Violation(f"{machine.name}: left in staging: {left}")

    def _is_anywhere(self, content: bytes) -> bool:
        return any(
            inode.data == content
            for machine in self.machines
            for inode in machine.kernel.walk(machine.kernel.root)
        )

    def _check_blocks(self) -> None:
        for version, content in self.server.contents.items():
            blocks = self.server.version_blocks[version]
            if b"".join(self.server.blocks.get(each, b"?") for each in blocks) != content:
                raise Violation(f"a block of {version} is gone")


def _key(path: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name_key(name) for name in path)


def _is_below(path: tuple[str, ...], tops: set[tuple[str, ...]]) -> bool:
    """Whether it is one of these, or below one."""
    return any(_key(path[:size]) in tops for size in range(1, len(path) + 1))


PERSON_ALONE = (
    "write", "write", "edit", "edit", "save", "save", "edit_keeping_the_time", "append", "open",
    "write_to_open", "close", "make_folder", "make_folder", "remove", "move", "rename",
    "move_into_new", "swap", "make_executable", "change_type",
)  # fmt: skip
PERSON = (*PERSON_ALONE, "rename_case", "forbid", "link")
WEB = ("edit", "edit", "create", "make_folder", "move", "swap", "delete", "restore")
SERVER_ALONE = ("collect", "expire", "cut journal", "quota", "down", "restart")
SERVER = (*SERVER_ALONE, "back up", "restore")
