"""From the first byte to the other device: init, send, commit, and what conflicts do."""

import re
from uuid import uuid4

import pytest

from files import queries
from files.models import Conflict, DeviceKind, File, OnConflict
from files.services.uploads import EMPTY_HASH, NewUpload, OpenUpload, begin_uploads
from tests.files.uploading import Uploader, sha256
from tests.people import new_device

pytestmark = pytest.mark.django_db


@pytest.fixture
def on_laptop(laptop):
    return Uploader(laptop)


@pytest.fixture
def on_phone(phone):
    return Uploader(phone)


@pytest.fixture
def report(on_laptop):
    """A file that both devices have seen."""
    return on_laptop.put(b"first", name="report.txt")["file"]


def test_what_one_device_uploads_the_other_reads(on_laptop, on_phone):
    data = bytes(range(256)) * 10_000
    done = on_laptop.put(data, name="a.bin", executable=True, client_modified_ns=-5)

    assert done["outcome"] == "committed"
    assert not done["is_conflict_copy"]
    file = on_phone.file(done["file_id"])
    assert (file["name"], file["size_bytes"], file["executable"]) == ("a.bin", len(data), True)
    assert file["content_hash"] == sha256(data)
    assert file["client_modified_ns"] == -5
    assert on_phone.read(done["file_id"]) == data
    assert on_phone.used() == (len(data), 0)


def test_the_later_of_two_edits_becomes_a_conflict_copy(on_laptop, on_phone, report):
    first = on_phone.edit(report, b"from the phone")
    second = on_laptop.edit(report, b"from the laptop")

    assert not first["is_conflict_copy"]
    assert second["outcome"] == "conflict_copy"
    assert second["original_file_id"] == report["file_id"]
    assert re.fullmatch(
        r"report \(conflicted copy, laptop, \d{4}-\d\d-\d\d\)\.txt", second["file"]["name"]
    )
    assert on_laptop.read(report["file_id"]) == b"from the phone"
    assert on_phone.read(second["file_id"]) == b"from the laptop"
    conflict = Conflict.objects.get()
    assert (str(conflict.file_id), str(conflict.copy_id)) == (report["file_id"], second["file_id"])


def test_repeating_a_commit_gives_the_first_answer(on_laptop, on_phone, report):
    on_phone.edit(report, b"from the phone")
    copy = on_laptop.begin(
        b"from the laptop",
        file_id=report["file_id"],
        base_version_id=report["current_version_id"],
    )
    first = on_laptop.commit(copy).json()
    again = on_laptop.commit(copy).json()
    in_a_batch = on_laptop.api.post(
        "/files/upload/commit", {"items": [{"upload_id": copy}, {"upload_id": copy}]}
    ).json()

    assert first["is_conflict_copy"]
    assert again == first
    assert in_a_batch == {"items": [first, first]}
    assert len(on_laptop.names()) == 2


def test_the_same_content_is_never_a_conflict_and_never_a_version(on_laptop, on_phone, report):
    on_phone.edit(report, b"both wrote this")
    used = on_laptop.used()
    upload_id = on_laptop.begin(
        b"both wrote this",
        file_id=report["file_id"],
        base_version_id=report["current_version_id"],
    )
    second = on_laptop.commit(upload_id).json()

    assert second["outcome"] == "same"
    assert second["file_version_id"] == on_phone.file(report["file_id"])["current_version_id"]
    assert on_laptop.commit(upload_id).json() == second
    assert on_laptop.names() == ["report.txt"]
    assert on_laptop.used() == used
    assert on_laptop.file(report["file_id"])["version_count"] == 2


def test_the_same_content_with_another_mode_changes_the_mode_alone(on_laptop, report):
    done = on_laptop.edit(report, b"first", executable=True, client_modified_ns=7)

    assert done["outcome"] == "same"
    assert done["file"]["executable"]
    assert done["file"]["client_modified_ns"] == 7
    assert done["file"]["current_version_id"] == report["current_version_id"]
    assert done["file"]["rev"] > report["rev"]


def test_an_older_version_stays_readable(on_laptop, report):
    done = on_laptop.edit(report, b"second")

    assert on_laptop.read(report["file_id"]) == b"second"
    assert on_laptop.read(report["file_id"], report["current_version_id"]) == b"first"
    assert done["outcome"] == "committed"
    assert on_laptop.used() == (len(b"first") + len(b"second"), 0)


