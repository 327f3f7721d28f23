"""The simulated server (tests/fakes/server.py) gives the answers of the real one.

Each story is told to both: the same requests in the same order. Compared are the answers,
what they add to the journal, and at the end the tree, the trash, versions and digests. Ids
are called by the order in which they came up: "#3" is the same thing on both sides.
"""

import hashlib
import itertools
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from drive_project.common.ids import new_id
from files.models import User
from tests.fakes.server import FakeServer, Refusal, item_id
from tests.files.uploading import Uploader
from tests.people import new_device, new_person

pytestmark = pytest.mark.django_db

LAPTOP, PHONE = "laptop", "phone"
NOBODY = str(UUID(int=0))
# What the model has not, or what nobody can compare: clocks, words, opaque positions.
NOT_COMPARED = {
    "author", "block_count", "change_id", "changed_at",
       "committed_at", "created_at", "cursor", "detail", "device", "errors", "expires_at",
    "modified_at", "next_cursor", "original_path", "title", "rev",
}  # fmt: skip
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True)
class Rev:
    """The revision of an item, as a device has last seen it; or an older one."""

    item: str
    is_stale: bool = False


@dataclass(frozen=True)
class Seq:
    """The end of the journal after so many requests; or a place beyond it."""

    after: int
    beyond: int = 0


class Side(Protocol):
    """One of the two servers, with the account and the two devices of one person."""

    # What ids are called.
    names: dict[str, str]

    def request(self, device: str, method: str, path: str, body: Any) -> tuple[int, Any]: ...

    def commit(self, device: str, file: dict[str, Any], content: bytes) -> tuple[int, Any]: ...

    def conflicts(self) -> list[dict[str, Any]]: ...

    def new_id(self) -> str: ...


class ModelSide:
    """The simulated server."""

    def __init__(self) -> None:
        self.server = FakeServer()
        self.names = {self.server.namespace_id: "namespace", self.server.root_id: "root"}

    def request(self, device: str, method: str, path: str, body: Any) -> tuple[int, Any]:
        try:
            return 200, self.server.handle(device, method, path, body, body)
        except Refusal as refusal:
            return refusal.status, refusal.document

    def commit(self, device: str, file: dict[str, Any], content: bytes) -> tuple[int, Any]:
        try:
            return 200, self.server.commit(device=device, content=content, **file)
        except Refusal as refusal:
            return refusal.status, refusal.document

    def conflicts(self) -> list[dict[str, Any]]:
        return list(self.server.conflicts.values())

    def new_id(self) -> str:
        return self.server.new_id()


class RealSide:
    """The Django application, through its HTTP API."""

    def __init__(self, person: User) -> None:
        self._devices = {name: Uploader(new_device(person, name)) for name in (LAPTOP, PHONE)}
        account = self._devices[LAPTOP].api.get("/account").json()
        self.names = {
            account["root_namespace_id"]: "namespace",
            account["root_folder_id"]: "root",
            **{str(each.device.pk): name for name, each in self._devices.items()},
        }

    def request(self, device: str, method: str, path: str, body: Any) -> tuple[int, Any]:
        api = self._devices[device].api
        answer = api.get(path, **body) if method == "GET" else api.post(path, body)
        return answer.status_code, answer.json()

    def commit(self, device: str, file: dict[str, Any], content: bytes) -> tuple[int, Any]:
        uploader = self._devices[device]
        begun = uploader.init(
            content,
            op_id=file["op_id"],
            file_id=file["file_id"],
            base_version_id=file["base"],
            parent_folder_id=file["parent_id"],
            name=file["name"],
            client_modified_ns=file["mtime_ns"],
            executable=file["executable"],
            conflict_of_file_id=file["conflict_of"],
            conflict_kind=file["conflict_kind"],
        )
        if begun.status_code != 201:
            return begun.status_code, begun.json()
        upload = begun.json()
        if any(block["state"] == "send" for block in upload["blocks"]):
            uploader.send_blocks(upload["upload_id"], content)
        answer = uploader.commit(upload["upload_id"])
        return answer.status_code, answer.json()

    def conflicts(self) -> list[dict[str, Any]]:
        return [
            {
                "kind": each["kind"],
                "base_version_id": each["base_version_id"],
                "original": each["original"]["file"]["file_id"],
                "copy": each["copy"]["file"]["file_id"],
                "copy_version_id": each["copy"]["file_version_id"],
            }
            for each in reversed(self._devices[LAPTOP].api.get("/conflicts").json()["items"])
        ]

    def new_id(self) -> str:
        return str(new_id())


