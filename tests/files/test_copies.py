"""Copies on the server: new items, the same blocks."""

from uuid import uuid4

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from blocks import gc
from blocks.models import Block
from blocks.storage import get_object_store
from files import outbox
from files.models import (
    File,
    FileVersion,
    Membership,
    Namespace,
    OutboxMessage,
    Role,
    StorageAccount,
)
from tests.files.answers import problem
from tests.files.uploading import Uploader, sha256

pytestmark = pytest.mark.django_db


@pytest.fixture
def on_laptop(laptop):
    return Uploader(laptop)


@pytest.fixture
def copy(on_laptop):
    """copy(*ids, to=folder id, …) -> the answer."""

    def copied(*item_ids, to, device=on_laptop, **fields):
        return device.api.post(
            "/nodes/copy", {"item_ids": list(item_ids), "parent_folder_id": to, **fields}
        )

    return copied


def pending() -> int:
    return FileVersion.objects.filter(status="pending").count()


def test_a_copy_of_a_file_has_its_content_and_a_history_of_its_own(on_laptop, copy):
    first = on_laptop.put(b"one", name="a.txt", executable=True, client_modified_ns=7)["file"]
    file = on_laptop.edit(first, b"two", executable=True, client_modified_ns=8)["file"]

    answer = copy(file["file_id"], to=on_laptop.root)

    assert answer.status_code == 201
    [made] = answer.json()["items"]
    assert (made["name"], made["executable"], made["client_modified_ns"]) == ("a (2).txt", True, 8)
    assert made["file_id"] != file["file_id"]
    assert on_laptop.read(made["file_id"]) == b"two"
    assert on_laptop.file(made["file_id"])["version_count"] == 1
    assert on_laptop.names() == ["a (2).txt", "a.txt"]
    assert on_laptop.used() == (9, 0)
    # Its own: what happens to the one says nothing of the other.
    on_laptop.edit(made, b"three")
    assert on_laptop.read(file["file_id"]) == b"two"


def test_a_copied_block_is_counted_and_outlives_the_original(on_laptop, copy):
    data = b"precious" * 1000
    file = on_laptop.put(data, name="a.txt")["file"]
    [made] = copy(file["file_id"], to=on_laptop.root).json()["items"]
    assert Block.objects.get(pk=sha256(data)).reference_count == 2

    on_laptop.api.delete(f"/files/{file['file_id']}", {}, if_match=file["rev"])
    assert on_laptop.api.delete(f"/trash/{file['file_id']}", {}).status_code == 204
    OutboxMessage.objects.update(due_at="2020-01-01T00:00:00Z")
    outbox.relay()
    gc.collect(store=get_object_store())

    assert Block.objects.get(pk=sha256(data)).reference_count == 1
    assert on_laptop.read(made["file_id"]) == data


def test_a_folder_is_copied_with_all_that_is_live_below_it(on_laptop, copy, root, make):
    top = make(root, "Top")
    inner = make(make(top, "Middle"), "Inner")
    on_laptop.put(b"deep", name="deep.txt", parent_folder_id=inner["folder_id"])
    on_laptop.put(b"", name="empty.txt", parent_folder_id=top["folder_id"])
    gone = on_laptop.put(b"gone", name="gone.txt", parent_folder_id=inner["folder_id"])["file"]
    on_laptop.api.delete(f"/files/{gone['file_id']}", {}, if_match=gone["rev"])
    before = on_laptop.api.get("/changes/latest").json()["cursor"]

    [made] = copy(top["folder_id"], to=root["folder_id"]).json()["items"]

    assert made["name"] == "Top (2)"
    entries = on_laptop.api.get("/changes", cursor=before).json()["entries"]
    names = [entry["item"]["name"] for entry in entries]
    assert names[:3] == ["Top (2)", "Middle", "Inner"]
    assert set(names[3:]) == {"deep.txt", "empty.txt"}
    # Parents come before their children, as a device applies them.
    known = {root["folder_id"]}
    for entry in entries:
        assert entry["item"]["parent_folder_id"] in known
        known.add(entry["item"].get("folder_id"))
    for entry in entries[3:]:
        wanted = {"deep.txt": b"deep", "empty.txt": b""}[entry["item"]["name"]]
        assert on_laptop.read(entry["item"]["file_id"]) == wanted


def test_many_items_become_one_moment_with_names_of_their_own(on_laptop, copy, root, make):
    target = make(root, "Target")
    ids = [on_laptop.put(b"x", name=f"{n}.txt")["file"]["file_id"] for n in range(3)]
    folder = make(root, "0.txt (2)")
    on_laptop.put(b"in the way", name="1.txt", parent_folder_id=target["folder_id"])

    answer = copy(*ids, folder["folder_id"], to=target["folder_id"])

    assert [item["name"] for item in answer.json()["items"]] == [
        "0.txt",
        "1 (2).txt",
        "2.txt",
        "0.txt (2)",
    ]
    assert [
        item["name"] for item in copy(ids[0], ids[0], to=target["folder_id"]).json()["items"]
    ] == ["0 (2).txt"]
    [named] = copy(ids[0], to=target["folder_id"], name="chosen").json()["items"]
    assert named["name"] == "chosen"