def test_with_fail_a_stale_base_is_refused_and_nothing_changes(on_laptop, on_phone, report):
    newer = on_phone.edit(report, b"from the phone")
    upload_id = on_laptop.begin(
        b"from the laptop",
        file_id=report["file_id"],
        base_version_id=report["current_version_id"],
        on_conflict="fail",
    )
    answer = on_laptop.commit(upload_id)

    assert answer.status_code == 409
    assert answer.json()["code"] == "version-conflict"
    assert answer.json()["current_version_id"] == newer["file_version_id"]
    assert on_laptop.names() == ["report.txt"]
    assert on_laptop.file(report["file_id"])["rev"] == newer["file"]["rev"]
    state = on_laptop.api.get(f"/files/upload/{upload_id}").json()
    assert (state["status"], state["missing"]) == ("pending", [])


def test_with_new_version_the_later_edit_comes_on_top(on_laptop, on_phone, report):
    older = on_phone.edit(report, b"from the phone")
    done = on_laptop.edit(report, b"from the laptop", on_conflict="new_version")

    assert done["outcome"] == "committed"
    assert on_phone.read(report["file_id"]) == b"from the laptop"
    assert on_phone.read(report["file_id"], older["file_version_id"]) == b"from the phone"
    assert on_phone.names() == ["report.txt"]


def test_two_new_files_of_one_name_and_content_become_one(on_laptop, on_phone):
    first = on_laptop.put(b"the same", name="Notes.txt")
    second = on_phone.put(b"the same", name="notes.TXT")

    assert second["outcome"] == "same"
    assert second["file_id"] == first["file_id"]
    assert on_phone.names() == ["Notes.txt"]


def test_two_new_files_of_one_name_and_other_content_both_stay(on_laptop, on_phone):
    first = on_laptop.put(b"one", name="notes.txt")
    second = on_phone.put(b"two", name="NOTES.txt")
    third = on_phone.put(b"three", name="notes.txt")

    assert second["is_conflict_copy"]
    assert second["original_file_id"] == third["original_file_id"] == first["file_id"]
    names = on_laptop.names()
    assert len(names) == 3
    assert [bool(re.search(r" 2\)\.txt$", name)) for name in sorted(names)].count(True) == 1
    assert on_laptop.read(third["file_id"]) == b"three"


def test_a_taken_name_with_fail_is_refused(on_laptop, on_phone):
    first = on_laptop.put(b"one", name="notes.txt")
    answer = on_phone.commit(on_phone.begin(b"two", name="notes.txt", on_conflict="fail"))

    assert answer.status_code == 409
    assert answer.json()["code"] == "name-taken"
    assert answer.json()["item_id"] == first["file_id"]
    assert on_laptop.names() == ["notes.txt"]


def test_with_new_version_an_upload_of_a_taken_name_replaces_the_content(on_laptop, alice):
    first = on_laptop.put(b"one", name="notes.txt")
    program = Uploader(new_device(alice, "program", DeviceKind.TOKEN))
    second = program.put(b"two", name="notes.txt", on_conflict="new_version")

    assert second["outcome"] == "committed"
    assert second["file_id"] == first["file_id"]
    assert on_laptop.read(first["file_id"]) == b"two"
    assert on_laptop.read(first["file_id"], first["file_version_id"]) == b"one"
    assert File.objects.count() == 1


def test_with_keep_both_a_new_file_gets_a_name_with_a_counter(on_laptop, on_phone):
    first = on_laptop.put(b"one", name="notes.txt")
    done = [
        on_phone.put(data, name="NOTES.txt", on_conflict="keep_both") for data in (b"two", b"three")
    ]
    same = on_phone.put(b"one", name="notes.txt", on_conflict="keep_both")
    on_phone.api.post("/folders", {"parent_folder_id": on_phone.root, "name": "Album"})
    on_phone.put(b"four", name="Album", on_conflict="keep_both")

    assert [each["outcome"] for each in done] == ["committed", "committed"]
    assert [each["file"]["name"] for each in done] == ["NOTES (2).txt", "NOTES (3).txt"]
    assert (same["outcome"], same["file_id"]) == ("same", first["file_id"])
    assert "Album (2)" in on_laptop.names()
    assert on_laptop.read(first["file_id"]) == b"one"
    # Nobody has to settle what was meant so.
    assert not Conflict.objects.exists()