class Told:
    """A side, what things are called there, and what a device makes of its journal."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self._ids = {name: each for each, name in side.names.items()}
        self._numbers = itertools.count(1)
        self._cursor: str | None = None
        self.tree: dict[str, dict[str, Any]] = {}
        self.revs: dict[str, int] = {}
        self.ends: list[int] = []

    def there(self, value: Any) -> Any:
        """What is meant, in this side's ids and numbers."""
        match value:
            case dict():
                return {key: self.there(each) for key, each in value.items()}
            case list():
                return [self.there(each) for each in value]
            case Rev():
                return self.revs[value.item] - value.is_stale
            case Seq():
                return self.ends[value.after] + value.beyond
            case str() if value.startswith("new "):
                if value not in self._ids:
                    self._ids[value] = self.side.new_id()
                return self._ids[value]
            case str():
                return "/".join(self._ids.get(part, part) for part in value.split("/"))
            case _:
                return value

    def here(self, value: Any) -> Any:
        """The same as it can be compared."""
        match value:
            case dict():
                return {
                    key: self._field(key, each)
                    for key, each in sorted(value.items())
                    if key not in NOT_COMPARED and not _is_address_of_problem(key, each)
                }
            case list():
                return [self.here(each) for each in value]
            case str() if _UUID.fullmatch(value):
                return self._name(value)
            case _:
                return value

    def _field(self, key: str, value: Any) -> Any:
        if key == "deleted_at":
            return value is not None
        if key == "name":
            return _DAY.sub("DAY", value)
        if key == "device_id" and value is None:
            return "server"
        return self.here(value)

    def _name(self, identifier: str) -> str:
        names = self.side.names
        if identifier not in names:
            chosen = [name for name, each in self._ids.items() if each == identifier]
            name = chosen[0] if chosen else f"#{next(self._numbers)}"
            names[identifier] = name
            self._ids[name] = identifier
        return names[identifier]

    def news(self) -> list[dict[str, Any]]:
        """What the journal has since the last time, replayed as docs/protocol.md says.

        Of one moment (a folder that comes out of the trash with all below it), the order is
        the server's own; that it is a good one shows in the replay.
        """
        entries: list[dict[str, Any]] = []
        has_more = True
        while has_more:
            _, page = self.side.request(
                LAPTOP,
                "POST",
                "/changes",
                {"cursor": self._cursor, "limit": 1_000} if self._cursor else {"limit": 1_000},
            )
            entries += page["entries"]
            self._cursor, has_more = page["cursor"], page["has_more"]
        end = self.ends[-1] if self.ends else 0
        assert [entry["seq"] for entry in entries] == list(range(end + 1, end + 1 + len(entries)))
        self.ends.append(end + len(entries))
        found = []
        for entry in entries:
            item = entry["item"]
            assert item["rev"] == entry.pop("seq")
            named = self.here(entry)
            name = self.here(item_id(item))
            self.revs[name] = item["rev"]
            if entry["action"] == "upsert":
                assert name == "root" or named["item"]["parent_folder_id"] in self.tree
                self.tree[name] = named["item"]
            else:
                self._drop(name)
            found.append(named)
        return found

    def _drop(self, name: str) -> None:
        self.tree.pop(name, None)
        for below in [key for key, item in self.tree.items() if item["parent_folder_id"] == name]:
            self._drop(below)

    def check(self) -> None:
        """What was replayed is what there is."""
        _, page = self.side.request(
            LAPTOP, "GET", "/changes/snapshot", {"namespace": self.there("namespace")}
        )
        assert {self.here(item_id(item)): self.here(item) for item in page["items"]} == self.tree
        lines = sorted(f"{item_id(item)} {item['rev']}\n" for item in page["items"])
        _, digest = self.side.request(LAPTOP, "GET", self.there("/namespaces/namespace/digest"), {})
        assert digest["digest"] == hashlib.sha256("".join(lines).encode()).hexdigest()
        assert digest["head_seq"] == self.ends[-1]


def _is_address_of_problem(key: str, value: Any) -> bool:
    return key == "type" and value.startswith("/problems/")


