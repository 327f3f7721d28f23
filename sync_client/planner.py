"""What to do next: a pure comparison of the three trees.

`plan` reads the trees and nothing else: no disk, no network, no clock of its own. It emits
operations whose preconditions hold now (the parent is there, the name is free, the target
is not below the moved folder); they may run in any order, only nested folders are created
as listed. Then it is asked again. What is not ready waits, so no order has to be computed.

Ancestors and names decide here; whose content wins is `compare.py`. The decision table is
in docs/engine.md, with the names of the conflicts.
"""

from collections.abc import Set
from dataclasses import dataclass, field
from enum import StrEnum

from sync_client import compare, rail
from sync_client.names import is_parked, name_key, refusal_of_remote
from sync_client.nodes import ROOT_ID, Entry, LocalNode, RemoteItem, SyncedItem
from sync_client.operations import Action, Conflict, Operation
from sync_client.ports import Path
from sync_client.trees import Trees

# Operations of one plan; a larger piece of work takes several.
MAX_OPERATIONS = 20_000


@dataclass(slots=True)
class Plan:
    """Operations that are ready, and what was found besides."""

    operations: list[Operation] = field(default_factory=list)
    # Compared and found to need nothing.
    clean_items: list[str] = field(default_factory=list)
    clean_locals: list[int] = field(default_factory=list)
    # Not ready: they wait for another entry.
    waiting: int = 0
    # The nodes of the deletions that were found, and what is to become of them.
    deletions: list[int] = field(default_factory=list)
    ruling: rail.Ruling = field(default_factory=lambda: rail.Ruling(None))


class Verdict(StrEnum):
    """What an entry needs when no operation is emitted for it."""

    CLEAN = "clean"
    WAIT = "wait"


class _Subtree(StrEnum):
    """What a locally deleted folder still holds on the server."""

    SEEN = "seen"  # only what was deleted with it
    LEAVING = "leaving"  # also what is about to be moved out
    UNSEEN = "unseen"  # also what the deleter had not seen


Outcome = Operation | Verdict

_Waits = dict[int | str, tuple[int | str, bool]]

_DELETING = frozenset({Action.DELETE_LOCAL, Action.DELETE_REMOTE})
_BRINGING = frozenset({Action.DOWNLOAD, Action.CREATE_LOCAL})


def plan(trees: Trees, *, now_ns: int, limit: int = MAX_OPERATIONS) -> Plan:
    """Operations that bring the two sides closer, none if nothing is ready.

    now_ns decides which postponed entries are due, and how long deletions rest (`rail.py`).
    """
    return _Planner(trees, limit).run(now_ns=now_ns)