def test_with_keep_both_an_edit_of_a_newer_file_becomes_a_conflict_copy(
    on_laptop, on_phone, report
):
    on_phone.edit(report, b"from the phone")
    done = on_laptop.edit(report, b"from the laptop", on_conflict="keep_both")

    assert done["outcome"] == "conflict_copy"
    assert Conflict.objects.count() == 1
    assert on_laptop.read(report["file_id"]) == b"from the phone"


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        (DeviceKind.SYNC, OnConflict.CONFLICT_COPY),
        (DeviceKind.BROWSER, OnConflict.NEW_VERSION),
        (DeviceKind.TOKEN, OnConflict.FAIL),
    ],
)
def test_each_kind_of_device_has_its_own_way_with_conflicts(alice, kind, outcome):
    device = new_device(alice, "some", kind)
    upload = NewUpload(
        name="a", parent_folder_id=queries.own_root(alice).pk,
        size_bytes=0, content_hash=EMPTY_HASH, block_count=0, blocks=(),
    )  # fmt: skip
    [begun] = begin_uploads(device=device, uploads=[upload])

    assert isinstance(begun, OpenUpload)
    assert begun.version.on_conflict == outcome


def test_where_a_folder_has_the_name_the_file_becomes_a_copy(on_laptop, on_phone):
    upload_id = on_laptop.begin(b"a file", name="Album")
    on_phone.api.post("/folders", {"parent_folder_id": on_phone.root, "name": "album"})
    done = on_laptop.commit(upload_id).json()

    assert done["is_conflict_copy"]
    assert done["original_file_id"] is None
    assert sorted(on_phone.names())[1] == "album"
    assert on_phone.read(done["file_id"]) == b"a file"


def trash(api, item, kind):
    answer = api.delete(f"/{kind}s/{item[f'{kind}_id']}", {}, if_match=item["rev"])
    assert answer.status_code == 200, answer.content


def test_an_edit_brings_a_trashed_file_back(on_laptop, on_phone, report):
    trash(on_phone.api, report, "file")
    assert on_phone.names() == []
    done = on_laptop.edit(report, b"still needed")

    assert done["outcome"] == "committed"
    assert done["file_id"] == report["file_id"]
    assert done["file"]["deleted_at"] is None
    assert on_phone.names() == ["report.txt"]


def test_the_same_content_brings_a_trashed_file_back_without_a_version(on_laptop, on_phone, report):
    trash(on_phone.api, report, "file")
    done = on_laptop.edit(report, b"first")

    assert done["outcome"] == "same"
    assert done["file"]["deleted_at"] is None
    assert on_phone.names() == ["report.txt"]
    assert on_phone.file(report["file_id"])["version_count"] == 1


def test_an_edit_of_a_trashed_file_whose_name_is_taken_becomes_a_copy(on_laptop, on_phone, report):
    trash(on_phone.api, report, "file")
    other = on_phone.put(b"another one", name="report.txt")
    done = on_laptop.edit(report, b"still needed")

    assert done["is_conflict_copy"]
    assert done["original_file_id"] == other["file_id"]
    assert len(on_phone.names()) == 2
    assert on_phone.read(other["file_id"]) == b"another one"


def test_a_stale_edit_of_a_trashed_file_becomes_a_copy_and_the_file_stays_deleted(
    on_laptop, on_phone, report
):
    newer = on_phone.edit(report, b"from the phone")["file"]
    trash(on_phone.api, newer, "file")
    done = on_laptop.edit(report, b"from the laptop")

    assert done["is_conflict_copy"]
    assert done["original_file_id"] == report["file_id"]
    assert on_phone.names() == [done["file"]["name"]]


def test_a_commit_below_a_trashed_folder_makes_a_chain_of_live_ones(on_laptop, on_phone):
    outer = on_laptop.api.post(
        "/folders", {"parent_folder_id": on_laptop.root, "name": "Outer"}
    ).json()
    inner = on_laptop.api.post(
        "/folders", {"parent_folder_id": outer["folder_id"], "name": "Inner"}
    ).json()
    old = on_laptop.put(b"old", name="old.txt", parent_folder_id=inner["folder_id"])["file"]
    upload_id = on_laptop.begin(b"new", name="new.txt", parent_folder_id=inner["folder_id"])
    trash(on_phone.api, outer, "folder")
    new = on_laptop.commit(upload_id).json()["file"]
    edited = on_laptop.edit(old, b"edited")["file"]

    assert on_phone.names() == ["Outer"]
    path = on_phone.api.get(f"/folders/{new['parent_folder_id']}/path").json()["items"]
    assert [folder["name"] for folder in path] == ["", "Outer", "Inner"]
    assert inner["folder_id"] not in {folder["folder_id"] for folder in path}
    assert edited["parent_folder_id"] == new["parent_folder_id"]
    assert sorted(on_phone.names(new["parent_folder_id"])) == ["new.txt", "old.txt"]