class Both:
    """Both servers, told the same. Every difference fails the test.

    Ids in requests and answers are names ("root", "#7", or "new 1" for one that the client
    chooses); `Rev` and `Seq` stand for numbers, which may differ.
    """

    def __init__(self, person: User) -> None:
        self._model, self._real = self.sides = Told(ModelSide()), Told(RealSide(person))
        self._numbers = itertools.count(1)
        # Every item that ever was, as last seen, and the versions of each file.
        self.items: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, list[str]] = {}
        self._look()

    def new(self) -> str:
        """An id that the client chooses, or a key that nobody has used."""
        return f"new {next(self._numbers)}"

    @property
    def requests(self) -> int:
        """How many there were: the last one's `Seq`."""
        return len(self._real.ends) - 1

    @property
    def live(self) -> dict[str, dict[str, Any]]:
        """What is not in the trash, by its name here."""
        return self._real.tree

    def request(self, device: str, method: str, path: str, **body: Any) -> tuple[int, Any]:
        """Status and body of the answer that both give."""
        return self._same(
            lambda told: told.side.request(device, method, told.there(path), told.there(body))
        )

    def batch(self, device: str, *steps: dict[str, Any]) -> list[dict[str, Any]]:
        """The results of several steps."""
        _, answer = self.request(device, "POST", "/batch", items=list(steps))
        results: list[dict[str, Any]] = answer["items"]
        return results

    def one(self, device: str, op: str, **fields: Any) -> dict[str, Any]:
        """The result of one step, with a new key unless `op_id` is given."""
        [result] = self.batch(device, {"op": op, "op_id": self.new(), **fields})
        return result

    def make(self, device: str, parent: str, name: str) -> str:
        """A new folder; what it is called."""
        result = self.one(device, "create_folder", parent_folder_id=parent, name=name)
        folder: str = result["item"]["folder_id"]
        return folder

    def delete(self, device: str, item: str, **fields: Any) -> dict[str, Any]:
        """To the trash, at the revision that was last seen."""
        kind = self.items[item]["type"]
        return self.one(
            device, f"delete_{kind}", **{f"{kind}_id": item, "if_match": Rev(item), **fields}
        )

    def update(self, device: str, item: str, **fields: Any) -> dict[str, Any]:
        kind = self.items[item]["type"]
        return self.one(
            device, f"update_{kind}", **{f"{kind}_id": item, "if_match": Rev(item), **fields}
        )

    def commit(self, device: str, content: bytes, **fields: Any) -> tuple[int, Any]:
        """A whole upload: a new file in the root, or what the fields say."""
        wanted = {
            "op_id": self.new(),
            "file_id": None,
            "base": None,
            "parent_id": "root",
            "name": "a.txt",
            "mtime_ns": 7,
            "executable": False,
            "conflict_of": None,
            "conflict_kind": None,
            **fields,
        }
        return self._same(lambda told: told.side.commit(device, told.there(wanted), content))

    def write(self, device: str, content: bytes, **fields: Any) -> str:
        """A new file; what it is called."""
        status, answer = self.commit(device, content, **fields)
        assert status == 200, answer
        file: str = answer["file_id"]
        return file

    def edit(self, device: str, file: str, content: bytes, **fields: Any) -> Any:
        """A new content on the version that was last seen; what became of it."""
        known = self.items[file]
        status, answer = self.commit(
            device,
            content,
            **{
                "file_id": file,
                "base": known["current_version_id"],
                "parent_id": known["parent_folder_id"],
                "name": known["name"],
                **fields,
            },
        )
        assert status == 200, answer
        return answer

    def conflicts(self) -> list[dict[str, Any]]:
        """All that there are, the oldest first."""
        found: list[dict[str, Any]] = self._same(
            lambda told: (200, {"items": told.side.conflicts()})
        )[1]["items"]
        return found

    def restore(self, device: str, item: str, **fields: Any) -> tuple[int, Any]:
        """Out of the trash."""
        return self.request(device, "POST", f"/trash/{item}/restore", op_id=self.new(), **fields)

    def names(self) -> dict[str, str]:
        """Path of everything live, and what it is called."""
        return {self.path(each): each for each in self.live if each != "root"}

    def path(self, item: str) -> str:
        names: list[str] = []
        while item != "root":
            names.append(self.live[item]["name"])
            item = self.live[item]["parent_folder_id"]
        return "/".join(reversed(names))

    def _same(self, ask: Callable[[Told], tuple[int, Any]]) -> tuple[int, Any]:
        answers = []
        for told in self.sides:
            status, body = ask(told)
            answers.append((status, told.here(body)))
        assert answers[0] == answers[1], "the model's answer (first) is not the server's"
        self._look()
        return answers[1]

    def _look(self) -> None:
        model, real = (told.news() for told in self.sides)
        assert [each["action"] for each in model] == [each["action"] for each in real]

        def by_item(entry: dict[str, Any]) -> str:
            return str(item_id(entry["item"]))

        assert sorted(model, key=by_item) == sorted(real, key=by_item), "the model's journal"
        assert self._model.tree == self._real.tree
        for entry in real:
            item = entry["item"]
            self.items[item_id(item)] = item
            if item["type"] == "file":
                versions = self.versions.setdefault(item["file_id"], [])
                if item["current_version_id"] not in versions:
                    versions.append(item["current_version_id"])

    def check(self) -> None:
        """The listings are the same, and what the journal has led to."""
        for told in self.sides:
            told.check()
        self.request(LAPTOP, "GET", "/trash")
        for file in self.versions:
            self.request(LAPTOP, "GET", f"/files/{file}/versions")