def test_a_copy_is_harmless_to_repeat(on_laptop, copy, root):
    file = on_laptop.put(b"x", name="a.txt")["file"]
    first = copy(file["file_id"], to=root["folder_id"], op_id="one")
    again = copy(file["file_id"], to=root["folder_id"], op_id="one")

    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert on_laptop.names() == ["a (2).txt", "a.txt"]
    problem(
        copy(file["file_id"], to=root["folder_id"], op_id="one", name="b"),
        422,
        "idempotency-key-reused",
    )


def test_a_folder_is_not_copied_into_itself(copy, root, make):
    top = make(root, "Top")
    below = make(top, "Below")

    for target in (top, below):
        problem(copy(top["folder_id"], to=target["folder_id"]), 409, "move-into-itself")
    # Nor twice by one request: once by itself, once with the folder that it is in.
    problem(
        copy(top["folder_id"], below["folder_id"], to=root["folder_id"]), 400, "invalid-request"
    )
    problem(copy(root["folder_id"], to=below["folder_id"]), 400, "invalid-request")


def test_over_quota_nothing_is_copied(on_laptop, alice, copy, root, make):
    folder = make(root, "Folder")
    for name in ("a", "b"):
        on_laptop.put(b"12345", name=name, parent_folder_id=folder["folder_id"])
    StorageAccount.objects.filter(owner=alice).update(limit_bytes=18)

    answer = copy(folder["folder_id"], to=root["folder_id"])

    assert problem(answer, 507, "quota-exceeded")["over_by_bytes"] == 2
    assert on_laptop.names() == ["Folder"]
    assert on_laptop.used() == (10, 0)


def test_one_missing_item_leaves_all_uncopied(on_laptop, copy, root):
    file = on_laptop.put(b"x", name="a.txt")["file"]
    trashed = on_laptop.put(b"y", name="b.txt")["file"]
    on_laptop.api.delete(f"/files/{trashed['file_id']}", {}, if_match=trashed["rev"])

    for other in (trashed["file_id"], str(uuid4())):
        problem(copy(file["file_id"], other, to=root["folder_id"]), 404, "not-found")
    problem(copy(file["file_id"], to=str(uuid4())), 404, "not-found")
    assert on_laptop.names() == ["a.txt"]
    assert pending() == 0


def test_a_damaged_file_is_not_copied_and_nothing_stays_set_aside(on_laptop, copy, root):
    file = on_laptop.put(b"x", name="a.txt")["file"]
    Block.objects.update(state="damaged")

    problem(copy(file["file_id"], to=root["folder_id"]), 503, "content-damaged")

    assert on_laptop.used() == (1, 0)
    assert pending() == 0


def test_a_strangers_items_and_folders_are_not_there(on_laptop, copy, root, stranger):
    theirs = Uploader(stranger)
    mine = on_laptop.put(b"x", name="a.txt")["file"]

    problem(copy(mine["file_id"], to=theirs.root, device=theirs), 404, "not-found")
    problem(copy(mine["file_id"], to=theirs.root), 404, "not-found")
    assert theirs.names() == []


def test_what_may_be_read_may_be_copied_and_only_the_target_must_be_writable(
    on_laptop, copy, root, mallory, stranger
):
    """The copy counts for the owner of the target."""
    theirs = Uploader(stranger)
    mine = on_laptop.put(b"shared", name="a.txt")["file"]
    namespace = Namespace.objects.get(pk=root["namespace_id"])
    Membership.objects.create(namespace=namespace, user=mallory, role=Role.VIEWER)

    [made] = copy(mine["file_id"], to=theirs.root, device=theirs).json()["items"]

    assert theirs.read(made["file_id"]) == b"shared"
    assert theirs.used() == (6, 0)
    problem(copy(made["file_id"], to=root["folder_id"], device=theirs), 403, "permission-denied")


def test_a_copy_of_thousands_costs_no_query_for_each(on_laptop, copy, root, make, monkeypatch):
    folder = make(root, "Folder")
    counts = []
    for number in range(24):
        on_laptop.put(b"%d" % number, name=f"{number}.txt", parent_folder_id=folder["folder_id"])
        if number not in (3, 23):
            continue
        target = make(root, f"Target {number}")
        with (
            CaptureQueriesContext(connections["default"]) as files,
            CaptureQueriesContext(connections["blocks"]) as blocks,
        ):
            answer = copy(folder["folder_id"], to=target["folder_id"])
        assert answer.status_code == 201
        counts.append((len(files), len(blocks)))
    assert counts[0] == counts[1]

    monkeypatch.setattr("files.services.copies.MAX_COPIED_ITEMS", 24)
    before = File.objects.count()
    answer = copy(folder["folder_id"], to=root["folder_id"])
    assert "cannot be copied at once" in problem(answer, 400, "invalid-request")["detail"]
    assert File.objects.count() == before