def test_a_refused_commit_leaves_the_others_and_the_journal_has_no_gap(on_laptop, report):
    good = [on_laptop.begin(b"%d" % n, name=f"{n}.txt") for n in range(3)]
    unsent = on_laptop.init(b"never sent", name="unsent.txt").json()["upload_id"]
    unknown = str(uuid4())
    upload_ids = [good[0], unsent, good[1], unknown, "no id", good[2]]
    answer = on_laptop.api.post(
        "/files/upload/commit", {"items": [{"upload_id": each} for each in upload_ids]}
    ).json()["items"]

    assert [each["status"] for each in answer] == [200, 409, 200, 404, 400, 200]
    assert answer[1]["problem"]["code"] == "missing-blocks"
    assert answer[1]["problem"]["block_hashes"] == [sha256(b"never sent")]
    revs = [each["file"]["rev"] for each in answer if each["status"] == 200]
    assert revs == list(range(report["rev"] + 1, report["rev"] + 4))
    seqs = [entry["seq"] for entry in on_laptop.api.get("/changes").json()["entries"]]
    assert seqs == list(range(1, revs[-1] + 1))


def test_two_edits_of_one_file_in_one_batch_follow_each_other(on_laptop, report):
    base = report["current_version_id"]
    first = on_laptop.begin(b"second", file_id=report["file_id"], base_version_id=base)
    second = on_laptop.begin(b"third", file_id=report["file_id"], base_version_id=first)
    answer = on_laptop.api.post(
        "/files/upload/commit", {"items": [{"upload_id": first}, {"upload_id": second}]}
    ).json()["items"]

    assert [each["outcome"] for each in answer] == ["committed", "committed"]
    assert on_laptop.read(report["file_id"]) == b"third"
    assert on_laptop.file(report["file_id"])["version_count"] == 3


def test_a_file_that_moves_while_its_upload_runs_keeps_its_new_place(on_laptop, on_phone, report):
    folder = on_phone.api.post(
        "/folders", {"parent_folder_id": on_phone.root, "name": "Archive"}
    ).json()
    upload_id = on_laptop.begin(
        b"second",
        file_id=report["file_id"],
        base_version_id=report["current_version_id"],
    )
    moved = on_phone.api.patch(
        f"/files/{report['file_id']}",
        {"parent_folder_id": folder["folder_id"], "name": "final.txt"},
        if_match=report["rev"],
    )
    assert moved.status_code == 200
    done = on_laptop.commit(upload_id).json()

    assert done["outcome"] == "committed"
    assert done["file"]["name"] == "final.txt"
    assert done["file"]["parent_folder_id"] == folder["folder_id"]


def test_the_copy_of_a_conflict_copy_is_named_after_the_original(on_laptop, on_phone, report):
    on_phone.edit(report, b"from the phone")
    copy = on_laptop.edit(report, b"from the laptop")["file"]
    on_laptop.edit(copy, b"from the laptop, later")
    second = on_phone.edit(copy, b"from the phone, later")

    assert second["is_conflict_copy"]
    assert second["file"]["name"].count("conflicted copy") == 1
    assert second["file"]["name"].startswith("report (conflicted copy, phone, ")


def test_an_empty_file_is_a_file(on_laptop, on_phone):
    done = on_laptop.put(b"", name="empty")

    assert done["file"]["size_bytes"] == 0
    assert on_phone.read(done["file_id"]) == b""
    assert on_laptop.put(b"", name="empty")["outcome"] == "same"


def test_a_stranger_finds_nothing_to_commit(on_laptop, stranger, report):
    upload_id = on_laptop.begin(b"mine", name="mine.txt")
    mallory = Uploader(stranger)

    assert mallory.commit(upload_id).status_code == 404
    assert mallory.api.get(f"/files/upload/{upload_id}").status_code == 404
    assert mallory.api.delete(f"/files/upload/{upload_id}").status_code == 404
    edit = mallory.init(b"not hers", file_id=report["file_id"], base_version_id=None)
    assert edit.status_code == 404
    into = mallory.init(b"not hers", name="x", parent_folder_id=on_laptop.root)
    assert into.status_code == 404
    assert on_laptop.commit(upload_id).status_code == 200
    assert sorted(on_laptop.names()) == ["mine.txt", "report.txt"]


def test_what_a_commit_shows_can_be_downloaded_by_the_next_upload_of_another_device(
    on_laptop, on_phone
):
    data = b"sent once" * 1_000
    on_laptop.put(data, name="a.bin")
    again = on_phone.init(data, name="b.bin").json()

    assert [block["state"] for block in again["blocks"]] == ["held"]
    assert on_phone.commit(again["upload_id"]).json()["outcome"] == "committed"