@pytest.fixture
def both(alice: User):
    servers = Both(alice)
    yield servers
    servers.check()


def code(result: dict[str, Any]) -> str:
    """Why a step was refused."""
    problem: str = result["problem"]["code"]
    return problem


# Folders and moves


def test_a_folder_that_is_there_is_given_back(both):
    made = both.one(LAPTOP, "create_folder", parent_folder_id="root", name="Docs")
    again = both.one(PHONE, "create_folder", parent_folder_id="root", name="docs")
    assert (made["status"], again["status"]) == (201, 200)
    assert again["item"] == made["item"]


def test_ids_of_the_client_are_kept_and_refused_where_in_use(both):
    chosen = both.new()
    step = {"op": "create_folder", "folder_id": chosen, "parent_folder_id": "root"}
    first, second = both.batch(
        LAPTOP, {**step, "op_id": "1", "name": "a"}, {**step, "op_id": "2", "name": "b"}
    )
    assert first["item"]["folder_id"] == chosen
    assert code(second) == "invalid-request"


def test_a_folder_made_by_a_batch_can_be_named_in_it(both):
    chosen = both.new()
    both.batch(
        LAPTOP,
        {"op": "create_folder", "op_id": "1", "folder_id": chosen, "parent_folder_id": "root",
         "name": "a"},
        {"op": "create_folder", "op_id": "2", "parent_folder_id": chosen, "name": "b"},
        {"op": "create_folder", "op_id": "3", "parent_folder_id": NOBODY, "name": "c"},
        {"op": "create_folder", "op_id": "4", "parent_folder_id": chosen, "name": "d"},
    )  # fmt: skip
    assert set(both.names()) == {"a", "a/b", "a/d"}


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "é" * 128])
def test_names_that_are_refused(both, name):
    result = both.one(LAPTOP, "create_folder", parent_folder_id="root", name=name)
    assert code(result) == "invalid-name"


def test_moves_and_renames_and_their_refusals(both):
    one, other = both.make(LAPTOP, "root", "one"), both.make(LAPTOP, "root", "other")
    inner = both.make(LAPTOP, one, "inner")
    file = both.write(PHONE, b"content", parent_id=inner)
    assert both.update(LAPTOP, one, name="renamed")["status"] == 200
    assert both.update(PHONE, other, parent_folder_id=inner, name="deep")["status"] == 200
    # Nothing new: answered, and not written.
    assert both.update(PHONE, one, name="renamed")["status"] == 200
    assert both.update(PHONE, file, executable=False, parent_folder_id=inner)["status"] == 200

    assert code(both.update(LAPTOP, one, parent_folder_id=other)) == "move-into-itself"
    assert code(both.update(LAPTOP, one, parent_folder_id=one)) == "move-into-itself"
    assert code(both.update(LAPTOP, other, name="A.TXT")) == "name-taken"
    assert code(both.update(LAPTOP, file, parent_folder_id=file)) == "not-found"
    assert code(both.update(LAPTOP, file, parent_folder_id=NOBODY)) == "not-found"
    assert code(both.update(LAPTOP, file, name="a/b")) == "invalid-name"
    assert code(both.update(LAPTOP, "root", name="x")) == "invalid-request"
    both.update(LAPTOP, file, name="A.txt", executable=True, client_modified_ns=9)
    assert set(both.names()) == {"renamed", "renamed/inner", "renamed/inner/deep",
                                 "renamed/inner/A.txt"}  # fmt: skip


def test_a_write_on_a_stale_revision_is_refused_with_the_item(both):
    folder, file = both.make(LAPTOP, "root", "a"), both.write(LAPTOP, b"1", name="b")
    both.update(PHONE, folder, name="c")
    for result in (
        both.update(LAPTOP, folder, name="d", if_match=Rev(folder, is_stale=True)),
        both.delete(LAPTOP, folder, if_match=Rev(folder, is_stale=True)),
        both.delete(LAPTOP, file, if_match=Rev(file, is_stale=True)),
    ):
        assert code(result) == "stale-precondition"
        assert result["problem"]["current"]
    without = both.one(LAPTOP, "update_folder", folder_id=folder, name="d")
    assert code(without) == "precondition-required"
    # A folder is no file.
    assert code(both.one(LAPTOP, "delete_file", file_id=folder, if_match=1)) == "not-found"


