"""A small model of the server in memory: tree, journal, commits, conflict copies, batches.

What docs/protocol.md promises, and nothing of how the server keeps it. Content goes in and
out whole (`tests/fakes/transfers.py`): blocks are not the engine's business.
"""

import copy
import datetime
import hashlib
import itertools
import uuid
from collections.abc import Callable
from typing import Any

from sync_client.conflicts import conflict_name
from sync_client.errors import ApiProblem
from sync_client.names import name_key

DAY = datetime.date(2026, 11, 23)


class Refusal(Exception):
    """A problem document."""

    def __init__(self, status: int, code: str, **extra: Any) -> None:
        super().__init__(code)
        self.status = status
        self.document = {"code": code, "status": status, "detail": code, **extra}


class FakeServer:
    """One account with one namespace."""

    def __init__(self) -> None:
        self.namespace_id = str(uuid.UUID(int=1))
        self.root_id = str(uuid.UUID(int=2))
        self.epoch = 1
        self.items: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, bytes] = {}
        self.journal: list[dict[str, Any]] = []
        self.versions: dict[str, list[str]] = {}
        self.answers: dict[tuple[str, str], Any] = {}
        self.requests: list[tuple[str, str]] = []
        self.commits = 0
        self._numbers = itertools.count(100)
        self._write([self._new_folder(self.root_id, None, "")], device="server")

    # What a person does in the browser

    def folder(self, *path: str) -> dict[str, Any]:
        """The live folder at a path; made where it is missing."""
        here = self.items[self.root_id]
        for name in path:
            below = self.child(here["folder_id"], name)
            if below is None:
                below = self.create_folder(here["folder_id"], name, device="web")
            here = below
        return here

    def put(self, *path: str, content: bytes, device: str = "web") -> dict[str, Any]:
        """Write a file as the browser does: a new version of what is there."""
        parent = self.folder(*path[:-1])
        existing = self.child(parent["folder_id"], path[-1])
        return self.commit(
            device=device,
            op_id=self.new_id(),
            file_id=existing["file_id"] if existing else None,
            base=existing["current_version_id"] if existing else None,
            parent_id=parent["folder_id"],
            name=path[-1],
            content=content,
            mtime_ns=1_700_000_000_123_456_789,
            executable=False,
        )["file"]

    def find(self, *path: str) -> dict[str, Any] | None:
        """The live item at a path."""
        here: dict[str, Any] | None = self.items[self.root_id]
        for name in path:
            here = self.child(here["folder_id"], name) if here else None
        return here

    def move(self, item: dict[str, Any], *, parent: str | None = None, name: str | None = None):
        """Rename or move, whatever anybody saw before."""
        self.update(item_id(item), {"parent_folder_id": parent, "name": name}, device="web")

    def delete(self, item: dict[str, Any]) -> None:
        self.remove(item_id(item), as_of_seq=None, device="web")

    def tree(self) -> dict[tuple[str, ...], bytes | None]:
        """Path to content of everything that is live; None for folders."""
        found: dict[tuple[str, ...], bytes | None] = {}
        stack: list[tuple[tuple[str, ...], str]] = [((), self.root_id)]
        while stack:
            path, folder_id = stack.pop()
            for item in self.children(folder_id):
                here = (*path, item["name"])
                if item["type"] == "folder":
                    found[here] = None
                    stack.append((here, item["folder_id"]))
                else:
                    found[here] = self.contents[item["current_version_id"]]
        return found

    def every_content(self) -> set[bytes]:
        """What can be read or restored: every version there ever was."""
        return set(self.contents.values())

    def new_id(self) -> str:
        return str(uuid.UUID(int=next(self._numbers)))

    @property
    def head_seq(self) -> int:
        return len(self.journal)

    # Requests

    def handle(self, device: str, method: str, path: str, body: Any, params: Any) -> Any:
        """One request under /api/v1."""
        self.requests.append((method, path))
        parts = path.strip("/").split("/")
        if path == "/account":
            return {"device_id": device}
        if path == "/changes":
            return self._changes(body["cursor"], body.get("limit", 1000))
        if path == "/changes/snapshot":
            return self._snapshot(params.get("page"), int(params.get("limit", 1000)))
        if path == "/batch":
            return {"items": [self._one_of_batch(device, each) for each in body["items"]]}
        if parts[0] == "namespaces" and parts[2] == "digest":
            return {"head_seq": self.head_seq, "digest": self.digest()}
        if parts[0] == "files" and parts[2] == "versions":
            known = self.versions.get(parts[1], [])
            return {"items": [{"file_version_id": each} for each in known], "next_cursor": None}
        raise AssertionError(f"{method} {path} is not modelled")

    def digest(self) -> str:
        lines = sorted(
            f"{item_id(item)} {item['rev']}\n" for item in self.items.values() if self.is_live(item)
        )
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def _changes(self, cursor: str, limit: int) -> dict[str, Any]:
        epoch, _, position = cursor.partition(":")
        if int(epoch) != self.epoch:
            reset = {"namespace_id": self.namespace_id, "mode": "merge", "reason": "restored"}
            return {"entries": [], "resets": [reset], "cursor": cursor, "has_more": False}
        entries = self.journal[int(position) : int(position) + limit]
        end = int(position) + len(entries)
        return {
            "entries": copy.deepcopy(entries),
            "resets": [],
            "cursor": f"{self.epoch}:{end}",
            "has_more": end < self.head_seq,
        }

    def _snapshot(self, page: str | None, limit: int) -> dict[str, Any]:
        head, _, start = (page or f"{self.head_seq}:0").partition(":")
        live = sorted((i for i in self.items.values() if self.is_live(i)), key=item_id)
        end = int(start) + limit
        return {
            "items": copy.deepcopy(live[int(start) : end]),
            "next_page": f"{head}:{end}" if end < len(live) else None,
            "cursor": f"{self.epoch}:{head}",
        }

    def _one_of_batch(self, device: str, body: dict[str, Any]) -> dict[str, Any]:
        key = (device, body["op_id"])
        if key in self.answers:
            asked, answer = self.answers[key]
            assert asked == body, "the key of another request"
            return copy.deepcopy(answer)
        try:
            answer = self._carry_out(device, body)
        except Refusal as refusal:
            return {"status": refusal.status, "problem": refusal.document}
        self.answers[key] = (copy.deepcopy(body), copy.deepcopy(answer))
        return copy.deepcopy(answer)

    def _carry_out(self, device: str, body: dict[str, Any]) -> dict[str, Any]:
        operation = body["op"]
        if operation == "create_folder":
            item = self.create_folder(
                body["parent_folder_id"], body["name"], device=device, folder_id=body["folder_id"]
            )
            return {"status": 201, "item": item}
        subject: str = body.get("folder_id") or body["file_id"]
        item = self._known(subject)
        if body["if_match"] != item["rev"]:
            raise Refusal(412, "stale-precondition", current=copy.deepcopy(item))
        if operation.startswith("update"):
            return {"status": 200, "item": self.update(subject, body, device=device)}
        survivors = self.remove(subject, as_of_seq=body.get("as_of_seq"), device=device)
        return {"status": 200, "item": self.items[subject], "survivors": survivors}

    # The tree

    def is_live(self, item: dict[str, Any]) -> bool:
        here: dict[str, Any] | None = item
        while here is not None:
            if here["deleted_at"] is not None:
                return False
            here = self.items[here["parent_folder_id"]] if here["parent_folder_id"] else None
        return True

    def children(self, folder_id: str) -> list[dict[str, Any]]:
        return [
            item
            for item in self.items.values()
            if item["parent_folder_id"] == folder_id and item["deleted_at"] is None
        ]

    def child(self, folder_id: str, name: str) -> dict[str, Any] | None:
        key = name_key(name)
        return next((i for i in self.children(folder_id) if name_key(i["name"]) == key), None)

    def create_folder(
        self, parent_id: str, name: str, *, device: str, folder_id: str | None = None
    ) -> dict[str, Any]:
        parent = self._known(parent_id)
        existing = self.child(parent["folder_id"], name)
        if existing is not None:
            if existing["type"] == "folder":
                return existing
            raise Refusal(409, "name-taken", item_id=item_id(existing))
        folder = self._new_folder(folder_id or self.new_id(), parent_id, name)
        self._write([folder], device=device)
        return folder

    def update(self, subject: str, body: dict[str, Any], *, device: str) -> dict[str, Any]:
        item = self._known(subject)
        parent_id = body.get("parent_folder_id") or item["parent_folder_id"]
        name = body.get("name") or item["name"]
        above = self._known(parent_id)
        here: dict[str, Any] | None = above
        while here is not None:
            if here is item:
                raise Refusal(409, "move-into-itself")
            here = self.items.get(here["parent_folder_id"])
        other = self.child(parent_id, name)
        if other is not None and other is not item:
            raise Refusal(409, "name-taken", item_id=item_id(other))
        item["parent_folder_id"], item["name"] = parent_id, name
        for field in ("executable", "client_modified_ns"):
            if body.get(field) is not None:
                item[field] = body[field]
        self._write([item], device=device)
        return item

    def remove(self, subject: str, *, as_of_seq: int | None, device: str) -> list[dict[str, Any]]:
        item = self._known(subject)
        survivors: list[dict[str, Any]] = []
        if as_of_seq is not None:
            newer = {
                item_id(entry["item"])
                for entry in self.journal[as_of_seq:]
                if entry["device_id"] != device and entry["action"] == "upsert"
            }
            survivors = [
                self.items[each]
                for each in newer
                if each != subject
                and self.is_live(self.items[each])
                and self._is_below(self.items[each], subject)
            ]
            survivors = [
                each
                for each in survivors
                if not any(
                    other is not each and self._is_below(each, item_id(other))
                    for other in survivors
                )
            ]
        chains = [(each, self._names_up_to(each, subject)) for each in survivors]
        item["deleted_at"] = "now"
        self._write([item], device=device)
        for survivor, names in chains:
            folder = self._chain(item["parent_folder_id"], [item["name"], *names], device=device)
            survivor["parent_folder_id"] = folder["folder_id"]
            survivor["name"] = self._free_name(folder["folder_id"], survivor["name"], device)
            self._write([survivor], device=device)
        return survivors

    def commit(
        self,
        *,
        device: str,
        op_id: str,
        file_id: str | None,
        base: str | None,
        parent_id: str,
        name: str,
        content: bytes,
        mtime_ns: int,
        executable: bool,
    ) -> dict[str, Any]:
        """Init, bytes and commit in one. Raises Refusal."""
        if (device, op_id) in self.answers:
            answer: dict[str, Any] = copy.deepcopy(self.answers[device, op_id])
            return answer
        self.commits += 1
        digest = hashlib.sha256(content).hexdigest()
        file = self.items.get(file_id) if file_id else None
        if file_id and file is None:
            raise Refusal(404, "not-found")
        version: dict[str, Any] = {
            "size_bytes": len(content),
            "content_hash": digest,
            "current_version_id": self.new_id(),
            "executable": executable,
            "client_modified_ns": mtime_ns,
            "is_damaged": False,
        }
        outcome = "committed"
        if file is not None:
            if file["content_hash"] == digest and self.is_live(file):
                outcome = "same"
                if file["is_damaged"]:
                    file["is_damaged"] = False
                    self._write([file], device=device)
            elif file["current_version_id"] != base:
                folder = file["parent_folder_id"]
                if not self.is_live(file):
                    folder = self._chain_of(file, device=device)
                outcome, file = "conflict_copy", self._copy(folder, file["name"], device)
            elif not self.is_live(file):
                folder = self._chain_of(file, device=device)
                file["deleted_at"], file["parent_folder_id"] = None, folder
                file["name"] = self._free_name(folder, file["name"], device, but=file)
        else:
            if parent_id not in self.items:
                raise Refusal(404, "not-found")
            parent = self.items[parent_id]
            if not self.is_live(parent):
                parent_id = self._chain_of(parent, device=device, itself=True)
            other = self.child(parent_id, name)
            if other is not None and other.get("content_hash") == digest:
                outcome, file = "same", other
            elif other is not None:
                outcome, file = "conflict_copy", self._copy(parent_id, name, device)
            else:
                file = self._new_file(self.new_id(), parent_id, name)
        if outcome != "same":
            file.update(version)
            self.items[file["file_id"]] = file
            self.contents[version["current_version_id"]] = content
            self.versions.setdefault(file["file_id"], []).append(version["current_version_id"])
            self._write([file], device=device)
        answer = {
            "status": 200,
            "outcome": outcome,
            "file_id": file["file_id"],
            "file_version_id": file["current_version_id"],
            "is_conflict_copy": outcome == "conflict_copy",
            "file": copy.deepcopy(file),
        }
        self.answers[device, op_id] = copy.deepcopy(answer)
        return answer

    def _known(self, subject: str) -> dict[str, Any]:
        item = self.items.get(subject)
        if item is None or not self.is_live(item):
            raise Refusal(404, "not-found")
        return item

    def _is_below(self, item: dict[str, Any], folder_id: str) -> bool:
        here = item["parent_folder_id"]
        while here is not None:
            if here == folder_id:
                return True
            here = self.items[here]["parent_folder_id"]
        return False

    def _names_up_to(self, item: dict[str, Any], folder_id: str) -> list[str]:
        names: list[str] = []
        here = item["parent_folder_id"]
        while here != folder_id:
            names.append(self.items[here]["name"])
            here = self.items[here]["parent_folder_id"]
        return names[::-1]

    def _chain_of(self, item: dict[str, Any], *, device: str, itself: bool = False) -> str:
        """Live folders of the names above a trashed item (and its own, for a folder)."""
        names = [item["name"]] if itself else []
        here = self.items[item["parent_folder_id"]]
        while not self.is_live(here):
            names.append(here["name"])
            here = self.items[here["parent_folder_id"]]
        folder = self._chain(here["folder_id"], names[::-1], device=device)
        return str(folder["folder_id"])

    def _chain(self, folder_id: str, names: list[str], *, device: str) -> dict[str, Any]:
        here = self.items[folder_id]
        for name in names:
            below = self.child(here["folder_id"], name)
            if below is not None and below["type"] == "file":
                name = self._free_name(here["folder_id"], name, device)
                below = None
            here = below or self.create_folder(here["folder_id"], name, device=device)
        return here

    def _copy(self, folder_id: str, name: str, device: str) -> dict[str, Any]:
        return self._new_file(
            self.new_id(), folder_id, self._free_name(folder_id, name, device, counter=1)
        )

    def _free_name(
        self,
        folder_id: str,
        name: str,
        device: str,
        *,
        counter: int = 0,
        but: dict[str, Any] | None = None,
    ) -> str:
        taken = {name_key(each["name"]) for each in self.children(folder_id) if each is not but}
        candidate = name
        while counter > 0 or name_key(candidate) in taken:
            counter = max(counter, 1)
            candidate = conflict_name(name, device_name=device, day=DAY, counter=counter)
            if name_key(candidate) not in taken:
                break
            counter += 1
        return candidate

    def _new_folder(self, folder_id: str, parent_id: str | None, name: str) -> dict[str, Any]:
        return {
            "type": "folder",
            "folder_id": folder_id,
            "namespace_id": self.namespace_id,
            "parent_folder_id": parent_id,
            "name": name,
            "rev": 0,
            "deleted_at": None,
        }

    def damage(self, name: str) -> None:
        """A part of a file's content is lost on the server, and it has noticed."""
        [file] = [item for item in self.items.values() if item["name"] == name]
        file["is_damaged"] = True
        self._write([file], device="nobody")

    def _new_file(self, file_id: str, parent_id: str, name: str) -> dict[str, Any]:
        return {
            "type": "file",
            "file_id": file_id,
            "namespace_id": self.namespace_id,
            "parent_folder_id": parent_id,
            "name": name,
            "rev": 0,
            "deleted_at": None,
        }

    def _write(self, items: list[dict[str, Any]], *, device: str) -> None:
        for item in items:
            item["rev"] = self.head_seq + 1
            self.items[item_id(item)] = item
            self.journal.append(
                {
                    "namespace_id": self.namespace_id,
                    "seq": item["rev"],
                    "device_id": device,
                    "action": "upsert" if item["deleted_at"] is None else "delete",
                    "item": copy.deepcopy(item),
                }
            )

    def restore_backup(self, backup: "FakeServer") -> None:
        """Become what the server was when the backup was made."""
        for name in ("items", "contents", "journal", "versions"):
            setattr(self, name, copy.deepcopy(getattr(backup, name)))
        self.epoch += 1


class FakeApi:
    """`ports.Api` of one device. `fault` may raise before or after a request is carried out."""

    def __init__(
        self, server: FakeServer, device: str, *, fault: Callable[[str], None] = lambda _: None
    ) -> None:
        self._server = server
        self._device = device
        self._fault = fault

    def request(
        self,
        method: str,
        path: str,
        *,
        json: dict[str, Any] | None = None,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        self._fault(f"before {path}")
        try:
            answer = self._server.handle(self._device, method, path, json, params or {})
        except Refusal as refusal:
            raise ApiProblem(
                refusal.status, refusal.document["code"], "", refusal.document
            ) from refusal
        self._fault(f"after {path}")
        return dict(answer)


def item_id(item: dict[str, Any]) -> str:
    return str(item["folder_id"] if item["type"] == "folder" else item["file_id"])
