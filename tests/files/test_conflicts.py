"""Conflicts as people see and settle them."""

from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from files.models import Conflict, FileVersion, Membership, OnConflict, Role, VersionStatus
from files.services.aborts import abort_expired
from files.services.versions import copy_blocks
from tests.files.answers import names, problem
from tests.files.uploading import Uploader
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


@pytest.fixture
def clash(on_laptop, on_phone, report):
    """The phone's edit came first, the laptop's lies in a copy; the conflict."""
    on_phone.edit(report, b"from the phone")
    on_laptop.edit(report, b"from the laptop", executable=True)
    return only(on_laptop)


def conflicts(uploader, **query):
    answer = uploader.api.get("/conflicts", **query)
    assert answer.status_code == 200, answer.content
    return answer.json()["items"]


def only(uploader, **query):
    [found] = conflicts(uploader, **query)
    return found


def read(uploader, conflict):
    answer = uploader.api.get(f"/conflicts/{conflict['conflict_id']}")
    assert answer["ETag"] == f'"{answer.json()["rev"]}"'
    return answer.json()


def settle(uploader, conflict, keep, **options):
    options.setdefault("if_match", conflict["rev"])
    body = {"keep": keep, "op_id": options.pop("op_id", str(uuid4()))}
    return uploader.api.post(f"/conflicts/{conflict['conflict_id']}/settle", body, **options)


def trash_of(uploader):
    return names(uploader.api.get("/trash"))


# --- What there is ----------------------------------------------------------------------


def test_a_conflict_tells_both_versions_their_base_and_who_made_them(
    on_laptop, laptop, phone, report, clash
):
    assert (clash["kind"], clash["state"]) == ("edit-edit", "open")
    assert clash["base_version_id"] == report["current_version_id"]
    original, copy = clash["original"], clash["copy"]
    assert original["file"]["file_id"] == report["file_id"]
    assert (original["device"], copy["device"]) == ("phone", "laptop")
    assert (original["device_id"], copy["device_id"]) == (str(phone.pk), str(laptop.pk))
    assert original["author"] == copy["author"] == "alice@example.com"
    assert original["file_version_id"] == original["file"]["current_version_id"]
    assert on_laptop.read(copy["file"]["file_id"], copy["file_version_id"]) == b"from the laptop"
    assert (clash["settled_at"], clash["settled_how"], clash["settled_by"]) == (None, None, None)
    assert read(on_laptop, clash) == clash


def test_two_files_of_one_name_are_a_create_create_conflict(on_laptop, on_phone):
    on_phone.put(b"from the phone", name="a")
    on_laptop.put(b"from the laptop", name="a")

    found = only(on_laptop)
    assert (found["kind"], found["base_version_id"]) == ("create-create", None)


def test_an_edit_of_a_deleted_file_whose_name_was_taken_is_an_edit_delete_conflict(
    on_laptop, on_phone, report
):
    on_phone.api.delete(f"/files/{report['file_id']}", if_match=report["rev"])
    other = on_phone.put(b"another", name="report.txt")
    on_laptop.edit(report, b"from the laptop")

    found = only(on_laptop, state="open")
    assert found["kind"] == "edit-delete"
    assert found["original"]["file"]["file_id"] == other["file_id"]


def test_each_of_many_late_edits_in_one_request_is_a_conflict_at_the_same_cost(on_laptop, on_phone):
    def late_edits(count):
        files = [on_laptop.put(b"first", name=f"{uuid4()}")["file"] for _ in range(count)]
        for file in files:
            on_phone.edit(file, file["name"].encode())
        uploads = [
            on_laptop.begin(
                f"late {file['name']}".encode(),
                file_id=file["file_id"],
                base_version_id=file["current_version_id"],
            )
            for file in files
        ]
        with CaptureQueriesContext(connection) as queries:
            done = on_laptop.api.post(
                "/files/upload/commit", {"items": [{"upload_id": each} for each in uploads]}
            ).json()["items"]
        assert {each["outcome"] for each in done} == {"conflict_copy"}
        assert {each["file_id"] for each in done} <= {
            each["copy"]["file"]["file_id"] for each in conflicts(on_laptop)
        }
        return len(queries)

    assert late_edits(12) == late_edits(3)