def test_a_repeated_key_gets_the_first_answer_whatever_came_between(both):
    create = {"op": "create_folder", "op_id": "k", "parent_folder_id": "root", "name": "a"}
    [first] = both.batch(LAPTOP, create)
    folder = first["item"]["folder_id"]
    rename = {"op": "update_folder", "op_id": "r", "folder_id": folder, "name": "b"}
    [renamed] = both.batch(LAPTOP, {**rename, "if_match": 2})
    both.update(PHONE, folder, name="c")

    assert both.batch(LAPTOP, create, {**rename, "if_match": 2}) == [first, renamed]
    assert code(both.batch(LAPTOP, {**create, "name": "z"})[0]) == "idempotency-key-reused"
    # Of another device, it is another key; and what was refused is not remembered.
    [other] = both.batch(PHONE, {**create, "name": "y"})
    assert other["status"] == 201
    refused = {"op": "update_folder", "op_id": "s", "folder_id": folder, "name": "y"}
    assert code(both.batch(LAPTOP, {**refused, "if_match": Rev(folder)})[0]) == "name-taken"
    both.delete(PHONE, other["item"]["folder_id"])
    assert both.batch(LAPTOP, {**refused, "if_match": Rev(folder)})[0]["status"] == 200


# Uploads


def test_commits_in_order_and_of_the_same_content(both):
    file = both.write(LAPTOP, b"one")
    assert both.edit(PHONE, file, b"two")["outcome"] == "committed"
    assert both.edit(LAPTOP, file, b"two", base=both.versions[file][0])["outcome"] == "same"
    # Only the time and the mode are new: kept where it is a statement about this version.
    assert both.edit(LAPTOP, file, b"two", mtime_ns=8, executable=True)["outcome"] == "same"
    assert both.items[file]["executable"]
    assert both.edit(LAPTOP, file, b"two", base=both.versions[file][0], mtime_ns=9)
    assert both.items[file]["client_modified_ns"] == 8
    assert both.edit(LAPTOP, file, b"")["outcome"] == "committed"


def test_each_conflict_is_noted_also_that_of_a_copy_which_a_device_made_itself(both):
    file = both.write(LAPTOP, b"one")
    base = both.versions[file][-1]
    both.edit(PHONE, file, b"two")
    both.edit(LAPTOP, file, b"three", base=base)
    both.write(PHONE, b"four")
    told = {"conflict_of": file, "conflict_kind": "edit-edit"}
    name = "a (conflicted copy, laptop, 2001-01-01).txt"
    made = both.write(LAPTOP, b"five", name=name, base=base, **told)
    both.write(PHONE, b"six", name=name, **{**told, "conflict_kind": "create-create"})
    moved = both.write(PHONE, b"seven", name="b.txt")
    in_conflict = {"conflict_of_file_id": file, "conflict_kind": "move-create"}
    both.update(LAPTOP, moved, name="b (conflicted copy, laptop, 2001-01-01).txt", **in_conflict)

    assert [each["kind"] for each in both.conflicts()] == [
        "edit-edit", "create-create", "edit-edit", "create-create", "move-create",
    ]  # fmt: skip
    assert {each["original"] for each in both.conflicts()} == {file}
    assert both.conflicts()[2]["base_version_id"] == base
    # The same content is no conflict; what is not there, or no file, has no copy.
    both.write(LAPTOP, b"five", name=name, **told)
    for wrong in (NOBODY, "root"):
        told["conflict_of"] = in_conflict["conflict_of_file_id"] = wrong
        assert both.commit(LAPTOP, b"x", name="c", **told)[0] == 404
        assert code(both.update(LAPTOP, moved, name="c", **in_conflict)) == "not-found"
    told["conflict_of"] = file
    assert both.commit(LAPTOP, b"x", file_id=made, base=None, name="c", **told)[0] == 400
    assert len(both.conflicts()) == 5


def test_a_commit_on_a_stale_base_becomes_a_conflict_copy(both):
    file = both.write(LAPTOP, b"base")
    base = both.versions[file][0]
    both.edit(PHONE, file, b"from the phone")
    for content in (b"from the laptop", b"from the laptop, again"):
        answer = both.edit(LAPTOP, file, content, base=base)
        assert answer["is_conflict_copy"]
        assert answer["original_file_id"] == file
    assert len(both.names()) == 3
    both.edit(PHONE, file, b"no base", base=None)
    assert len(both.names()) == 4


def test_a_new_file_where_something_has_the_name(both):
    file = both.write(LAPTOP, b"one", name="Name.txt")
    both.make(LAPTOP, "root", "folder")
    assert both.commit(PHONE, b"one", name="name.TXT")[1]["file_id"] == file
    assert both.commit(PHONE, b"two", name="name.TXT")[1]["original_file_id"] == file
    beside_a_folder = both.commit(PHONE, b"three", name="folder")[1]
    assert beside_a_folder["outcome"] == "conflict_copy"
    assert beside_a_folder["original_file_id"] is None


