"""A small model of the server in memory: tree, journal, commits, conflict copies, batches.

What docs/protocol.md promises, and nothing of how the server keeps it. Content goes in and
out whole (`tests/fakes/transfers.py`): blocks are not the engine's business. That its answers
are the real server's is what `tests/contracts/test_server_model.py` shows.
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
from sync_client.names import MAX_NAME_BYTES, name_key

_OF_VERSION = ("size_bytes", "content_hash", "executable", "client_modified_ns")
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
        self.version_facts: dict[str, dict[str, Any]] = {}
        self.answers: dict[tuple[str, str], Any] = {}
        self.requests: list[tuple[str, str]] = []
        # By the copy: which file it is in conflict with, and why.
        self.conflicts: dict[str, dict[str, Any]] = {}
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
            return self._changes(body.get("cursor"), body.get("limit", 1000))
        if path == "/changes/snapshot":
            return self._snapshot(params.get("page"), int(params.get("limit", 1000)))
        if path == "/batch":
            return {"items": [self._one_of_batch(device, each) for each in body["items"]]}
        if parts[0] == "namespaces" and parts[2] == "digest":
            return {"head_seq": self.head_seq, "digest": self.digest()}
        if parts[0] == "files" and parts[2:] == ["versions"]:
            return {"items": self._versions_of(parts[1]), "next_cursor": None}
        if path == "/trash":
            return {"items": self._trash(), "next_cursor": None}
        if parts[0] == "trash" and parts[2:] == ["restore"]:
            where = body.get("parent_folder_id")
            return self._once(
                device,
                body.get("op_id"),
                ["restore", parts[1], where],
                lambda: self.restore_item(parts[1], device=device, parent_id=where),
            )
        if parts[0] == "files" and parts[4:] == ["restore"]:
            return self._once(
                device,
                body.get("op_id"),
                ["versions/restore", parts[1], parts[3]],
                lambda: self.restore_version(parts[1], parts[3], device=device),
            )
        raise AssertionError(f"{method} {path} is not modelled")

    def digest(self) -> str:
        lines = sorted(
            f"{item_id(item)} {item['rev']}\n" for item in self.items.values() if self.is_live(item)
        )
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def _changes(self, cursor: str | None, limit: int) -> dict[str, Any]:
        epoch, _, position = (cursor or f"{self.epoch}:0").partition(":")
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

    def _versions_of(self, file_id: str) -> list[dict[str, Any]]:
        """The versions of a file, newest first, also of one in the trash."""
        if file_id not in self.versions:
            raise Refusal(404, "not-found")
        file = self.items[file_id]
        return [
            {
                "file_version_id": each,
                **{name: self.version_facts[each][name] for name in _OF_VERSION},
                "is_current": (is_current := each == file["current_version_id"]),
                "is_damaged": is_current and file["is_damaged"],
            }
            for each in reversed(self.versions[file_id])
        ]

    def _trash(self) -> list[dict[str, Any]]:
        deleted = [item for item in self.items.values() if item["deleted_at"] is not None]
        return [
            {
                **copy.deepcopy(item),
                "is_parent_live": self.is_live(self.items[item["parent_folder_id"]]),
            }
            for item in sorted(deleted, key=lambda item: item["rev"], reverse=True)
        ]

    def _one_of_batch(self, device: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = self._once(
                device,
                body.get("op_id"),
                {name: value for name, value in body.items() if name != "op_id"},
                lambda: self._carry_out(device, body),
            )
        except Refusal as refusal:
            return {"status": refusal.status, "problem": refusal.document}
        return answer

    def _once(self, device: str, op_id: str | None, asked: Any, write: Callable[[], Any]) -> Any:
        """The answer to a write, remembered by its key unless it was refused."""
        if op_id is None:
            return copy.deepcopy(write())
        if (device, op_id) in self.answers:
            first, answer = self.answers[device, op_id]
            if first != asked:
                raise Refusal(422, "idempotency-key-reused")
            return copy.deepcopy(answer)
        answer = write()
        self.answers[device, op_id] = (copy.deepcopy(asked), copy.deepcopy(answer))
        return copy.deepcopy(answer)

    def _carry_out(self, device: str, body: dict[str, Any]) -> dict[str, Any]:
        operation = body["op"]
        if operation == "create_folder":
            before = self.head_seq
            item = self.create_folder(
                body["parent_folder_id"],
                body["name"],
                device=device,
                folder_id=body.get("folder_id"),
            )
            return {"status": 201 if item["rev"] > before else 200, "item": item}
        if "if_match" not in body:
            raise Refusal(428, "precondition-required")
        kind = operation.rpartition("_")[2]
        subject: str = body[f"{kind}_id"]
        item = self._known(subject, kind)
        if subject == self.root_id:
            raise Refusal(400, "invalid-request")
        if body["if_match"] != item["rev"]:
            raise Refusal(412, "stale-precondition", current=copy.deepcopy(item))
        if operation.startswith("update"):
            return {"status": 200, "item": self.update(subject, body, device=device)}
        survivors = self.remove(subject, as_of_seq=body.get("as_of_seq"), device=device)
        answer = {"status": 200, "item": self.items[subject]}
        return answer if kind == "file" else {**answer, "survivors": survivors}

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
        """A new folder, or the live one of that name."""
        _check_name(name)
        parent = self.items.get(parent_id)
        if parent is None or parent["type"] != "folder":
            raise Refusal(404, "not-found")
        parent_id = self._live_folder_for(parent, device=device)
        existing = self.child(parent_id, name)
        if existing is not None:
            if existing["type"] == "folder":
                return existing
            raise _name_taken(existing)
        if folder_id in self.items:
            raise Refusal(400, "invalid-request")
        folder = self._new_folder(folder_id or self.new_id(), parent_id, name)
        self._write([folder], device=device)
        return folder

    def update(self, subject: str, body: dict[str, Any], *, device: str) -> dict[str, Any]:
        """Name, place, time and executable bit; what is as it was already writes nothing."""
        item = self._known(subject)
        parent_id, name = body.get("parent_folder_id"), body.get("name")
        changes: dict[str, Any] = {}
        if name is not None:
            _check_name(name)
            changes["name"] = name
        if parent_id is not None:
            changes["parent_folder_id"] = parent_id
        is_placed = any(item[field] != value for field, value in changes.items())
        if is_placed and parent_id not in {None, item["parent_folder_id"]}:
            self._known(parent_id, "folder")
            if parent_id == subject or self._is_below(self.items[parent_id], subject):
                raise Refusal(409, "move-into-itself")
        if is_placed:
            other = self.child(parent_id or item["parent_folder_id"], name or item["name"])
            if other is not None and other is not item:
                raise _name_taken(other)
        if (original := body.get("conflict_of_file_id")) is not None:
            self._check_original(original)
            self._note_conflict(item, original, body["conflict_kind"], base=None)
        for field in ("executable", "client_modified_ns"):
            if body.get(field) is not None:
                changes[field] = body[field]
        if any(item[field] != value for field, value in changes.items()):
            item.update(changes)
            self._write([item], device=device)
        return item

    def remove(self, subject: str, *, as_of_seq: int | None, device: str) -> list[dict[str, Any]]:
        """To the trash, except what was changed since `as_of_seq`: that moves out."""
        item = self._known(subject)
        if as_of_seq is not None and not 0 <= as_of_seq <= self.head_seq:
            raise Refusal(400, "invalid-request")
        survivors = [] if as_of_seq is None else self._unseen(subject, as_of_seq)
        item["deleted_at"] = "now"
        steads: dict[str, str] = {}
        for survivor in survivors:
            parent_id = survivor["parent_folder_id"]
            if parent_id not in steads:
                steads[parent_id] = self._live_folder_for(self.items[parent_id], device=device)
        for survivor in survivors:
            survivor["parent_folder_id"] = steads[survivor["parent_folder_id"]]
        # Last, so that replaying never takes away what survives.
        self._write([*survivors, item], device=device)
        return survivors

    def _unseen(self, subject: str, as_of_seq: int) -> list[dict[str, Any]]:
        """The highest live items below a folder that were changed since."""
        newer = {
            item_id(entry["item"])
            for entry in self.journal[as_of_seq:]
            if entry["action"] == "upsert"
        }
        changed = [
            item
            for item in map(self.items.__getitem__, newer)
            if self.is_live(item) and self._is_below(item, subject)
        ]
        highest = [
            item
            for item in changed
            if not any(self._is_below(item, item_id(other)) for other in changed)
        ]
        return sorted(highest, key=lambda item: (item["type"] == "file", item_id(item)))

    def restore_item(
        self, subject: str, *, device: str, parent_id: str | None = None
    ) -> dict[str, Any]:
        """Out of the trash, with what its deletion took along; to the root if need be."""
        item = self.items.get(subject)
        if item is None or item["deleted_at"] is None:
            raise Refusal(404, "not-found")
        if parent_id is not None:
            self._known(parent_id, "folder")
        else:
            parent_id = item["parent_folder_id"]
            if not self.is_live(self.items[parent_id]):
                parent_id = self.root_id
        item["name"] = self._numbered_name(parent_id, item["name"], item["type"], but=item)
        item["deleted_at"], item["parent_folder_id"] = None, parent_id
        below = [
            each
            for each in self.items.values()
            if self._is_below(each, subject) and self.is_live(each)
        ]
        # Parents first: a folder may have been moved into one that is newer.
        self._write([item, *sorted(below, key=self._depth)], device=device)
        return item

    def restore_version(self, file_id: str, version_id: str, *, device: str) -> dict[str, Any]:
        """An old version's content becomes the current one, as a new version."""
        if version_id not in self.versions.get(file_id, []):
            raise Refusal(404, "not-found")
        file = self.items[file_id]
        content = self.contents[version_id]
        old = self.version_facts[version_id]
        upload = self._upload(content, old["client_modified_ns"], old["executable"])
        decided = self._decide(
            device, upload, file, base=file["current_version_id"], content=content, replaces=True
        )
        return decided[1]

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
        conflict_of: str | None = None,
        conflict_kind: str | None = None,
    ) -> dict[str, Any]:
        """Init, bytes and commit in one. Raises Refusal.

        conflict_of, conflict_kind: the device made the new file as the conflict copy of that.
        """
        told = (conflict_of, conflict_kind) if conflict_of and conflict_kind else None
        answer = self._once(
            device,
            op_id,
            [file_id, base, parent_id, name, _sha256(content), mtime_ns, executable, told],
            lambda: self._commit(
                device, file_id, base, parent_id, name, content, mtime_ns, executable, told
            ),
        )
        return {**answer, "file": copy.deepcopy(self.items[answer["file_id"]])}

    def _commit(
        self,
        device: str,
        file_id: str | None,
        base: str | None,
        parent_id: str,
        name: str,
        content: bytes,
        mtime_ns: int,
        executable: bool,
        told: tuple[str, str] | None,
    ) -> dict[str, Any]:
        _check_name(name)
        file = self.items.get(file_id) if file_id else None
        if told is not None:
            if file is not None:
                raise Refusal(400, "invalid-request")
            self._check_original(told[0])
        if file is None:
            if self.items.get(parent_id, {}).get("type") != "folder":
                raise Refusal(404, "not-found")
            file = self._new_file(file_id or self.new_id(), parent_id, name)
        self.commits += 1
        upload = self._upload(content, mtime_ns, executable)
        kind = self._kind(file, base)
        outcome, file, original = self._decide(device, upload, file, base=base, content=content)
        if outcome == "conflict_copy" and told is not None:
            original = told[0]
        if told is not None and outcome != "same":
            self._note_conflict(file, *told, base=base)
        elif original is not None:
            self._note_conflict(file, original, kind, base=base)
        return {
            "status": 200,
            "outcome": outcome,
            "file_id": file["file_id"],
            "file_version_id": file["current_version_id"],
            "is_conflict_copy": outcome == "conflict_copy",
            "original_file_id": original,
        }

    def _check_original(self, file_id: str) -> None:
        item = self.items.get(file_id)
        if item is None or item["type"] != "file" or item["current_version_id"] is None:
            raise Refusal(404, "not-found")

    def _kind(self, file: dict[str, Any], base: str | None) -> str:
        """What an upload for a file would be in conflict by."""
        if file["current_version_id"] is None:
            return "create-create"
        if not self.is_live(file):
            return "edit-delete"
        return "create-create" if base is None else "edit-edit"

    def _note_conflict(
        self, file: dict[str, Any], original: str, kind: str, *, base: str | None
    ) -> None:
        self.conflicts.setdefault(
            file["file_id"],
            {
                "kind": kind,
                "base_version_id": base,
                "original": original,
                "copy": file["file_id"],
                "copy_version_id": file["current_version_id"],
            },
        )

    def _upload(self, content: bytes, mtime_ns: int, executable: bool) -> dict[str, Any]:
        """What a file has of a version that it shows."""
        return {
            "size_bytes": len(content),
            "content_hash": _sha256(content),
            "current_version_id": self.new_id(),
            "executable": executable,
            "client_modified_ns": mtime_ns,
            "is_damaged": False,
        }

    def _decide(
        self,
        device: str,
        upload: dict[str, Any],
        file: dict[str, Any],
        *,
        base: str | None,
        content: bytes,
        replaces: bool = False,
    ) -> tuple[str, dict[str, Any], str | None]:
        """What becomes of a verified upload: outcome, file, and the original of a copy.

        replaces: it takes the place of another file that has the name.
        """
        is_new = file["current_version_id"] is None
        is_same = file["content_hash"] == upload["content_hash"]
        is_live = not is_new and self.is_live(file)
        if is_same and is_live:
            return self._keep(device, upload, file, base=base)
        folder_id = self._live_folder_for(self.items[file["parent_folder_id"]], device=device)
        if not is_new and not is_same and base != file["current_version_id"]:
            return self._copy(device, upload, content, folder_id, file["name"], beside=file)
        if is_live:
            return self._show(device, upload, content, file)
        holder = self.child(folder_id, file["name"])
        if holder is None:
            file["parent_folder_id"], file["deleted_at"] = folder_id, None
            if is_same and not is_new:
                return self._keep(device, upload, file, base=base, is_changed=True)
            return self._show(device, upload, content, file)
        if holder["type"] == "file":
            if holder["content_hash"] == upload["content_hash"]:
                return self._keep(device, upload, holder, base=base)
            if replaces:
                return self._show(device, upload, content, holder)
        return self._copy(
            device,
            upload,
            content,
            folder_id,
            file["name"],
            beside=holder,
            new=file if is_new else None,
        )

    def _keep(
        self,
        device: str,
        upload: dict[str, Any],
        file: dict[str, Any],
        *,
        base: str | None,
        is_changed: bool = False,
    ) -> tuple[str, dict[str, Any], None]:
        """The file has this content already."""
        facts = {name: upload[name] for name in ("executable", "client_modified_ns")}
        if base == file["current_version_id"] and any(
            file[name] != value for name, value in facts.items()
        ):
            file.update(facts)
            is_changed = True
        if file["is_damaged"]:
            file["is_damaged"] = False
            is_changed = True
        if is_changed:
            self._write([file], device=device)
        return "same", file, None

    def _show(
        self, device: str, upload: dict[str, Any], content: bytes, file: dict[str, Any]
    ) -> tuple[str, dict[str, Any], None]:
        """The upload becomes the current version of a file."""
        file.update(upload)
        version_id = upload["current_version_id"]
        self.contents[version_id] = content
        self.version_facts[version_id] = upload
        self.versions.setdefault(file["file_id"], []).append(version_id)
        self._write([file], device=device)
        return "committed", file, None

    def _copy(
        self,
        device: str,
        upload: dict[str, Any],
        content: bytes,
        folder_id: str,
        name: str,
        *,
        beside: dict[str, Any],
        new: dict[str, Any] | None = None,
    ) -> tuple[str, dict[str, Any], str | None]:
        """A new file beside the one that the upload cannot replace."""
        copied = self._new_file(
            new["file_id"] if new else self.new_id(),
            folder_id,
            self._conflict_name(folder_id, name, device),
        )
        self._show(device, upload, content, copied)
        return "conflict_copy", copied, beside.get("file_id")

    def _known(self, subject: str, kind: str | None = None) -> dict[str, Any]:
        """A live item, of that type if one is given."""
        item = self.items.get(subject)
        if item is None or not self.is_live(item) or kind not in {None, item["type"]}:
            raise Refusal(404, "not-found")
        return item

    def _is_below(self, item: dict[str, Any], folder_id: str) -> bool:
        here = item["parent_folder_id"]
        while here is not None:
            if here == folder_id:
                return True
            here = self.items[here]["parent_folder_id"]
        return False

    def _depth(self, item: dict[str, Any]) -> int:
        depth, here = 0, item["parent_folder_id"]
        while here is not None:
            depth, here = depth + 1, self.items[here]["parent_folder_id"]
        return depth

    def _live_folder_for(self, folder: dict[str, Any], *, device: str) -> str:
        """The folder while it is live, else the end of a new chain of the same names."""
        names = []
        while not self.is_live(folder):
            names.append(folder["name"])
            folder = self.items[folder["parent_folder_id"]]
        place: str = folder["folder_id"]
        for name in reversed(names):
            below = self.child(place, name)
            if below is None or below["type"] == "file":
                name = self._numbered_name(place, name, "folder")
                below = self._new_folder(self.new_id(), place, name)
                self._write([below], device=device)
            place = below["folder_id"]
        return place

    def _numbered_name(
        self, folder_id: str, name: str, kind: str, *, but: dict[str, Any] | None = None
    ) -> str:
        """The name itself or, where it is taken, `name (2).ext` and so on."""
        stem, dot, extension = name.rpartition(".") if kind == "file" else ("", "", name)
        if not stem:
            stem, dot, extension = name, "", ""
        wanted, counter = name, 2
        while (other := self.child(folder_id, wanted)) is not None and other is not but:
            wanted = f"{stem} ({counter}){dot}{extension}"
            counter += 1
        return wanted

    def _conflict_name(self, folder_id: str, name: str, device: str) -> str:
        for counter in itertools.count(1):
            wanted = conflict_name(name, device_name=device, day=DAY, counter=counter)
            if self.child(folder_id, wanted) is None:
                return wanted
        raise AssertionError("unreachable")

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
            "size_bytes": 0,
            "content_hash": None,
            "current_version_id": None,
            "executable": False,
            "client_modified_ns": 0,
            "is_damaged": False,
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
        for name in ("items", "contents", "journal", "versions", "version_facts", "answers",
                     "conflicts"):  # fmt: skip
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


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _check_name(name: str) -> None:
    is_text = "/" not in name and "\0" not in name
    if name in {"", ".", ".."} or not is_text or len(name.encode()) > MAX_NAME_BYTES:
        raise Refusal(400, "invalid-name")


def _name_taken(item: dict[str, Any]) -> Refusal:
    return Refusal(409, "name-taken", item_id=item_id(item), item_type=item["type"])