class _Planner:
    def __init__(self, trees: Trees, limit: int) -> None:
        self._trees = trees
        self._limit = limit
        self._plan = Plan()
        self._emitted: set[tuple[Action, str | None, int | None]] = set()
        # Folders that this very plan creates: below them, more folders may be created.
        self._coming_locals: set[str] = set()
        self._coming_items: set[int] = set()
        # What waits for what, on each side: for a name that another is to leave (True), or
        # for a folder that is to come, or to get out of the way. A number is a node of the
        # disk, a text an item of the server: what is to move or to be created.
        self._local_waits: _Waits = {}
        self._remote_waits: _Waits = {}
        # Where folders of the server are in the linked one; None if not, or not followed.
        self._paths: dict[str, Path | None] = {}
        self._deselected: dict[str, bool] = {}
        # Nodes of folders that were deselected: removed here, and kept by the server.
        self._leaves: set[int] = set()
        self._subtrees: dict[str, _Subtree] = {}
        # Of a deleted folder, something in it that is about to be moved out.
        self._leaving: dict[str, str] = {}
        self._synced_folders: dict[int, SyncedItem | None] = {}

    def run(self, *, now_ns: int) -> Plan:
        folders = list(self._trees.dirty_entries(now_ns=now_ns, folders=True))
        for entry in sorted(folders, key=self._depth):
            self._take(entry)
        for entry in self._trees.dirty_entries(now_ns=now_ns, folders=False):
            self._take(entry)
        found = self._plan
        self._spare_those_that_leave()
        if self._leaves:
            # Not a deletion by anybody. What is one waits until all of this has left.
            found.ruling = rail.as_before(self._trees)
            others: Set[int] | None = self._leaves
        else:
            found.ruling = rail.judge(self._trees, found.deletions, now_ns=now_ns)
            others = None if found.ruling.lets_through else frozenset()
        if others is not None:
            found.operations = [
                each
                for each in found.operations
                if each.action not in _DELETING or each.local_id in others
            ]
        found.operations = self._rules_first(found.operations, now_ns=now_ns)
        if not found.operations and (parked := self._break_circle()) is not None:
            found.operations.append(parked)
        return found

    def _spare_those_that_leave(self) -> None:
        """A node that is about to leave its place need not lose its name to a rival there.

        Else its name would hang on which of the two steps is done first.
        """
        found = self._plan
        moving = {each.local_id for each in found.operations if each.action is Action.MOVE_LOCAL}
        staying = [
            each
            for each in found.operations
            if each.action is not Action.RENAME_ASIDE or each.local_id not in moving
        ]
        found.waiting += len(found.operations) - len(staying)
        found.operations = staying

    def _rules_first(self, operations: list[Operation], *, now_ns: int) -> list[Operation]:
        """Bring no files here whose rules, on the way too, may say that they are ignored."""
        coming = [
            item for item in self._trees.rules_to_fetch(now_ns=now_ns) if self._is_in_view(item)
        ]
        needed = {item_id for item in coming for item_id in self._chain(item.item_id)}
        urgent = {
            each.item_id
            for each in operations
            if each.action in _BRINGING and each.item_id in needed
        }
        if not urgent:
            # None, or they cannot be had: nothing else waits for that.
            return operations
        ruled = {item.parent_id for item in coming}
        return [
            each
            for each in operations
            if each.action not in _BRINGING
            or each.item_id in urgent
            or ruled.isdisjoint(self._chain(each.item)[1:])
        ]

    def _chain(self, item_id: str) -> list[str]:
        """An item and the folders that it is in, upwards."""
        chain: list[str] = []
        here: str | None = item_id
        while here is not None and here not in chain:
            chain.append(here)
            item = self._trees.remote(here)
            here = item.parent_id if item is not None else None
        return chain

    def _depth(self, entry: Entry) -> int:
        """How deep a folder is, so that its parents come first."""
        depth = 0
        if entry.synced is None and entry.local is not None:
            node: LocalNode | None = entry.local
            while node is not None and node.parent_id is not None:
                depth += 1
                node = self._trees.local(node.parent_id)
        elif entry.remote is not None:
            seen = {entry.remote.item_id}
            item: RemoteItem | None = entry.remote
            while item is not None and item.parent_id is not None:
                item = self._trees.remote(item.parent_id)
                depth += 1
                if item is None or item.item_id in seen:
                    break
                seen.add(item.item_id)
        return depth

    def _take(self, entry: Entry) -> None:
        outcome = self._decide(entry)
        if isinstance(outcome, Operation):
            key = (outcome.action, outcome.item_id, outcome.local_id)
            if len(self._plan.operations) < self._limit and key not in self._emitted:
                self._emitted.add(key)
                self._plan.operations.append(outcome)
        elif outcome is Verdict.WAIT:
            self._plan.waiting += 1
        elif entry.synced is not None:
            self._plan.clean_items.append(entry.synced.item_id)
        elif entry.local is not None:
            self._plan.clean_locals.append(entry.local.local_id)
        elif entry.remote is not None:
            self._plan.clean_items.append(entry.remote.item_id)

    def _decide(self, entry: Entry) -> Outcome:
        local, synced = entry.local, entry.synced
        remote = entry.remote if entry.remote and self._is_in_view(entry.remote) else None
        if synced is None:
            if local is not None:
                return self._new_local(local)
            return self._new_remote(remote) if remote is not None else Verdict.CLEAN
        if synced.local_id == ROOT_ID:
            return Verdict.CLEAN
        if local is not None and remote is not None:
            return self._both(local, remote, synced)
        if local is not None:
            outcome = self._gone_on_server(local, synced, is_elsewhere=entry.remote is not None)
        elif remote is not None:
            outcome = self._gone_on_disk(remote, synced)
        else:
            return Operation(Action.FORGET, synced.item_id, synced.local_id)
        if entry.remote is not None and self._is_deselected(entry.remote):
            self._leaves.add(synced.local_id)
            return outcome
        # What must be read first may turn out to be one: counted too, so none slips through.
        if isinstance(outcome, Verdict) or outcome.action in {*_DELETING, Action.HASH}:
            self._plan.deletions.append(synced.local_id)
        return outcome

    # Both sides have it

    def _both(self, local: LocalNode, remote: RemoteItem, synced: SyncedItem) -> Outcome:
        if local.set_aside is not None:
            return _problem(
                synced, local, local.set_aside, "It was renamed to what cannot be synced."
            )
        at_one_place = (
            local.name == remote.name and self._item_of(local.parent_id) == remote.parent_id
        )
        place: Outcome = Verdict.CLEAN
        if not at_one_place:
            place = self._bring_together(local, remote, synced)
            if isinstance(place, Operation):
                return place
        content = compare.contents(local, remote, synced)
        if content is not None:
            return content
        if place is Verdict.CLEAN and compare.is_stale(local, remote, synced):
            return Operation(Action.SETTLE, synced.item_id, local.local_id)
        return place

    def _bring_together(self, local: LocalNode, remote: RemoteItem, synced: SyncedItem) -> Outcome:
        moved_locally = compare.is_moved_locally(local, synced)
        if is_parked(local.name) or compare.is_moved_remotely(remote, synced):
            conflict = Conflict.MOVE_MOVE_SOURCE if moved_locally else None
            return self._move_local(local, remote, conflict)
        if moved_locally or is_parked(remote.name):
            return self._move_remote(local, remote)
        if self._item_of(local.parent_id) and self._node_of(remote.parent_id):
            # Nobody has moved it, and the folders above are two things: a commit has made a
            # folder for it in the stead of one that was deleted. The server's place stands.
            return self._move_local(local, remote, None)
        # The folder above them is about to be matched anew.
        return Verdict.WAIT

    def _move_local(
        self, local: LocalNode, remote: RemoteItem, conflict: Conflict | None
    ) -> Outcome:
        home = self._node_of(remote.parent_id)
        if home is None:
            if remote.parent_id is not None:
                self._local_waits[local.local_id] = (remote.parent_id, False)
            return Verdict.WAIT
        if self._is_local_below(home, local.local_id):
            self._wait_for_folder_here(local, home)
            return Verdict.WAIT
        if (other := self._holder(home, remote.name, but=local)) is not None:
            is_new = self._trees.synced_of_local(other.local_id) is None
            if conflict is Conflict.MOVE_MOVE_CYCLE and is_new and other.set_aside is None:
                # It waits for the name on the server, which ours will not leave now.
                return self._aside(other, None, Conflict.MOVE_CREATE, rival=remote)
            return self._occupied_on_disk(local, remote, other)
        if self._heir_of(local, remote) is not None:
            # It leaves its place when that one comes: the path is never empty in between.
            return Verdict.WAIT
        return Operation(
            Action.MOVE_LOCAL,
            remote.item_id,
            local.local_id,
            conflict=conflict,
            parent_local_id=home,
            name=remote.name,
        )

    def _holder(self, home: int, name: str, *, but: LocalNode | None) -> LocalNode | None:
        """Who has a name here: of several that differ in case, the one that may leave it."""
        found = [
            each
            for each in self._trees.local_in_place(home, name_key(name))
            if but is None or each.local_id != but.local_id
        ]
        known = (each for each in found if self._trees.synced_of_local(each.local_id) is not None)
        return next(known, found[0] if found else None)

    def _occupied_on_disk(
        self, local: LocalNode | None, remote: RemoteItem, other: LocalNode
    ) -> Outcome:
        """The name that an item of the server is to get here is taken by another node."""
        synced = self._trees.synced_of_local(other.local_id)
        is_rival = synced is None and local is not None and _differ_in_case(local, other)
        if other.set_aside is not None or is_rival:
            return Operation(
                Action.SET_ASIDE,
                remote.item_id,
                None,
                code="name-taken-here",
                message=f"Something that cannot be synced has the name {remote.name!r} here.",
            )
        if synced is None:
            # A new node: it is decided for itself, and gives way if it has to.
            return Verdict.WAIT
        its_item = self._live(synced.item_id)
        if (
            local is None
            and its_item is not None
            and self._is_heir(remote, other, its_item, synced)
        ):
            return self._take_over(remote, other, its_item, synced)
        if its_item is None or compare.is_moved_remotely(its_item, synced):
            subject = local.local_id if local is not None else remote.item_id
            self._local_waits[subject] = (other.local_id, True)
            return Verdict.WAIT
        if is_parked(other.name) or not compare.is_moved_locally(other, synced):
            return Verdict.WAIT
        conflict = Conflict.MOVE_CREATE if local is None else Conflict.MOVE_MOVE_DEST
        return self._aside(other, its_item, conflict, rival=remote)

    def _heir_of(self, local: LocalNode, remote: RemoteItem) -> RemoteItem | None:
        """The file of the server that comes to where a file here has its place until then."""
        synced = self._trees.synced(remote.item_id)
        parent = self._item_of(local.parent_id)
        if synced is None or parent is None:
            return None
        for other in self._trees.remote_in_place(parent, name_key(local.name)):
            if self._trees.synced(other.item_id) is None and self._is_in_view(other):
                return other if self._is_heir(other, local, remote, synced) else None
        return None

    def _is_heir(
        self, heir: RemoteItem, local: LocalNode, remote: RemoteItem, synced: SyncedItem
    ) -> bool:
        """Whether a new file of the server is to have the very path of a file here, of which
        the server says that it is elsewhere by now, and nobody here has moved it."""
        at_root = heir.parent_id == self._trees.root.folder_id
        return (
            not heir.is_folder
            and not local.is_folder
            and local.set_aside is None
            and heir.name == local.name
            and not is_parked(remote.name)
            and compare.is_moved_remotely(remote, synced)
            and not compare.is_moved_locally(local, synced)
            and refusal_of_remote(heir.name, at_root=at_root) is None
        )

    def _take_over(
        self, heir: RemoteItem, local: LocalNode, remote: RemoteItem, synced: SyncedItem
    ) -> Outcome:
        """The heir comes to its path as the file there goes to its own, in one exchange."""
        home = self._node_of(remote.parent_id)
        if home is None or self._holder(home, remote.name, but=local) is not None:
            # It cannot go yet, and says what it waits for.
            self._local_waits[heir.item_id] = (local.local_id, True)
            return Verdict.WAIT
        if compare.contents(local, remote, synced) is not None:
            # First what is in it.
            return Verdict.WAIT
        return Operation(
            Action.DOWNLOAD,
            heir.item_id,
            local.local_id,
            parent_local_id=home,
            name=remote.name,
        )

    def _move_remote(self, local: LocalNode, remote: RemoteItem) -> Outcome:
        home = self._item_of(local.parent_id)
        if home is None:
            if local.parent_id is not None:
                self._remote_waits[remote.item_id] = (local.parent_id, False)
            return Verdict.WAIT
        if self._is_remote_below(home, remote.item_id):
            return self._remote_circle(local, remote, home)
        if (loser := self._case_collision(local)) is not None:
            return loser
        for other in self._trees.remote_in_place(home, name_key(local.name)):
            if other.item_id != remote.item_id:
                return self._occupied_on_server(local, remote, other)
        return Operation(
            Action.MOVE_REMOTE,
            remote.item_id,
            local.local_id,
            parent_item_id=home,
            name=local.name,
        )

    def _occupied_on_server(
        self, local: LocalNode, remote: RemoteItem, other: RemoteItem
    ) -> Outcome:
        """The name that a node was given here is taken by another item of the server."""
        synced = self._trees.synced(other.item_id)
        if synced is None:
            return self._aside(local, remote, Conflict.MOVE_CREATE, rival=other)
        its_node = self._trees.local(synced.local_id)
        if its_node is None:
            # Deleted here, or about to be forgotten: decided for itself.
            self._remote_waits[remote.item_id] = (other.item_id, True)
            return Verdict.WAIT
        if compare.is_moved_remotely(other, synced):
            return self._aside(local, remote, Conflict.MOVE_MOVE_DEST, rival=other)
        self._remote_waits[remote.item_id] = (other.item_id, True)
        return Verdict.WAIT

    def _remote_circle(self, local: LocalNode, remote: RemoteItem, home: str) -> Outcome:
        """A folder was moved here to where, on the server, is below itself."""
        here: str | None = home
        while here is not None and here != remote.item_id:
            item, synced = self._trees.remote(here), self._trees.synced(here)
            if item is None:
                break
            if synced is not None and compare.is_moved_remotely(item, synced):
                # Both sides moved: the first, which is the server's, stands; ours is undone.
                return self._move_local(local, remote, Conflict.MOVE_MOVE_CYCLE)
            node = self._trees.local(synced.local_id) if synced is not None else None
            if synced is not None and node is not None and compare.is_moved_locally(node, synced):
                self._remote_waits[remote.item_id] = (here, False)
            here = item.parent_id
        return Verdict.WAIT

    def _wait_for_folder_here(self, local: LocalNode, home: int) -> None:
        """A folder is to go below itself; one of those between must leave it first."""
        here: int | None = home
        while here is not None and here != local.local_id:
            node, synced = self._trees.local(here), self._synced_of_folder(here)
            item = self._live(synced.item_id) if synced is not None else None
            if synced is not None and node is not None and item is not None:
                # It leaves for its new place, or goes back to where the server has it.
                is_moved = compare.is_moved_remotely(item, synced)
                if is_moved or compare.is_moved_locally(node, synced):
                    self._local_waits[local.local_id] = (here, False)
            here = node.parent_id if node is not None else None

    # Only the disk has it

    def _new_local(self, local: LocalNode) -> Outcome:
        if local.set_aside is not None:
            return Verdict.CLEAN
        if is_parked(local.name):
            # From an exchange of names that was cut off, and whose record is lost: nobody knows
            # what it was called, and under this name nobody would find it.
            return Operation(Action.RENAME_ASIDE, None, local.local_id)
        if (loser := self._case_collision(local)) is not None:
            return loser
        home = self._item_of(local.parent_id)
        if home is None:
            if local.is_folder and local.parent_id in self._coming_items:
                return self._create_remote(local, None)
            if local.parent_id is not None:
                self._remote_waits[local.local_id] = (local.parent_id, False)
            return Verdict.WAIT
        for other in self._trees.remote_in_place(home, name_key(local.name)):
            return self._new_local_meets(local, other)
        return self._create_remote(local, home)

    def _create_remote(self, local: LocalNode, home: str | None) -> Operation:
        if not local.is_folder:
            return Operation(Action.UPLOAD, None, local.local_id)
        self._coming_items.add(local.local_id)
        return Operation(Action.CREATE_REMOTE, None, local.local_id, parent_item_id=home)

    def _new_local_meets(self, local: LocalNode, other: RemoteItem) -> Outcome:
        synced = self._trees.synced(other.item_id)
        if synced is None and not self._is_in_view(other):
            # What has the name there is not followed here, so the two cannot become one.
            return self._aside(local, None, Conflict.CREATE_CREATE, rival=other)
        if synced is None:
            return self._create_create(local, other)
        its_node = self._trees.local(synced.local_id)
        if its_node is None or not compare.is_moved_remotely(other, synced):
            # It is going to leave: deleted or moved away here.
            self._remote_waits[local.local_id] = (other.item_id, True)
            return Verdict.WAIT
        if local.is_folder:
            return self._aside(local, None, Conflict.MOVE_CREATE, rival=other)
        return Operation(Action.UPLOAD, None, local.local_id, conflict=Conflict.MOVE_CREATE)

    def _create_create(self, local: LocalNode, remote: RemoteItem) -> Outcome:
        if local.is_folder and remote.is_folder:
            return Operation(Action.ADOPT, remote.item_id, local.local_id)
        if local.is_folder:
            return self._aside(local, None, Conflict.CREATE_CREATE, rival=remote)
        if not remote.is_folder and local.signature.size_bytes == remote.size_bytes:
            if local.content_hash is None:
                return Operation(Action.HASH, None, local.local_id)
            if local.content_hash == remote.content_hash:
                return Operation(Action.ADOPT, remote.item_id, local.local_id)
        return Operation(Action.UPLOAD, None, local.local_id, conflict=Conflict.CREATE_CREATE)

    def _gone_on_server(
        self, local: LocalNode, synced: SyncedItem, *, is_elsewhere: bool
    ) -> Outcome:
        if local.set_aside is not None:
            return _problem(
                synced, local, local.set_aside, "It was renamed to what cannot be synced."
            )
        if not local.is_folder and compare.is_unknown(local, synced):
            return Operation(Action.HASH, synced.item_id, local.local_id)
        if compare.is_moved_locally(local, synced):
            return Operation(
                Action.FORGET_TREE, synced.item_id, local.local_id, conflict=Conflict.MOVE_DELETE
            )
        if self._is_rescued_here(local):
            return Verdict.WAIT
        if local.is_folder:
            return self._folder_gone_on_server(local, synced)
        if compare.is_edited(local, synced):
            conflict = None if is_elsewhere else Conflict.EDIT_DELETE
            return Operation(Action.UPLOAD, synced.item_id, local.local_id, conflict=conflict)
        return Operation(Action.DELETE_LOCAL, synced.item_id, local.local_id)

    def _is_rescued_here(self, local: LocalNode) -> bool:
        """Whether a folder above it was moved here, and so is kept with all that is in it."""
        here = local.parent_id
        while here is not None:
            node, synced = self._trees.local(here), self._synced_of_folder(here)
            if node is None or synced is None or self._live(synced.item_id) is not None:
                return False
            if compare.is_moved_locally(node, synced):
                return True
            here = node.parent_id
        return False

    def _folder_gone_on_server(self, local: LocalNode, synced: SyncedItem) -> Outcome:
        stays = False
        waits = False
        for child in self._trees.local_children(local.local_id):
            if child.set_aside is not None:
                stays = True
                continue
            its_own = self._trees.synced_of_local(child.local_id)
            if its_own is None:
                return self._keep_folder(local, synced, Conflict.CREATE_PARENT_DELETE)
            its_item = self._live(its_own.item_id)
            if its_item is not None and not compare.is_moved_remotely(its_item, its_own):
                return self._keep_folder(local, synced, Conflict.MOVE_PARENT_DELETE)
            waits = True
            self._local_waits[local.local_id] = (child.local_id, False)
        if waits:
            return Verdict.WAIT
        if stays:
            return _problem(
                synced,
                local,
                "folder-kept",
                "It was deleted elsewhere, and kept here for what cannot be synced.",
            )
        return Operation(Action.DELETE_LOCAL, synced.item_id, local.local_id)

    def _keep_folder(self, local: LocalNode, synced: SyncedItem, conflict: Conflict) -> Operation:
        """Something in it was not deleted: the folder is made again, for that alone."""
        return Operation(Action.FORGET, synced.item_id, local.local_id, conflict=conflict)

    # Only the server has it

    def _new_remote(self, remote: RemoteItem) -> Outcome:
        at_root = remote.parent_id == self._trees.root.folder_id
        if (refused := refusal_of_remote(remote.name, at_root=at_root)) is not None:
            code, message = refused
            return Operation(Action.SET_ASIDE, remote.item_id, None, code=code, message=message)
        home = self._node_of(remote.parent_id)
        if home is None:
            if remote.is_folder and remote.parent_id in self._coming_locals:
                return self._create_local(remote)
            if remote.parent_id is not None:
                self._local_waits[remote.item_id] = (remote.parent_id, False)
            return Verdict.WAIT
        if (other := self._holder(home, remote.name, but=None)) is not None:
            return self._occupied_on_disk(None, remote, other)
        return self._create_local(remote)

    def _create_local(self, remote: RemoteItem) -> Operation:
        if not remote.is_folder:
            return Operation(Action.DOWNLOAD, remote.item_id, None)
        self._coming_locals.add(remote.item_id)
        return Operation(Action.CREATE_LOCAL, remote.item_id, None)

    def _gone_on_disk(self, remote: RemoteItem, synced: SyncedItem) -> Outcome:
        if compare.is_moved_remotely(remote, synced):
            return Operation(
                Action.FORGET_TREE, synced.item_id, synced.local_id, conflict=Conflict.MOVE_DELETE
            )
        if self._is_rescued_there(remote):
            return Verdict.WAIT
        if not remote.is_folder and compare.is_newer(remote, synced):
            return Operation(
                Action.FORGET, synced.item_id, synced.local_id, conflict=Conflict.EDIT_DELETE
            )
        if self._goes_with_its_folder(remote):
            return Verdict.WAIT
        if not remote.is_folder:
            return Operation(Action.DELETE_REMOTE, remote.item_id, synced.local_id)
        match self._subtree(remote):
            case _Subtree.UNSEEN:
                return Operation(
                    Action.FORGET,
                    synced.item_id,
                    synced.local_id,
                    conflict=Conflict.CREATE_PARENT_DELETE,
                )
            case _Subtree.LEAVING:
                self._remote_waits[remote.item_id] = (self._leaving[remote.item_id], False)
                return Verdict.WAIT
            case _Subtree.SEEN:
                return Operation(Action.DELETE_REMOTE, remote.item_id, synced.local_id)

    def _is_rescued_there(self, remote: RemoteItem) -> bool:
        """The same for a folder that was moved on the server, and deleted here."""
        here = remote.parent_id
        while here is not None:
            item, synced = self._trees.remote(here), self._trees.synced(here)
            if item is None or synced is None or self._node_of(here) is not None:
                return False
            if compare.is_moved_remotely(item, synced):
                return True
            here = item.parent_id
        return False

    def _goes_with_its_folder(self, remote: RemoteItem) -> bool:
        """Whether the folder above was deleted here too, and will be deleted whole."""
        if remote.parent_id is None or self._node_of(remote.parent_id) is not None:
            return False
        folder, synced = self._live(remote.parent_id), self._trees.synced(remote.parent_id)
        if folder is None or synced is None:
            return False
        return self._subtree(folder) is not _Subtree.UNSEEN

    def _subtree(self, folder: RemoteItem) -> _Subtree:
        """What a folder that was deleted here holds on the server; each folder once a plan."""
        known = self._subtrees.get(folder.item_id)
        if known is not None:
            return known
        order: list[RemoteItem] = [folder]
        children: dict[str, list[RemoteItem]] = {}
        for above in order:
            if above.item_id in self._subtrees:
                continue
            children[above.item_id] = self._trees.remote_children(above.item_id)
            order.extend(child for child in children[above.item_id] if child.is_folder)
        for above in reversed(order):
            if above.item_id in self._subtrees:
                continue
            found = []
            for child in children[above.item_id]:
                found.append(self._seen(child))
                if found[-1] is _Subtree.LEAVING:
                    self._leaving[above.item_id] = self._leaving.get(child.item_id, child.item_id)
            if _Subtree.UNSEEN in found:
                verdict = _Subtree.UNSEEN
            elif _Subtree.LEAVING in found:
                verdict = _Subtree.LEAVING
            else:
                verdict = _Subtree.SEEN
            self._subtrees[above.item_id] = verdict
        return self._subtrees[folder.item_id]

    def _seen(self, child: RemoteItem) -> _Subtree:
        synced = self._trees.synced(child.item_id)
        if synced is None or compare.is_moved_remotely(child, synced):
            return _Subtree.UNSEEN
        if not self._is_in_view(child):
            # Not here because it is not followed, not because somebody deleted it.
            return _Subtree.UNSEEN
        if self._trees.local(synced.local_id) is not None:
            return _Subtree.LEAVING
        if not child.is_folder:
            return _Subtree.UNSEEN if compare.is_newer(child, synced) else _Subtree.SEEN
        return self._subtrees[child.item_id]

    # Circles of names

    def _break_circle(self) -> Operation | None:
        """In a circle of those that wait for each other, park one that holds a name."""
        node = _holder_in_circle(self._local_waits)
        if isinstance(node, int):
            synced = self._trees.synced_of_local(node)
            return Operation(Action.PARK_LOCAL, synced.item_id if synced else None, node)
        item = _holder_in_circle(self._remote_waits)
        if isinstance(item, str):
            return Operation(Action.PARK_REMOTE, item, None)
        return None

    # Questions to the trees

    def _aside(
        self,
        local: LocalNode,
        remote: RemoteItem | None,
        conflict: Conflict,
        *,
        rival: RemoteItem,
    ) -> Operation:
        """Give a node the name of a conflict copy: its own is the rival's."""
        return Operation(
            Action.RENAME_ASIDE,
            remote.item_id if remote else None,
            local.local_id,
            conflict=conflict,
            rival_id=rival.item_id,
        )

    def _case_collision(self, local: LocalNode) -> Operation | None:
        """A problem, if another entry of the folder has a better right to the name."""
        assert local.parent_id is not None  # noqa: S101  (the root is never planned)
        rivals = [
            each
            for each in self._trees.local_in_place(local.parent_id, name_key(local.name))
            if each.set_aside is None
        ]
        if len(rivals) < 2:
            return None
        first = min(rivals, key=self._claim)
        if first.local_id == local.local_id:
            return None
        synced = self._trees.synced_of_local(local.local_id)
        return Operation(
            Action.SET_ASIDE,
            synced.item_id if synced else None,
            local.local_id,
            code="case-collision",
            message=f"The name differs from {first.name!r} only in case or in its encoding.",
        )

    def _claim(self, node: LocalNode) -> tuple[bool, bytes]:
        """Who keeps a name: the one both sides know under it, then the first by bytes."""
        synced = self._trees.synced_of_local(node.local_id)
        is_known = synced is not None and not compare.is_moved_locally(node, synced)
        return not is_known, node.name.encode("utf-8", "surrogateescape")

    def _is_in_view(self, item: RemoteItem) -> bool:
        if item.item_id == self._trees.root.folder_id:
            return True
        if item.parent_id is None:
            return False
        if item.item_id in self._trees.view.deselected:
            return False
        if item.parent_id not in self._paths:
            self._paths[item.parent_id] = self._trees.path_in_view(item.parent_id)
        home = self._paths[item.parent_id]
        return home is not None and not self._trees.view.ignores(
            (*home, item.name), is_folder=item.is_folder
        )

    def _is_deselected(self, item: RemoteItem) -> bool:
        if item.item_id in self._trees.view.deselected:
            return True
        if item.parent_id is None:
            return False
        if item.parent_id not in self._deselected:
            self._deselected[item.parent_id] = self._trees.is_deselected(item.parent_id)
        return self._deselected[item.parent_id]

    def _live(self, item_id: str) -> RemoteItem | None:
        item = self._trees.remote(item_id)
        return item if item is not None and self._is_in_view(item) else None

    def _item_of(self, local_id: int | None) -> str | None:
        """The live folder of the server that a local folder is."""
        if local_id is None:
            return None
        synced = self._synced_of_folder(local_id)
        return synced.item_id if synced and self._live(synced.item_id) else None

    def _node_of(self, item_id: str | None) -> int | None:
        """The local folder that a folder of the server is."""
        synced = self._trees.synced(item_id) if item_id is not None else None
        if synced is None or self._trees.local(synced.local_id) is None:
            return None
        return synced.local_id

    def _synced_of_folder(self, local_id: int) -> SyncedItem | None:
        if local_id not in self._synced_folders:
            self._synced_folders[local_id] = self._trees.synced_of_local(local_id)
        return self._synced_folders[local_id]

    def _is_local_below(self, local_id: int, top: int) -> bool:
        here: int | None = local_id
        while here is not None:
            if here == top:
                return True
            node = self._trees.local(here)
            here = node.parent_id if node is not None else None
        return False

    def _is_remote_below(self, item_id: str, top: str) -> bool:
        here: str | None = item_id
        seen: set[str] = set()
        while here is not None and here not in seen:
            if here == top:
                return True
            seen.add(here)
            item = self._trees.remote(here)
            here = item.parent_id if item is not None else None
        return False


def _differ_in_case(one: LocalNode, other: LocalNode) -> bool:
    return one.parent_id == other.parent_id and name_key(one.name) == name_key(other.name)


def _problem(synced: SyncedItem, local: LocalNode, code: str, message: str) -> Operation:
    return Operation(Action.SET_ASIDE, synced.item_id, local.local_id, code=code, message=message)


def _holder_in_circle(waits: _Waits) -> int | str | None:
    """Of those that wait for each other in a circle, one whose name another waits for."""
    known: set[int | str] = set()
    for start in waits:
        trail: dict[int | str, None] = {}
        here = start
        while here in waits and here not in trail and here not in known:
            trail[here] = None
            here = waits[here][0]
        known.update(trail)
        if here not in trail:
            continue
        circle = list(trail)[list(trail).index(here) :]
        for each in circle:
            other, is_for_name = waits[each]
            if is_for_name:
                return other
    return None