def test_an_upload_into_nothing_and_of_an_unknown_file(both):
    assert both.commit(LAPTOP, b"one", parent_id=NOBODY)[0] == 404
    assert both.commit(LAPTOP, b"one", name="a/b")[0] == 400
    # Gone for good on the server: it begins anew, under the id that the client knows.
    chosen = both.new()
    answer = both.commit(LAPTOP, b"one", file_id=chosen, base=NOBODY)[1]
    assert (answer["outcome"], answer["file_id"]) == ("committed", chosen)


def test_a_repeated_upload_gets_its_first_answer_and_shows_the_file_as_it_is(both):
    first = both.commit(LAPTOP, b"one", op_id="k")[1]
    file = first["file_id"]
    both.edit(PHONE, file, b"two")
    both.update(PHONE, file, name="renamed")
    again = both.commit(LAPTOP, b"one", op_id="k")[1]
    assert again["file_version_id"] == first["file_version_id"]
    assert again["file"]["name"] == "renamed"
    assert both.commit(LAPTOP, b"other", op_id="k")[0] == 422
    both.delete(PHONE, file)
    assert both.commit(LAPTOP, b"one", op_id="k")[1]["file"]["deleted_at"]


def test_an_edit_of_what_is_in_the_trash_brings_it_back(both):
    folder = both.make(LAPTOP, "root", "a")
    inner = both.make(LAPTOP, folder, "b")
    file = both.write(LAPTOP, b"one", parent_id=inner)
    same = both.write(LAPTOP, b"same", parent_id=inner, name="same.txt")
    stale = both.write(LAPTOP, b"old", parent_id=inner, name="stale.txt")
    both.edit(LAPTOP, stale, b"new")
    both.delete(PHONE, folder)

    assert both.edit(LAPTOP, file, b"two")["file_id"] == file
    assert both.edit(LAPTOP, same, b"same")["file_id"] == same
    assert both.edit(LAPTOP, stale, b"edit", base=both.versions[stale][0])["is_conflict_copy"]
    assert {"a/b/a.txt", "a/b/same.txt"} < set(both.names())

    # By itself, in a live folder; then its name is taken by another one.
    both.delete(LAPTOP, file)
    both.edit(PHONE, file, b"three")
    both.delete(LAPTOP, file)
    other = both.write(PHONE, b"other", parent_id=both.items[file]["parent_folder_id"])
    assert both.edit(LAPTOP, file, b"other", base=both.versions[file][-1])["file_id"] == other
    assert both.edit(LAPTOP, file, b"four", base=both.versions[file][-1])["is_conflict_copy"]


def test_what_is_made_below_a_deleted_folder_gets_a_chain_of_the_same_names(both):
    outer = both.make(LAPTOP, "root", "outer.d")
    inner = both.make(LAPTOP, outer, "inner")
    both.delete(PHONE, outer)
    # A file has the name meanwhile.
    both.write(PHONE, b"in the way", name="outer.d")

    both.write(LAPTOP, b"one", parent_id=inner)
    made = both.one(LAPTOP, "create_folder", parent_folder_id=inner, name="new")
    assert made["status"] == 201
    assert set(both.names()) == {
        "outer.d",
        "outer.d (2)",
        "outer.d (2)/inner",
        "outer.d (2)/inner/a.txt",
        "outer.d (3)",
        "outer.d (3)/inner",
        "outer.d (3)/inner/new",
    }


# Deletions


def test_a_folder_is_deleted_whole_in_one_entry(both):
    folder = both.make(LAPTOP, "root", "a")
    both.write(LAPTOP, b"one", parent_id=both.make(LAPTOP, folder, "b"))
    result = both.delete(PHONE, folder)
    assert result["survivors"] == []
    assert both.names() == {}
    assert code(both.one(LAPTOP, "delete_folder", folder_id=folder, if_match=1)) == "not-found"
    assert code(both.delete(LAPTOP, "root")) == "invalid-request"


def test_what_the_deleting_device_had_not_seen_survives(both):
    top = both.make(LAPTOP, "root", "top")
    deep = both.make(LAPTOP, top, "deep")
    seen = both.write(LAPTOP, b"seen", parent_id=deep, name="seen")
    edited = both.write(LAPTOP, b"old", parent_id=deep, name="edited")
    applied = Seq(both.requests)
    both.edit(PHONE, edited, b"new")
    folder = both.make(PHONE, deep, "folder")
    both.write(PHONE, b"below it", parent_id=folder, name="below")
    both.write(PHONE, b"top", parent_id=top, name="at the top")
    both.write(LAPTOP, b"own", parent_id=top, name="own")

    result = both.delete(LAPTOP, top, as_of_seq=applied)
    # Its own too: the deletion may be one that it gave up on, and that arrives late.
    assert len(result["survivors"]) == 4
    assert set(both.names()) == {
        "top", "top/at the top", "top/deep", "top/deep/edited", "top/deep/folder",
        "top/deep/folder/below", "top/own",
    }  # fmt: skip
    assert seen not in both.live


