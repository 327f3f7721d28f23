"""Two trees that drifted apart, without disk or server: what the planner is tested on."""

import hashlib
from dataclasses import replace
from typing import Any, cast

from sync_client.apply_books import ACTIONS as BOOKS
from sync_client.apply_books import apply_books
from sync_client.names import PARKED_PREFIX, name_key
from sync_client.nodes import ROOT_ID, LocalNode, RemoteItem, RemoteRoot, SyncedItem
from sync_client.operations import Action, Operation
from sync_client.ports import Kind, Signature
from sync_client.trees import Trees
from sync_client.workbench import Workbench
from tests.fakes.machine import FakeClock

ROOT = "root"


class Refused(Exception):
    """The precondition of an operation does not hold."""


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class World:
    """The trees, and what the files really contain."""

    def __init__(self) -> None:
        self.trees = Trees(None, root=RemoteRoot("namespace", ROOT))
        self.disk: dict[int, bytes] = {}
        self.server: dict[str, bytes] = {}
        self.copies = 0
        self._number = 100
        anything: Any = None
        self.bench = Workbench(
            trees=self.trees,
            fs=anything,
            api=anything,
            transfers=anything,
            feed=anything,
            pending=anything,
            clock=FakeClock(),
            randomness=anything,
            device_name="laptop",
            on_progress=lambda: None,
        )
        self.trees.put_remote(RemoteItem(ROOT, None, "", True, 1, None, None, 0, 0, False))

    def number(self) -> int:
        self._number += 1
        return self._number

    # What people do

    def write_here(self, parent_id: int, name: str, content: bytes) -> int:
        local_id = self.trees.new_local_id()
        self._store_here(local_id, parent_id, name, content)
        return local_id

    def edit_here(self, node: LocalNode, content: bytes) -> None:
        assert node.parent_id is not None
        self._store_here(node.local_id, node.parent_id, node.name, content)

    def _store_here(
        self, local_id: int, parent_id: int, name: str, content: bytes, *, known: bool = False
    ) -> LocalNode:
        self.disk[local_id] = content
        number = self.number()
        node = LocalNode(
            local_id,
            parent_id,
            name,
            Kind.FILE,
            Signature(local_id, len(content), number, number, local_id, False),
            digest(content) if known else None,
            None,
        )
        self.trees.put_local(node)
        return node

    def folder_here(self, parent_id: int, name: str) -> int:
        local_id = self.trees.new_local_id()
        signature = Signature(local_id, 0, 0, 0, local_id, False)
        self.trees.put_local(
            LocalNode(local_id, parent_id, name, Kind.FOLDER, signature, None, None)
        )
        return local_id

    def write_there(self, item_id: str, parent_id: str, name: str, content: bytes) -> RemoteItem:
        rev = self.number()
        version = f"v{rev}"
        self.server[version] = content
        item = RemoteItem(
            item_id, parent_id, name, False, rev, version, digest(content), len(content), 7, False
        )
        self.trees.put_remote(item)
        return item

    def folder_there(self, item_id: str, parent_id: str, name: str) -> RemoteItem:
        item = RemoteItem(item_id, parent_id, name, True, self.number(), None, None, 0, 0, False)
        self.trees.put_remote(item)
        return item

    def move_there(self, item: RemoteItem, parent_id: str, name: str) -> None:
        self.trees.put_remote(replace(item, parent_id=parent_id, name=name, rev=self.number()))

    def delete_there(self, item_id: str) -> None:
        self.trees.drop_remote(item_id, seq=self.number())

    def agree(self) -> None:
        """Make the server's side, and Synced, equal to the disk's: the state to drift from."""
        stack = [(ROOT_ID, ROOT)]
        while stack:
            local_id, item_id = stack.pop()
            for node in self.trees.local_children(local_id):
                mine = f"i{node.local_id}"
                if node.is_folder:
                    item = self.folder_there(mine, item_id, node.name)
                    stack.append((node.local_id, mine))
                else:
                    item = self.write_there(mine, item_id, node.name, self.disk[node.local_id])
                    node = replace(node, content_hash=item.content_hash)
                    self.trees.put_local(node)
                    item = replace(item, mtime_ns=node.signature.mtime_ns, rev=self.number())
                    self.trees.put_remote(item)
                self.trees.put_synced(self.bench.is_one_thing(node, item))

    # What a plan does

    def check(self, operation: Operation) -> None:
        """Raises Refused unless the operation could be carried out right now."""
        trees = self.trees
        local = trees.local(operation.local_id) if operation.local_id else None
        remote = trees.remote(operation.item_id) if operation.item_id else None
        match operation.action:
            case Action.MOVE_LOCAL:
                self._free_here(operation.parent_local_id, operation.name, but=local)
                self._not_below_here(operation.parent_local_id, local)
            case Action.MOVE_REMOTE:
                self._free_there(operation.parent_item_id, operation.name, but=remote)
                self._not_below_there(operation.parent_item_id, remote)
            case Action.CREATE_REMOTE:
                if operation.parent_item_id is not None:
                    assert local is not None
                    self._free_there(operation.parent_item_id, local.name, but=None)
            case Action.DOWNLOAD if operation.parent_local_id is not None:
                self._free_here(operation.parent_local_id, operation.name, but=local)
                if local is None or remote is None or local.name != remote.name:
                    raise Refused(operation)
            case Action.DOWNLOAD if local is None:
                assert remote is not None
                home = self.bench.node_of(remote.parent_id)
                self._free_here(home.local_id if home else None, remote.name, but=None)
            case Action.DELETE_LOCAL:
                if local is None or trees.local_children(local.local_id):
                    raise Refused(operation)
            case Action.UPLOAD | Action.HASH:
                if local is None:
                    raise Refused(operation)

    def run(self, operation: Operation) -> None:
        """Carry it out; what other operations made impossible is left for the next plan."""
        if operation.action in BOOKS:
            apply_books(self.bench, [operation])
            return
        trees = self.trees
        local = trees.local(operation.local_id) if operation.local_id else None
        remote = trees.remote(operation.item_id) if operation.item_id else None
        try:
            self.check(operation)
            getattr(self, "_" + operation.action.value.replace("-", "_"))(operation, local, remote)
        except Refused:
            return

    def _hash(self, _: Operation, local: LocalNode, remote: RemoteItem | None) -> None:
        self.trees.put_local(replace(local, content_hash=digest(self.disk[local.local_id])))

    def _move_local(self, operation: Operation, local: LocalNode, remote: RemoteItem) -> None:
        assert operation.name is not None
        moved = replace(local, parent_id=operation.parent_local_id, name=operation.name)
        self.trees.put_local(moved)
        synced = self.trees.synced(remote.item_id)
        assert synced is not None
        self.trees.put_synced(
            replace(synced, parent_id=remote.parent_id, parent_local_id=moved.parent_id,
                    name=remote.name)
        )  # fmt: skip

    def _rename_aside(self, _: Operation, local: LocalNode, remote: RemoteItem | None) -> None:
        self.copies += 1
        self.trees.put_local(replace(local, name=self.bench.free_conflict_name(local)))

    def _park_local(self, _: Operation, local: LocalNode, remote: RemoteItem | None) -> None:
        self.trees.put_local(replace(local, name=f"{PARKED_PREFIX}{self.number()}"))

    def _create_local(self, _: Operation, local: None, remote: RemoteItem) -> None:
        home = self.bench.node_of(remote.parent_id)
        self._free_here(home.local_id if home else None, remote.name, but=None)
        assert home is not None
        node = self.trees.local(self.folder_here(home.local_id, remote.name))
        assert node is not None
        self.trees.put_synced(self.bench.is_one_thing(node, remote))

    def _delete_local(self, operation: Operation, local: LocalNode, remote: None) -> None:
        self.trees.drop_local(local.local_id)
        self.trees.drop_synced(cast(str, operation.item_id))

    def _set_metadata(self, _: Operation, local: LocalNode, remote: RemoteItem) -> None:
        synced = self.trees.synced(remote.item_id)
        assert synced is not None
        signature = replace(local.signature, mtime_ns=remote.mtime_ns)
        self.trees.put_local(replace(local, signature=signature))
        self.trees.put_synced(
            replace(synced, mtime_ns=remote.mtime_ns, signature=signature,
                    executable=remote.executable)
        )  # fmt: skip

    def _patch_remote(self, _: Operation, local: LocalNode, remote: RemoteItem) -> None:
        synced = self.trees.synced(remote.item_id)
        assert synced is not None
        mtime_ns = local.signature.mtime_ns
        self.trees.put_remote(replace(remote, mtime_ns=mtime_ns, rev=self.number()))
        self.trees.put_synced(replace(synced, mtime_ns=mtime_ns, signature=local.signature))

    def _create_remote(self, _: Operation, local: LocalNode, remote: None) -> None:
        home = self.bench.item_of(local.parent_id)
        self._free_there(home.item_id if home else None, local.name, but=None)
        assert home is not None
        item = self.folder_there(f"i{local.local_id}.{self.number()}", home.item_id, local.name)
        self.trees.put_synced(self.bench.is_one_thing(local, item))

    def _move_remote(self, operation: Operation, local: LocalNode, remote: RemoteItem) -> None:
        synced = self.trees.synced(remote.item_id)
        assert synced is not None
        assert operation.parent_item_id is not None
        assert operation.name is not None
        self.move_there(remote, operation.parent_item_id, operation.name)
        self.trees.put_synced(
            replace(synced, parent_id=operation.parent_item_id,
                    parent_local_id=local.parent_id, name=operation.name)
        )  # fmt: skip

    def _park_remote(self, _: Operation, local: None, remote: RemoteItem) -> None:
        assert remote.parent_id is not None
        self.move_there(remote, remote.parent_id, f"{PARKED_PREFIX}{self.number()}")

    def _delete_remote(self, _: Operation, local: None, remote: RemoteItem) -> None:
        self.delete_there(remote.item_id)
        self.trees.drop_synced(remote.item_id)

    def _upload(self, operation: Operation, local: LocalNode, remote: RemoteItem | None) -> None:
        content = self.disk[local.local_id]
        synced = self.trees.synced(operation.item_id) if operation.item_id else None
        local = replace(local, content_hash=digest(content))
        self.trees.put_local(local)
        if synced is not None and remote is not None:
            if remote.version_id == synced.version_id:
                item = self.write_there(
                    remote.item_id, cast(str, remote.parent_id), remote.name, content
                )
                self._sent(local, item, synced)
            else:
                self._sent_as_copy(local, cast(str, remote.parent_id), remote.name, content)
            return
        if synced is not None:
            home = synced.parent_id if self.trees.remote(synced.parent_id or "") else ROOT
        else:
            folder = self.bench.item_of(local.parent_id)
            if folder is None:
                raise Refused(operation)
            home = folder.item_id
        assert home is not None
        others = self.trees.remote_in_place(home, name_key(local.name))
        if not others:
            item_id = f"i{local.local_id}.{self.number()}"
            self._sent(local, self.write_there(item_id, home, local.name, content), None)
        elif others[0].content_hash == digest(content):
            self.trees.put_synced(self.bench.is_one_thing(local, others[0]))
        else:
            self._sent_as_copy(local, home, local.name, content)

    def _sent_as_copy(self, local: LocalNode, home: str, name: str, content: bytes) -> None:
        self.copies += 1
        number = self.number()
        copy = f"{name} (conflicted copy, laptop, {number})"
        self._sent(local, self.write_there(f"copy{number}", home, copy, content), None)

    def _sent(self, local: LocalNode, item: RemoteItem, synced: SyncedItem | None) -> None:
        item = replace(item, mtime_ns=local.signature.mtime_ns, rev=self.number())
        self.trees.put_remote(item)
        agreed = self.bench.is_one_thing(local, item)
        if synced is not None:
            agreed = replace(
                agreed,
                parent_id=synced.parent_id,
                parent_local_id=synced.parent_local_id,
                name=synced.name,
            )
        else:
            home = self.bench.node_of(item.parent_id)
            agreed = replace(agreed, parent_local_id=home.local_id if home else local.parent_id)
        self.trees.put_synced(agreed)

    def _download(self, operation: Operation, local: LocalNode | None, remote: RemoteItem) -> None:
        content = self.server[cast(str, remote.version_id)]
        synced = self.trees.synced(remote.item_id)
        if local is not None and operation.parent_local_id is not None:
            # What is there goes where it belongs.
            its_own = self.trees.synced_of_local(local.local_id)
            its_item = self.trees.remote(its_own.item_id) if its_own is not None else None
            assert its_item is not None
            self._move_local(operation, local, its_item)
            local = None
        if local is None:
            home = self.bench.node_of(remote.parent_id)
            assert home is not None
            local_id, parent_id, name = self.trees.new_local_id(), home.local_id, remote.name
        else:
            assert synced is not None
            assert digest(self.disk[local.local_id]) == synced.content_hash, "an edit is lost"
            local_id, parent_id, name = local.local_id, cast(int, local.parent_id), local.name
        node = self._store_here(local_id, parent_id, name, content, known=True)
        node = replace(node, signature=replace(node.signature, mtime_ns=remote.mtime_ns))
        self.trees.put_local(node)
        agreed = self.bench.is_one_thing(node, remote)
        if local is not None and synced is not None:
            agreed = replace(
                agreed,
                parent_id=synced.parent_id,
                parent_local_id=synced.parent_local_id,
                name=synced.name,
            )
        self.trees.put_synced(agreed)

    def _free_here(self, parent_id: int | None, name: str | None, *, but: Any) -> None:
        if parent_id is None or name is None or self.trees.local(parent_id) is None:
            raise Refused
        for other in self.trees.local_in_place(parent_id, name_key(name)):
            if but is None or other.local_id != but.local_id:
                raise Refused

    def _free_there(self, parent_id: str | None, name: str | None, *, but: Any) -> None:
        if parent_id is None or name is None or self.trees.remote(parent_id) is None:
            raise Refused
        for other in self.trees.remote_in_place(parent_id, name_key(name)):
            if but is None or other.item_id != but.item_id:
                raise Refused

    def _not_below_here(self, local_id: int | None, top: LocalNode | None) -> None:
        while local_id is not None and top is not None:
            if local_id == top.local_id:
                raise Refused
            node = self.trees.local(local_id)
            local_id = node.parent_id if node else None

    def _not_below_there(self, item_id: str | None, top: RemoteItem | None) -> None:
        while item_id is not None and top is not None:
            if item_id == top.item_id:
                raise Refused
            item = self.trees.remote(item_id)
            item_id = item.parent_id if item else None

    # What people see

    def here(self) -> dict[tuple[str, ...], bytes | None]:
        found: dict[tuple[str, ...], bytes | None] = {}
        stack: list[tuple[tuple[str, ...], int]] = [((), ROOT_ID)]
        while stack:
            path, local_id = stack.pop()
            for node in self.trees.local_children(local_id):
                if node.set_aside is not None:
                    continue
                found[*path, node.name] = None if node.is_folder else self.disk[node.local_id]
                if node.is_folder:
                    stack.append(((*path, node.name), node.local_id))
        return found

    def there(self) -> dict[tuple[str, ...], bytes | None]:
        found: dict[tuple[str, ...], bytes | None] = {}
        stack: list[tuple[tuple[str, ...], str]] = [((), ROOT)]
        while stack:
            path, item_id = stack.pop()
            for item in self.trees.remote_children(item_id):
                found[*path, item.name] = (
                    None if item.is_folder else self.server[cast(str, item.version_id)]
                )
                if item.is_folder:
                    stack.append(((*path, item.name), item.item_id))
        return found
