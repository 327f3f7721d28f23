"""To the trash: one entry, and what the deleter had not seen survives."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from files.models import Change, ChangeAction, Folder
from tests.files.answers import names, problem
from tests.files.trees import begin_upload, edit_file, put_file

pytestmark = pytest.mark.django_db


def head(api, device):
    return api(device).get("/namespaces").json()["items"][0]["head_seq"]


def path_of(api, device, folder_id):
    items = api(device).get(f"/folders/{folder_id}/path").json()["items"]
    return "/".join(item["name"] for item in items)


def rev_of(api, device, folder):
    return api(device).get(f"/folders/{folder['folder_id']}").json()["rev"]


def test_a_deleted_file_is_gone_from_its_folder(api, laptop, root):
    file = put_file(laptop, root["folder_id"], "a")
    answer = api(laptop).delete(f"/files/{file.pk}", if_match=file.rev)

    assert answer.status_code == 200
    assert answer.json()["deleted_at"] is not None
    assert names(api(laptop).get("/folders/root/children")) == []
    problem(api(laptop).get(f"/files/{file.pk}"), 404, "not-found")
    problem(api(laptop).delete(f"/files/{file.pk}", if_match=file.rev + 1), 404, "not-found")


def test_a_folder_takes_all_below_it_in_one_entry(api, laptop, root, make):
    outer = make(root, "outer")
    inner = make(outer, "inner")
    file = put_file(laptop, inner["folder_id"], "a")
    before = Change.objects.count()
    answer = api(laptop).delete(f"/folders/{outer['folder_id']}", if_match=outer["rev"])

    assert answer.json() == {
        "folder_id": outer["folder_id"],
        "rev": file.rev + 1,
        "survivors": [],
    }
    assert Change.objects.count() == before + 1
    for where in (f"/folders/{inner['folder_id']}", f"/files/{file.pk}"):
        problem(api(laptop).get(where), 404, "not-found")


def test_the_name_is_free_again(api, laptop, root, make):
    first = make(root, "a")
    api(laptop).delete(f"/folders/{first['folder_id']}", if_match=first["rev"])

    assert make(root, "a")["folder_id"] != first["folder_id"]


def test_what_the_deleter_had_not_seen_survives(api, laptop, phone, root, make):
    outer = make(root, "outer")
    inner = make(outer, "inner")
    seen = put_file(laptop, inner["folder_id"], "seen")
    edited = put_file(laptop, inner["folder_id"], "edited")
    as_of_seq = head(api, laptop)
    edit_file(phone, edited)
    new = put_file(phone, outer["folder_id"], "new")
    before = head(api, laptop)

    answer = api(laptop).delete(
        f"/folders/{outer['folder_id']}", {"as_of_seq": as_of_seq}, if_match=outer["rev"]
    )

    survivors = {item["name"]: item for item in answer.json()["survivors"]}
    assert survivors.keys() == {"edited", "new"}
    assert path_of(api, phone, survivors["edited"]["parent_folder_id"]) == "/outer/inner"
    assert path_of(api, phone, survivors["new"]["parent_folder_id"]) == "/outer"
    assert api(phone).get(f"/files/{new.pk}").status_code == 200
    problem(api(phone).get(f"/files/{seen.pk}"), 404, "not-found")
    # The chain and the survivors first, the deletion last: a device that follows in this
    # order never loses sight of what survives.
    entries = list(Change.objects.filter(seq__gt=before).order_by("seq"))
    assert [entry.action for entry in entries] == [ChangeAction.UPSERT] * 4 + [ChangeAction.DELETE]
    assert str(entries[-1].item_id) == outer["folder_id"]


def test_many_survivors_cost_no_more_queries_than_one(api, laptop, phone, root, make):
    counts = []
    for name, survivors in (("one", 1), ("many", 12)):
        folder = make(root, name)
        as_of_seq = head(api, laptop)
        for index in range(survivors):
            put_file(phone, folder["folder_id"], f"{index}")
        with CaptureQueriesContext(connection) as queries:
            answer = api(laptop).delete(
                f"/folders/{folder['folder_id']}", {"as_of_seq": as_of_seq}, if_match=folder["rev"]
            )
        assert len(answer.json()["survivors"]) == survivors
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_a_folder_that_was_not_seen_survives_whole(api, laptop, phone, root, make):
    outer = make(root, "outer")
    inner = make(outer, "inner")
    old = put_file(laptop, inner["folder_id"], "old")
    as_of_seq = head(api, laptop)
    answer = api(phone).patch(
        f"/folders/{inner['folder_id']}", {"name": "renamed"}, if_match=inner["rev"]
    )
    assert answer.status_code == 200
    edit_file(phone, old)

    answer = api(laptop).delete(
        f"/folders/{outer['folder_id']}", {"as_of_seq": as_of_seq}, if_match=outer["rev"]
    )

    # The file lies below a survivor, so it needs no move of its own.
    assert [item["name"] for item in answer.json()["survivors"]] == ["renamed"]
    assert path_of(api, phone, inner["folder_id"]) == "/outer/renamed"
    assert names(api(phone).get(f"/folders/{inner['folder_id']}/children")) == ["old"]


def test_what_was_moved_in_unseen_survives(api, laptop, phone, root, make):
    outer = make(root, "outer")
    elsewhere = make(root, "elsewhere")
    file = put_file(laptop, elsewhere["folder_id"], "a")
    as_of_seq = head(api, laptop)
    api(phone).patch(
        f"/files/{file.pk}", {"parent_folder_id": outer["folder_id"]}, if_match=file.rev
    )

    api(laptop).delete(
        f"/folders/{outer['folder_id']}", {"as_of_seq": as_of_seq}, if_match=outer["rev"]
    )

    assert api(phone).get(f"/files/{file.pk}").status_code == 200


def test_a_deletion_that_arrives_late_spares_what_its_own_device_did_since(api, laptop, root, make):
    outer = make(root, "outer")
    inner = make(outer, "inner")
    put_file(laptop, inner["folder_id"], "old")
    edited = put_file(laptop, inner["folder_id"], "edited")
    as_of_seq = head(api, laptop)
    # Its request got no answer, so it went on; the request is still on its way.
    edit_file(laptop, edited)
    new = put_file(laptop, outer["folder_id"], "new")

    answer = api(laptop).delete(
        f"/folders/{outer['folder_id']}", {"as_of_seq": as_of_seq}, if_match=outer["rev"]
    )

    assert {item["file_id"] for item in answer.json()["survivors"]} == {
        str(edited.pk),
        str(new.pk),
    }
    assert api(laptop).get(f"/files/{edited.pk}").json()["deleted_at"] is None


def test_what_the_device_had_seen_and_what_left_or_was_trashed_does_not_survive(
    api, laptop, phone, root, make
):
    outer = make(root, "outer")
    mine = put_file(laptop, outer["folder_id"], "mine")
    edit_file(laptop, mine)
    left = put_file(laptop, outer["folder_id"], "left")
    trashed = put_file(laptop, outer["folder_id"], "trashed")
    as_of_seq = head(api, laptop)
    api(phone).patch(
        f"/files/{left.pk}", {"parent_folder_id": root["folder_id"]}, if_match=left.rev
    )
    api(phone).delete(f"/files/{trashed.pk}", if_match=trashed.rev)

    answer = api(laptop).delete(
        f"/folders/{outer['folder_id']}", {"as_of_seq": as_of_seq}, if_match=outer["rev"]
    )

    assert answer.json()["survivors"] == []
    assert names(api(laptop).get("/folders/root/children")) == ["left"]
    problem(api(laptop).get(f"/files/{mine.pk}"), 404, "not-found")


def test_an_upload_that_was_only_begun_does_not_survive(api, laptop, phone, root, make):
    outer = make(root, "outer")
    begin_upload(phone, Folder.objects.get(pk=outer["folder_id"]), "soon", size_bytes=5)
    answer = api(laptop).delete(
        f"/folders/{outer['folder_id']}", {"as_of_seq": outer["rev"]}, if_match=outer["rev"]
    )

    assert answer.json()["survivors"] == []


@pytest.mark.parametrize("as_of_seq", [0, 999])
def test_a_seq_outside_the_journal_is_refused(api, alice, laptop, root, make, as_of_seq):
    outer = make(root, "outer")
    alice.namespaces.update(oldest_seq=2)
    Change.objects.filter(seq=1).delete()
    answer = api(laptop).delete(
        f"/folders/{outer['folder_id']}", {"as_of_seq": as_of_seq}, if_match=outer["rev"]
    )

    assert list(problem(answer, 400, "invalid-request")["errors"]) == ["as_of_seq"]
    assert names(api(laptop).get("/folders/root/children")) == ["outer"]


def test_a_stranger_deletes_nothing(api, laptop, stranger, root):
    file = put_file(laptop, root["folder_id"], "a")

    problem(api(stranger).delete(f"/files/{file.pk}", if_match=file.rev), 404, "not-found")
    assert names(api(laptop).get("/folders/root/children")) == ["a"]