def test_a_place_that_the_journal_does_not_have_is_refused(both):
    folder = both.make(LAPTOP, "root", "a")
    result = both.delete(LAPTOP, folder, as_of_seq=Seq(both.requests, beyond=1))
    assert code(result) == "invalid-request"
    assert both.delete(LAPTOP, folder, as_of_seq=Seq(both.requests))["survivors"] == []


# Going back


def test_restoring_from_the_trash(both):
    folder = both.make(LAPTOP, "root", "a.d")
    file = both.write(LAPTOP, b"one", parent_id=folder, name="x.tar.gz")
    alone = both.write(LAPTOP, b"two", parent_id=folder, name="alone")
    both.delete(PHONE, alone)
    both.delete(PHONE, folder)
    both.make(PHONE, "root", "a.d")

    # Its folder is in the trash, so it goes to the root.
    assert both.restore(LAPTOP, alone)[1]["parent_folder_id"] == "root"
    assert both.restore(LAPTOP, folder)[1]["name"] == "a.d (2)"
    assert both.path(file) == "a.d (2)/x.tar.gz"
    assert both.restore(LAPTOP, folder)[0] == 404
    assert both.restore(LAPTOP, file)[0] == 404
    both.delete(LAPTOP, file)
    both.write(LAPTOP, b"three", parent_id=folder, name="X.tar.gz")
    assert both.restore(PHONE, file, parent_folder_id=NOBODY)[0] == 404
    assert both.restore(PHONE, file)[1]["name"] == "x.tar (2).gz"


def test_what_comes_back_comes_after_the_folder_that_it_was_moved_into(both):
    top = both.make(LAPTOP, "root", "top")
    older = both.make(LAPTOP, top, "older")
    both.write(LAPTOP, b"one", parent_id=older)
    newer = both.make(LAPTOP, top, "newer")
    both.update(LAPTOP, older, parent_folder_id=newer)
    both.delete(PHONE, top)

    # The journal is replayed after each request: a child never comes before its parent.
    assert both.restore(PHONE, top)[0] == 200
    assert {"top/newer", "top/newer/older/a.txt"} < set(both.names())


def test_restoring_a_version(both):
    def restore(file: str, version: str, device: str = LAPTOP, **fields: Any) -> tuple[int, Any]:
        path = f"/files/{file}/versions/{version}/restore"
        return both.request(device, "POST", path, **{"op_id": both.new(), **fields})

    file = both.write(LAPTOP, b"one", executable=True)
    first = both.versions[file][0]
    both.edit(PHONE, file, b"two", mtime_ns=8)
    assert restore(file, first, op_id="k")[1]["current_version_id"] != first
    assert both.items[file]["executable"]
    assert restore(file, first, op_id="k")[0] == 200
    # It has this content already.
    count = len(both.versions[file])
    restore(file, first)
    assert len(both.versions[file]) == count
    assert restore(file, NOBODY)[0] == 404
    # Out of the trash, too; and onto a file that has the name meanwhile.
    both.delete(PHONE, file)
    assert restore(file, both.versions[file][1])[0] == 200
    both.delete(PHONE, file)
    both.write(PHONE, b"in the way")
    assert restore(file, first, PHONE)[0] == 200


# Anything


PICK = st.integers(0, 30)
DEVICES = st.sampled_from([LAPTOP, PHONE])
NAMES = st.sampled_from(["a", "A", "b", "c.txt", "é", "é", ".d"])
CONTENTS = st.sampled_from([b"", b"one", b"two", b"three"])