def test_a_list_costs_the_same_however_long(on_laptop, on_phone, report):
    def cost():
        with CaptureQueriesContext(connection) as queries:
            conflicts(on_laptop, state="open")
        return len(queries)

    on_phone.edit(report, b"from the phone")
    on_laptop.edit(report, b"one")
    few = cost()
    for number in range(9):
        on_laptop.edit(report, b"%d" % number)
    assert len(conflicts(on_laptop)) == 10
    assert cost() == few


def test_conflicts_come_in_pages_the_newest_first(on_laptop, on_phone, report):
    on_phone.edit(report, b"from the phone")
    made = [on_laptop.edit(report, b"%d" % number)["file_id"] for number in range(5)]

    found, cursor = [], None
    while True:
        page = on_laptop.api.get("/conflicts", limit=2, cursor=cursor, state="open").json()
        found += [each["copy"]["file"]["file_id"] for each in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        # A cursor is good for the list of its state.
        problem(on_laptop.api.get("/conflicts", cursor=cursor), 400, "invalid-cursor")
    assert found == made[::-1]
    problem(on_laptop.api.get("/conflicts", state="half"), 400, "invalid-request")


# --- Copies that a device made itself ----------------------------------------------------

COPY = "report (conflicted copy, laptop, 2026-11-28).txt"


def says(file, kind="edit-edit"):
    return {"conflict_of_file_id": file["file_id"], "conflict_kind": kind}


def test_a_copy_that_a_device_made_itself_is_a_conflict_like_any_other(on_laptop, on_phone, report):
    base = report["current_version_id"]
    on_phone.edit(report, b"from the phone")
    done = on_laptop.put(b"from the laptop", name=COPY, base_version_id=base, **says(report))

    assert (done["outcome"], done["file"]["name"]) == ("committed", COPY)
    found = only(on_phone, state="open")
    assert (found["kind"], found["base_version_id"]) == ("edit-edit", base)
    assert found["original"]["file"]["file_id"] == report["file_id"]
    assert (found["original"]["device"], found["copy"]["device"]) == ("phone", "laptop")
    assert on_phone.read(found["copy"]["file"]["file_id"]) == b"from the laptop"

    assert settle(on_phone, found, "mine").status_code == 200
    assert on_phone.names() == ["report.txt"]
    assert on_phone.read(report["file_id"]) == b"from the laptop"


def test_its_own_word_counts_also_where_the_name_of_the_copy_is_taken(on_laptop, report):
    on_laptop.put(b"in the way", name=COPY)
    done = on_laptop.put(b"from the laptop", name=COPY, **says(report, "create-create"))

    assert (done["outcome"], done["original_file_id"]) == ("conflict_copy", report["file_id"])
    found = only(on_laptop)
    assert found["kind"] == "create-create"
    assert found["original"]["file"]["file_id"] == report["file_id"]


def test_a_file_that_got_the_name_of_a_copy_is_in_conflict_from_then_on(
    on_laptop, on_phone, report
):
    other = on_laptop.put(b"moved here", name="other.txt")["file"]
    body = {"name": COPY, **says(report, "move-create")}
    moved = on_laptop.api.patch(f"/files/{other['file_id']}", body, if_match=other["rev"])
    assert moved.status_code == 200, moved.content

    found = only(on_phone, state="open")
    assert (found["kind"], found["base_version_id"]) == ("move-create", None)
    assert found["copy"]["file"]["file_id"] == other["file_id"]
    # Said again, it is the same one; settled, and said again, it is a new one.
    again = on_laptop.api.patch(
        f"/files/{other['file_id']}", {"executable": True, **says(report, "move-move-dest")},
        if_match=moved.json()["rev"],
    )  # fmt: skip
    assert only(on_phone)["conflict_id"] == found["conflict_id"]
    assert settle(on_phone, only(on_phone), "both").status_code == 200
    again = on_laptop.file(other["file_id"])
    on_laptop.api.patch(f"/files/{other['file_id']}", body, if_match=again["rev"])
    assert only(on_phone, state="open")["conflict_id"] != found["conflict_id"]


def test_what_a_file_is_the_copy_of_must_be_there_for_its_owner(on_laptop, mallory, report):
    theirs = Uploader(new_device(mallory, "theirs")).put(b"secret", name="a")["file"]
    own = on_laptop.put(b"mine", name="mine.txt")["file"]
    for file_id in (theirs["file_id"], str(uuid4())):
        wanted = {"conflict_of_file_id": file_id, "conflict_kind": "edit-edit"}
        problem(on_laptop.init(b"copy", name=COPY, **wanted), 404, "not-found")
        patch = on_laptop.api.patch(f"/files/{own['file_id']}", wanted, if_match=own["rev"])
        problem(patch, 404, "not-found")

    problem(on_laptop.init(b"x", name=COPY, conflict_kind="edit-edit"), 400, "invalid-request")
    problem(
        on_laptop.init(b"x", file_id=own["file_id"], base_version_id=None, **says(report)),
        400,
        "invalid-request",
    )
    itself = on_laptop.api.patch(f"/files/{own['file_id']}", says(own), if_match=own["rev"])
    problem(itself, 400, "invalid-request")
    assert not Conflict.objects.exists()


def test_a_copy_is_kept_also_where_its_original_goes_for_ever_before_the_commit(on_laptop, report):
    upload_id = on_laptop.begin(b"from the laptop", name=COPY, **says(report))
    on_laptop.api.delete(f"/files/{report['file_id']}", if_match=report["rev"])
    on_laptop.api.delete(f"/trash/{report['file_id']}")

    assert on_laptop.commit(upload_id).json()["outcome"] == "committed"
    assert on_laptop.names() == [COPY]
    assert conflicts(on_laptop) == []


# --- When it is open --------------------------------------------------------------------


def test_deleting_the_copy_settles_and_restoring_it_opens_again(on_laptop, clash):
    copy = clash["copy"]["file"]
    on_laptop.api.delete(f"/files/{copy['file_id']}", if_match=copy["rev"])

    assert conflicts(on_laptop, state="open") == []
    found = only(on_laptop, state="settled")
    assert (found["state"], found["settled_at"], found["settled_how"]) == ("settled", None, None)

    on_laptop.api.post(f"/trash/{copy['file_id']}/restore", {})
    assert only(on_laptop, state="open")["conflict_id"] == clash["conflict_id"]
    assert conflicts(on_laptop, state="settled") == []


def test_deleting_a_folder_settles_what_lies_below(api, laptop, root, make, on_laptop, on_phone):
    folder = make(root, "folder")
    file = on_laptop.put(b"first", name="a", parent_folder_id=folder["folder_id"])["file"]
    on_phone.edit(file, b"from the phone")
    on_laptop.edit(file, b"from the laptop")
    assert len(conflicts(on_laptop, state="open")) == 1

    api(laptop).delete(f"/folders/{folder['folder_id']}", if_match=folder["rev"])

    assert conflicts(on_laptop, state="open") == []
    assert only(on_laptop, state="settled")["state"] == "settled"


def test_a_copy_with_a_name_of_its_own_is_settled_by_hand(on_laptop, on_phone, clash):
    copy = clash["copy"]["file"]
    moved = on_phone.api.patch(
        f"/files/{copy['file_id']}",
        {"name": copy["name"].replace("report", "letter")},
        if_match=copy["rev"],
    ).json()
    assert only(on_laptop)["state"] == "open"

    on_phone.api.patch(f"/files/{copy['file_id']}", {"name": "mine.txt"}, if_match=moved["rev"])

    found = only(on_laptop)
    assert (found["state"], found["settled_how"]) == ("settled", "by_hand")
    assert (found["settled_by"], found["settled_by_device"]) == ("alice@example.com", "phone")


def test_a_conflict_goes_for_ever_with_its_copy(on_laptop, clash):
    copy = clash["copy"]["file"]
    on_laptop.api.delete(f"/files/{copy['file_id']}", if_match=copy["rev"])
    on_laptop.api.delete(f"/trash/{copy['file_id']}")

    assert conflicts(on_laptop) == []
    problem(on_laptop.api.get(f"/conflicts/{clash['conflict_id']}"), 404, "not-found")
    assert not Conflict.objects.exists()


# --- Settling ---------------------------------------------------------------------------


def test_keeping_mine_makes_the_copys_content_a_version_of_the_file(on_laptop, on_phone, clash):
    cursor = on_laptop.api.get("/changes/latest").json()["cursor"]
    original, copy = clash["original"]["file"], clash["copy"]["file"]
    answer = settle(on_phone, clash, "mine")

    assert answer.status_code == 200, answer.content
    settled = answer.json()
    assert (settled["state"], settled["settled_how"]) == ("settled", "mine")
    assert settled["settled_by_device"] == "phone"
    assert settled == read(on_laptop, clash)
    assert on_laptop.names() == ["report.txt"]
    assert on_laptop.read(original["file_id"]) == b"from the laptop"
    assert settled["original"]["file"]["executable"]
    # A device hears of the content before the copy goes.
    entries = on_laptop.api.get("/changes", cursor=cursor).json()["entries"]
    assert [(each["action"], each["item"]["file_id"]) for each in entries] == [
        ("upsert", original["file_id"]),
        ("delete", copy["file_id"]),
    ]
    # Both sides are still there: a version before, and the copy in the trash.
    assert on_laptop.read(original["file_id"], original["current_version_id"]) == b"from the phone"
    assert trash_of(on_laptop) == [copy["name"]]


def test_keeping_theirs_puts_the_copy_in_the_trash(on_laptop, clash):
    settled = settle(on_laptop, clash, "theirs").json()

    assert settled["settled_how"] == "theirs"
    assert on_laptop.names() == ["report.txt"]
    assert on_laptop.read(clash["original"]["file"]["file_id"]) == b"from the phone"
    assert trash_of(on_laptop) == [clash["copy"]["file"]["name"]]


def test_keeping_both_gives_the_copy_an_ordinary_name(on_laptop, clash):
    settled = settle(on_laptop, clash, "both").json()

    assert (settled["state"], settled["settled_how"]) == ("settled", "both")
    assert settled == read(on_laptop, clash)
    assert on_laptop.names() == ["report (2).txt", "report.txt"]
    assert settled["copy"]["file"]["name"] == "report (2).txt"
    assert on_laptop.read(clash["copy"]["file"]["file_id"]) == b"from the laptop"
    assert conflicts(on_laptop, state="open") == []
    assert trash_of(on_laptop) == []


def test_a_settlement_can_be_undone(on_laptop, clash):
    original, copy = clash["original"]["file"], clash["copy"]["file"]
    settle(on_laptop, clash, "mine")
    old = original["current_version_id"]
    on_laptop.api.post(f"/files/{original['file_id']}/versions/{old}/restore", {})
    on_laptop.api.post(f"/trash/{copy['file_id']}/restore", {})

    assert on_laptop.read(original["file_id"]) == b"from the phone"
    assert on_laptop.read(copy["file_id"]) == b"from the laptop"
    # Somebody has chosen; the restored copy is a file like any other.
    assert only(on_laptop)["state"] == "settled"


@pytest.mark.parametrize("keep", ["mine", "theirs", "both"])
def test_repeating_a_settlement_gives_the_first_answer(on_laptop, clash, keep):
    first = settle(on_laptop, clash, keep, op_id="once").json()
    used = on_laptop.used()

    assert settle(on_laptop, clash, keep, op_id="once").json() == first
    other = "both" if keep != "both" else "mine"
    problem(settle(on_laptop, clash, other, op_id="once"), 422, "idempotency-key-reused")
    assert on_laptop.used() == used
    assert used[1] == 0


@pytest.mark.parametrize("keep", ["mine", "theirs", "both"])
@pytest.mark.parametrize("side", ["original", "copy"])
def test_an_edit_of_either_file_meanwhile_is_not_overruled(on_laptop, on_phone, clash, side, keep):
    edited = on_phone.edit(clash[side]["file"], b"newer")["file"]
    used = on_laptop.used()

    stale = problem(settle(on_laptop, clash, keep), 412, "stale-precondition")

    assert stale["current"] == read(on_laptop, clash)
    assert stale["current"][side]["file"]["current_version_id"] == edited["current_version_id"]
    assert stale["current"]["state"] == "open"
    assert on_laptop.read(edited["file_id"]) == b"newer"
    assert on_laptop.used() == used
    # Having seen it, one may.
    assert settle(on_laptop, stale["current"], keep).status_code == 200


def test_an_edit_between_reading_and_deciding_is_not_overruled(
    on_laptop, on_phone, clash, monkeypatch
):
    from files.services import conflicts as service

    def edit_first(sources):
        on_phone.edit(clash["original"]["file"], b"in between")
        copy_blocks(sources)

    monkeypatch.setattr(service, "copy_blocks", edit_first)
    problem(settle(on_laptop, clash, "mine", op_id="again"), 412, "stale-precondition")

    assert on_laptop.read(clash["original"]["file"]["file_id"]) == b"in between"
    assert on_laptop.used()[1] == 0
    assert not FileVersion.objects.filter(status=VersionStatus.PENDING).exists()
    monkeypatch.setattr(service, "copy_blocks", copy_blocks)
    now = read(on_laptop, clash)
    problem(settle(on_laptop, clash, "mine", op_id="again"), 412, "stale-precondition")
    assert settle(on_laptop, now, "mine", op_id="again").status_code == 200


@pytest.mark.parametrize("first", ["mine", "theirs", "both"])
def test_what_is_settled_is_not_settled_again(on_laptop, clash, first):
    settled = settle(on_laptop, clash, first).json()

    again = problem(settle(on_laptop, settled, "mine"), 412, "stale-precondition")
    assert again["current"] == settled


def test_a_settlement_says_what_it_has_seen(on_laptop, clash):
    problem(settle(on_laptop, clash, "mine", if_match=None), 428, "precondition-required")
    problem(settle(on_laptop, clash, "ours"), 400, "invalid-request")
    problem(settle(on_laptop, clash, "by_hand"), 400, "invalid-request")


def test_the_same_content_on_both_sides_makes_no_version(on_laptop, on_phone, clash):
    original = clash["original"]["file"]
    on_phone.edit(original, b"from the laptop")
    count = on_laptop.file(original["file_id"])["version_count"]

    assert settle(on_laptop, read(on_laptop, clash), "mine").status_code == 200
    assert on_laptop.file(original["file_id"])["version_count"] == count
    assert on_laptop.names() == ["report.txt"]
    assert on_laptop.used()[1] == 0


def test_keeping_mine_without_room_changes_nothing(alice, on_laptop, clash):
    account = alice.storage_account
    account.refresh_from_db()
    account.limit_bytes = account.used_bytes + 1
    account.save()

    problem(settle(on_laptop, clash, "mine"), 507, "quota-exceeded")
    assert read(on_laptop, clash) == clash
    assert settle(on_laptop, clash, "theirs").status_code == 200


def test_a_death_before_the_decision_leaves_the_conflict_open(on_laptop, clash, monkeypatch):
    from files.services import conflicts as service

    monkeypatch.setattr(service, "withdraw", lambda **_: None)
    monkeypatch.setattr(service, "LIFETIME", -service.LIFETIME)

    def die(*_):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(service, "verified_digest", die)
        with pytest.raises(SystemExit):
            settle(on_laptop, clash, "mine", op_id="again")
    assert read(on_laptop, clash) == clash
    assert abort_expired() == 1
    assert on_laptop.used()[1] == 0
    monkeypatch.undo()
    assert settle(on_laptop, clash, "mine", op_id="again").status_code == 200


# --- Whose it is ------------------------------------------------------------------------


def test_a_stranger_neither_sees_nor_settles(api, stranger, on_laptop, clash):
    of_stranger = Uploader(stranger)

    assert conflicts(of_stranger) == []
    problem(of_stranger.api.get(f"/conflicts/{clash['conflict_id']}"), 404, "not-found")
    for keep in ("mine", "theirs", "both"):
        problem(settle(of_stranger, clash, keep), 404, "not-found")
    assert read(on_laptop, clash) == clash


def test_who_may_only_read_sees_and_does_not_settle(bob, on_laptop, clash):
    Membership.objects.create(namespace_id=clash["namespace_id"], user=bob, role=Role.VIEWER)
    of_bob = Uploader(new_device(bob, "of bob"))

    assert only(of_bob) == clash
    for keep in ("mine", "theirs", "both"):
        problem(settle(of_bob, clash, keep), 403, "permission-denied")
    assert read(on_laptop, clash) == clash


def test_a_program_that_wants_to_know_makes_no_conflict(on_laptop, on_phone, report):
    on_phone.edit(report, b"from the phone")
    for on_conflict in (OnConflict.FAIL, OnConflict.NEW_VERSION):
        on_laptop.commit(
            on_laptop.begin(
                b"late",
                file_id=report["file_id"],
                base_version_id=report["current_version_id"],
                on_conflict=on_conflict,
            )
        )

    assert conflicts(on_laptop) == []