class Anything(RuleBasedStateMachine):
    """Two devices do whatever comes to their minds, refusals included."""

    people = itertools.count(1)

    def __init__(self) -> None:
        super().__init__()
        self.both = Both(new_person(f"person{next(self.people)}"))
        self.keys: list[tuple[str, dict[str, Any]]] = []
        self.uploads: list[tuple[str, bytes, dict[str, Any]]] = []

    @initialize()
    def begin(self) -> None:
        folder = "root"
        for name in ("a", "b"):
            folder = self.both.make(LAPTOP, folder, name)
            self.both.write(PHONE, b"one", parent_id=folder, name="c.txt")

    def teardown(self) -> None:
        self.both.check()

    def pick(self, number: int, *, kind: str | None = None) -> str:
        """Any item that ever was, the live ones first; a folder is the root at least."""
        items = self.both.items
        found = [each for each in items if kind in {None, items[each]["type"]}]
        live = [each for each in found if each in self.both.live]
        some = live if number % 4 and live else found
        return some[number % len(some)]

    def rev(self, item: str, number: int) -> Rev:
        return Rev(item, is_stale=number % 7 == 6)

    def batch(self, device: str, step: dict[str, Any]) -> None:
        step = {"op_id": self.both.new(), **step}
        [result] = self.both.batch(device, step)
        self.keys.append((device, step))
        event(f"{step['op']} {result['status']}")

    @rule(device=DEVICES, where=PICK, name=NAMES)
    def create(self, device: str, where: int, name: str) -> None:
        parent = self.pick(where, kind="folder")
        self.batch(device, {"op": "create_folder", "parent_folder_id": parent, "name": name})

    @rule(device=DEVICES, what=PICK, where=st.none() | PICK, name=st.none() | NAMES, rev=PICK)
    def update(self, device: str, what: int, where: int | None, name: str | None, rev: int) -> None:
        item = self.pick(what)
        kind = self.both.items[item]["type"]
        step = {"op": f"update_{kind}", f"{kind}_id": item, "if_match": self.rev(item, rev)}
        if where is not None:
            step["parent_folder_id"] = self.pick(where, kind="folder")
        if name is not None:
            step["name"] = name
        if kind == "file" and name is None:
            step["executable"] = bool(rev % 2)
        self.batch(device, step)

    @rule(device=DEVICES, what=PICK, rev=PICK, unseen=st.none() | st.integers(0, 6))
    def delete(self, device: str, what: int, rev: int, unseen: int | None) -> None:
        item = self.pick(what)
        kind = self.both.items[item]["type"]
        step = {"op": f"delete_{kind}", f"{kind}_id": item, "if_match": self.rev(item, rev)}
        if kind == "folder" and unseen is not None:
            step["as_of_seq"] = Seq(max(0, self.both.requests - unseen))
        self.batch(device, step)

    @precondition(lambda self: self.keys)
    @rule(pick=PICK, name=st.none() | NAMES)
    def repeat(self, pick: int, name: str | None) -> None:
        device, step = self.keys[pick % len(self.keys)]
        # The revision that was sent then, whatever it is by now.
        step = {key: value for key, value in step.items() if not isinstance(value, Rev | Seq)}
        if step["op"] == "create_folder":
            self.batch(device, step if name is None else {**step, "name": name})

    def send(self, device: str, content: bytes, file: dict[str, Any]) -> None:
        self.uploads.append((device, content, file))
        status, answer = self.both.commit(device, content, **file)
        event(f"commit {answer.get('outcome', status)}")

    @rule(device=DEVICES, content=CONTENTS, where=PICK, name=NAMES)
    def upload(self, device: str, content: bytes, where: int, name: str) -> None:
        file = {
            "op_id": self.both.new(),
            "parent_id": self.pick(where, kind="folder"),
            "name": name,
        }
        self.send(device, content, file)

    @rule(device=DEVICES, content=CONTENTS, what=PICK, base=PICK, is_executable=st.booleans())
    def edit(self, device: str, content: bytes, what: int, base: int, is_executable: bool) -> None:
        if not self.both.versions:
            return
        item = self.pick(what, kind="file")
        versions = self.both.versions[item]
        file = {
            "op_id": self.both.new(),
            "file_id": item,
            "base": versions[base % len(versions)] if base % 3 == 0 else versions[-1],
            "parent_id": self.both.items[item]["parent_folder_id"],
            "name": self.both.items[item]["name"],
            "executable": is_executable,
        }
        self.send(device, content, file)

    @precondition(lambda self: self.uploads)
    @rule(pick=PICK)
    def upload_again(self, pick: int) -> None:
        device, content, file = self.uploads[pick % len(self.uploads)]
        self.both.commit(device, content, **file)

    @rule(device=DEVICES, what=PICK, where=st.none() | PICK)
    def restore(self, device: str, what: int, where: int | None) -> None:
        trashed = [name for name, item in self.both.items.items() if item["deleted_at"]]
        if not trashed:
            return
        fields = {} if where is None else {"parent_folder_id": self.pick(where, kind="folder")}
        status, _ = self.both.restore(device, trashed[what % len(trashed)], **fields)
        event(f"restore {status}")

    @rule(device=DEVICES, what=PICK, version=PICK)
    def restore_version(self, device: str, what: int, version: int) -> None:
        if not self.both.versions:
            return
        file = self.pick(what, kind="file")
        versions = self.both.versions[file]
        path = f"/files/{file}/versions/{versions[version % len(versions)]}/restore"
        status, _ = self.both.request(device, "POST", path, op_id=self.both.new())
        event(f"restore version {status}")


def test_whatever_two_devices_do_both_servers_answer_the_same(db: None) -> None:
    run_state_machine_as_test(
        Anything,
        settings=settings(
            max_examples=int(os.environ.get("DRIVE_TEST_EXAMPLES", "15")),
            stateful_step_count=25,
            deadline=None,
            database=None,
            phases=(Phase.explicit, Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
