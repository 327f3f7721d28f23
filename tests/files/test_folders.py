"""Folders through the API: made, read, listed, renamed, moved."""

import base64
import json
from uuid import uuid4

import pytest
from django.db import connection

from files.models import Change, File, Folder, Membership, Namespace, Role
from tests.files.answers import names, problem
from tests.files.trees import put_file
from tests.people import new_device

pytestmark = pytest.mark.django_db


def test_a_folder_is_made_and_read(api, laptop, root):
    answer = api(laptop).post("/folders", {"parent_folder_id": root["folder_id"], "name": "Fotos"})

    assert answer.status_code == 201
    folder = answer.json()
    assert folder["name"] == "Fotos"
    assert folder["parent_folder_id"] == root["folder_id"]
    assert answer["ETag"] == f'"{folder["rev"]}"'
    assert api(laptop).get(f"/folders/{folder['folder_id']}").json() == folder


def test_a_client_may_choose_the_id(api, laptop, root):
    chosen = str(uuid4())
    body = {"parent_folder_id": root["folder_id"], "name": "Fotos", "folder_id": chosen}

    assert api(laptop).post("/folders", body).json()["folder_id"] == chosen


@pytest.mark.parametrize("taken_by", ["me", "a stranger", "a file"])
def test_an_id_in_use_is_refused(api, laptop, stranger, root, taken_by):
    if taken_by == "a file":
        used = str(put_file(laptop, root["folder_id"], "a").pk)
    else:
        used = (
            api(laptop if taken_by == "me" else stranger).get("/folders/root").json()["folder_id"]
        )
    body = {"parent_folder_id": root["folder_id"], "name": "Fotos", "folder_id": used}

    assert (
        "folder_id" in problem(api(laptop).post("/folders", body), 400, "invalid-request")["errors"]
    )


def test_folders_with_one_name_are_one_folder(api, laptop, phone, root, make):
    first = make(root, "Fotos")
    again = api(phone).post("/folders", {"parent_folder_id": root["folder_id"], "name": "fotos"})

    assert again.status_code == 200
    assert again.json() == first


def test_a_name_that_a_file_has_is_taken(api, laptop, root):
    file = put_file(laptop, root["folder_id"], "notes")
    answer = api(laptop).post("/folders", {"parent_folder_id": root["folder_id"], "name": "NOTES"})

    refused = problem(answer, 409, "name-taken")
    assert (refused["item_id"], refused["item_type"]) == (str(file.pk), "file")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\0b", "x" * 256, "ä" * 128, "\ud800", "a\udfff"]
)
def test_names_that_no_system_could_keep_are_refused(api, laptop, root, name):
    body = {"parent_folder_id": root["folder_id"], "name": name}

    problem(api(laptop).post("/folders", body), 400, "invalid-name")
    assert names(api(laptop).get("/folders/root/children")) == []


@pytest.mark.parametrize(
    "name", [" ", "x" * 255, "ä" * 127, "con", "a\nb", "a:b*?", "…", ".a", "e\u0301"]
)
def test_every_other_name_is_kept_exactly(api, laptop, root, name):
    body = {"parent_folder_id": root["folder_id"], "name": name}

    assert api(laptop).post("/folders", body).json()["name"] == name
    assert names(api(laptop).get("/folders/root/children")) == [name]


def test_a_folder_made_below_a_trashed_one_gets_a_new_chain(api, laptop, phone, root, make):
    outer = make(root, "outer")
    inner = make(outer, "inner")
    api(phone).delete(f"/folders/{outer['folder_id']}", if_match=outer["rev"])

    answer = api(laptop).post("/folders", {"parent_folder_id": inner["folder_id"], "name": "new"})

    assert answer.status_code == 201
    line = api(laptop).get(f"/folders/{answer.json()['folder_id']}/path").json()["items"]
    assert [folder["name"] for folder in line] == ["", "outer", "inner", "new"]
    assert line[1]["folder_id"] != outer["folder_id"]
    # The next one below the same trashed folder finds the chain.
    other = api(laptop).post("/folders", {"parent_folder_id": inner["folder_id"], "name": "two"})
    assert other.json()["parent_folder_id"] == line[2]["folder_id"]


def test_a_folder_is_renamed_and_moved(api, laptop, root, make):
    one, two = make(root, "one"), make(root, "two")
    answer = api(laptop).patch(
        f"/folders/{one['folder_id']}",
        {"name": "uno", "parent_folder_id": two["folder_id"]},
        if_match=one["rev"],
    )

    assert answer.status_code == 200
    moved = answer.json()
    assert (moved["name"], moved["parent_folder_id"]) == ("uno", two["folder_id"])
    assert moved["rev"] == two["rev"] + 1
    assert answer["ETag"] == f'"{moved["rev"]}"'
    assert names(api(laptop).get(f"/folders/{two['folder_id']}/children")) == ["uno"]


def test_only_the_case_of_a_name_may_change(api, laptop, root, make):
    folder = make(root, "fotos")
    answer = api(laptop).patch(
        f"/folders/{folder['folder_id']}", {"name": "FOTOS"}, if_match=folder["rev"]
    )

    assert answer.json()["name"] == "FOTOS"


def test_nothing_new_writes_nothing(api, laptop, root, make):
    folder = make(root, "fotos")
    answer = api(laptop).patch(
        f"/folders/{folder['folder_id']}", {"name": "fotos"}, if_match=folder["rev"]
    )

    assert answer.json() == folder


def test_a_change_needs_the_revision(api, laptop, root, make):
    folder = make(root, "fotos")
    where = f"/folders/{folder['folder_id']}"

    problem(api(laptop).patch(where, {"name": "a"}), 428, "precondition-required")
    problem(api(laptop).delete(where), 428, "precondition-required")
    stale = problem(
        api(laptop).patch(where, {"name": "a"}, if_match=folder["rev"] - 1),
        412,
        "stale-precondition",
    )
    assert stale["current"] == folder
    problem(api(laptop).delete(where, if_match=99), 412, "stale-precondition")
    for wrong in ("*", 'W/"1"', "-1", "1e3", '"٣"', "9" * 30):
        answer = api(laptop).patch(
            where, {"name": "a"}, headers={"if-match": wrong.encode().decode("latin-1")}
        )
        problem(answer, 400, "invalid-request")
    assert api(laptop).get(where).json() == folder


def test_a_taken_name_is_refused_wherever_it_is(api, laptop, root, make):
    one, two = make(root, "one"), make(root, "two")
    make(two, "ONE")
    put_file(laptop, root["folder_id"], "file")
    where = f"/folders/{one['folder_id']}"

    for body in (
        {"name": "Two"},
        {"name": "FILE"},
        {"parent_folder_id": two["folder_id"]},
    ):
        problem(api(laptop).patch(where, body, if_match=one["rev"]), 409, "name-taken")


def test_a_folder_cannot_move_into_itself(api, laptop, root, make):
    outer = make(root, "outer")
    middle = make(outer, "middle")
    inner = make(middle, "inner")
    where = f"/folders/{outer['folder_id']}"

    for target in (outer, middle, inner):
        answer = api(laptop).patch(
            where, {"parent_folder_id": target["folder_id"]}, if_match=outer["rev"]
        )
        problem(answer, 409, "move-into-itself")


def test_a_root_stays_as_it_is(api, laptop, root, make):
    folder = make(root, "a")

    for body in ({"name": "b"}, {"parent_folder_id": folder["folder_id"]}):
        problem(
            api(laptop).patch("/folders/root", body, if_match=root["rev"]), 400, "invalid-request"
        )
    problem(api(laptop).delete("/folders/root", if_match=root["rev"]), 400, "invalid-request")


def test_a_folder_does_not_leave_its_namespace(api, alice, laptop, root, make):
    folder = make(root, "a")
    share = Namespace.objects.create(owner=alice, is_root=False)
    Membership.objects.create(namespace=share, user=alice, role=Role.OWNER)
    other = share.folders.create(name="")
    answer = api(laptop).patch(
        f"/folders/{folder['folder_id']}", {"parent_folder_id": other.pk}, if_match=folder["rev"]
    )

    problem(answer, 400, "invalid-request")


def test_a_stranger_finds_nothing(api, laptop, stranger, root, make):
    folder = make(root, "secret")
    own = api(stranger).get("/folders/root").json()
    mine = {"parent_folder_id": own["folder_id"], "name": "mine"}
    mine = api(stranger).post("/folders", mine).json()
    where = f"/folders/{folder['folder_id']}"
    body = {"parent_folder_id": folder["folder_id"], "name": "x"}

    for answer in (
        api(stranger).get(where),
        api(stranger).get(f"{where}/children"),
        api(stranger).get(f"{where}/path"),
        api(stranger).patch(where, {"name": "x"}, if_match=folder["rev"]),
        api(stranger).delete(where, if_match=folder["rev"]),
        api(stranger).post("/folders", body),
        # Neither does what is theirs go to where they cannot look.
        api(stranger).patch(
            f"/folders/{mine['folder_id']}",
            {"parent_folder_id": folder["folder_id"]},
            if_match=mine["rev"],
        ),
    ):
        assert problem(answer, 404, "not-found")["detail"] == ""
    assert api(laptop).get(where).json() == folder


def test_a_viewer_reads_and_does_not_write(api, laptop, bob, root, make):
    folder = make(root, "shared")
    Membership.objects.create(namespace_id=root["namespace_id"], user=bob, role=Role.VIEWER)
    viewer = new_device(bob, "desk")
    where = f"/folders/{folder['folder_id']}"

    assert api(viewer).get(where).json() == folder
    for answer in (
        api(viewer).patch(where, {"name": "x"}, if_match=folder["rev"]),
        api(viewer).delete(where, if_match=folder["rev"]),
        api(viewer).post("/folders", {"parent_folder_id": folder["folder_id"], "name": "x"}),
    ):
        problem(answer, 403, "permission-denied")


def test_folders_come_before_files_in_every_order(api, laptop, root, make):
    for name in ("b", "a", "C"):
        make(root, name)
    for name, size_bytes in (("z.txt", 1), ("Y.txt", 3), ("x.txt", 2)):
        put_file(laptop, root["folder_id"], name, size_bytes=size_bytes)

    def listed(**query):
        return names(api(laptop).get("/folders/root/children", **query))

    assert listed() == ["a", "b", "C", "x.txt", "Y.txt", "z.txt"]
    assert listed(order="desc") == ["C", "b", "a", "z.txt", "Y.txt", "x.txt"]
    assert listed(sort="size") == ["a", "b", "C", "z.txt", "x.txt", "Y.txt"]
    assert listed(sort="size", order="desc") == ["C", "b", "a", "Y.txt", "x.txt", "z.txt"]
    assert listed(sort="modified") == ["b", "a", "C", "z.txt", "Y.txt", "x.txt"]
    assert listed(sort="modified", order="desc") == ["C", "a", "b", "x.txt", "Y.txt", "z.txt"]


@pytest.mark.parametrize("sort", ["name", "modified", "size"])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_of_any_size_give_the_same_list(api, laptop, root, make, sort, order):
    for index in range(4):
        make(root, f"folder {index}")
        put_file(laptop, root["folder_id"], f"file {index}", size_bytes=index // 2)
    whole = names(api(laptop).get("/folders/root/children", sort=sort, order=order))
    assert len(whole) == 8

    for limit in (1, 3, 4, 7, 8):
        seen, cursor = [], None
        while True:
            answer = api(laptop).get(
                "/folders/root/children", sort=sort, order=order, limit=limit, cursor=cursor
            )
            page = answer.json()
            seen += names(answer)
            cursor = page["next_cursor"]
            assert len(page["items"]) == limit or cursor is None
            if cursor is None:
                break
        assert seen == whole


def test_what_stays_is_seen_once_although_others_come_and_go(api, laptop, root, make):
    for name in ("b", "d", "f"):
        make(root, name)
    first = api(laptop).get("/folders/root/children", limit=2).json()
    make(root, "a")
    make(root, "e")
    second = api(laptop).get("/folders/root/children", limit=9, cursor=first["next_cursor"])

    assert names(second) == ["e", "f"]


def unsigned(position):
    """A cursor as somebody would make it by hand."""
    text = position if isinstance(position, str) else json.dumps(position)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "\0",
        "ä",
        unsigned({}),
        unsigned(["folder", 1, "x"]),
        unsigned("[" * 3_000),
        unsigned(["file", "\ud800", "0" * 32]),
        unsigned(["file", "0001-01-01T00:00:00+14:00", "0" * 32]),
        unsigned(["file", 10**30, "0" * 32]),
    ],
)
@pytest.mark.parametrize("path", ["/folders/root/children", "/trash", "/files/{}/versions"])
def test_a_cursor_of_nobodys_is_refused(api, laptop, root, path, cursor):
    file = put_file(laptop, root["folder_id"], "file")

    for sort in ("name", "modified", "size"):
        answer = api(laptop).get(path.format(file.pk), cursor=cursor, sort=sort)
        assert answer.status_code == 400
        assert answer.json()["code"] in ("invalid-cursor", "invalid-request")


def test_a_cursor_is_good_for_its_own_list_alone(api, laptop, root, make):
    for name in ("a", "b", "c"):
        make(root, name)
    cursor = api(laptop).get("/folders/root/children", limit=1).json()["next_cursor"]

    assert names(api(laptop).get("/folders/root/children", cursor=cursor)) == ["b", "c"]
    for query in ({"sort": "modified"}, {"order": "desc"}):
        problem(
            api(laptop).get("/folders/root/children", cursor=cursor, **query), 400, "invalid-cursor"
        )
    problem(api(laptop).get("/trash", cursor=cursor), 400, "invalid-cursor")


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "x", "1e9", "9" * 400])
def test_a_page_has_its_bounds(api, laptop, root, limit):
    refused = problem(
        api(laptop).get("/folders/root/children", limit=limit), 400, "invalid-request"
    )

    assert list(refused["errors"]) == ["limit"]


def test_a_listing_costs_the_same_however_long(api, laptop, root, make, django_assert_num_queries):
    top = make(root, "top")
    deep = make(top, "deep")
    for index in range(30):
        make(deep, f"folder {index}")
        put_file(laptop, deep["folder_id"], f"file {index}")
    api(laptop).get("/folders/root")  # notes when the device was seen

    # The device, the folder with the caller's role, its ancestors, folders, files.
    with django_assert_num_queries(5):
        assert len(names(api(laptop).get(f"/folders/{deep['folder_id']}/children"))) == 60
    with django_assert_num_queries(3):
        assert len(api(laptop).get(f"/folders/{deep['folder_id']}").json()) == 9


def test_a_rename_writes_one_row_whatever_lies_below(
    api, laptop, root, make, django_assert_max_num_queries
):
    top = make(root, "top")
    for index in range(50):
        put_file(laptop, top["folder_id"], f"file {index}")
    before = Change.objects.count()

    with django_assert_max_num_queries(25):
        moved = api(laptop).patch(
            f"/folders/{top['folder_id']}", {"name": "other"}, if_match=top["rev"]
        )
    with django_assert_max_num_queries(25):
        api(laptop).delete(f"/folders/{top['folder_id']}", if_match=moved.json()["rev"])

    assert Change.objects.count() == before + 2


@pytest.mark.parametrize("kind", ["folders", "files"])
def test_an_item_that_crosses_before_its_lock_is_left_alone(api, laptop, root, make, kind, alice):
    """It is in another namespace by now, whose journal has to tell of what happens to it."""
    folder = make(root, "folder")
    file = put_file(laptop, root["folder_id"], "file")
    shared = Namespace.objects.create(owner=alice, is_root=False)
    Membership.objects.create(namespace=shared, user=alice, role=Role.OWNER)
    top = Folder.objects.create(namespace=shared, parent_folder=None)
    rows, item_id, rev = {
        "folders": (Folder.objects, folder["folder_id"], folder["rev"]),
        "files": (File.objects, file.pk, file.rev),
    }[kind]

    def cross_before_the_lock(carry_out, sql, params, many, context):
        if 'FROM "files_namespace" WHERE "files_namespace"."namespace_id" IN' in sql:
            rows.filter(pk=item_id).update(namespace=shared, parent_folder=top)
        return carry_out(sql, params, many, context)

    with connection.execute_wrapper(cross_before_the_lock):
        answer = api(laptop).patch(f"/{kind}/{item_id}", {"name": "x"}, if_match=rev)

    problem(answer, 503, "service-unavailable")
    assert not Change.objects.filter(item__name="x").exists()
    root_now = Namespace.objects.get(pk=root["namespace_id"])
    assert root_now.head_seq == file.rev


def test_who_has_a_name_is_told_before_it_is_taken(api, laptop, stranger, root):
    mine = api(laptop)
    album = mine.post("/folders", {"parent_folder_id": root["folder_id"], "name": "Album"}).json()
    file = put_file(laptop, album["folder_id"], "Straße.txt")
    gone = mine.post("/folders", {"parent_folder_id": root["folder_id"], "name": "Gone"}).json()
    mine.delete(f"/folders/{gone['folder_id']}", {}, if_match=gone["rev"])

    def ask(who, *places):
        items = [{"parent_folder_id": parent, "name": name} for parent, name in places]
        return api(who).post("/nodes/lookup", {"items": items}).json()["items"]

    found = ask(
        laptop,
        (album["folder_id"], "STRAßE.TXT"),
        (album["folder_id"], "Strasse.txt"),
        (root["folder_id"], "album"),
        (root["folder_id"], "Gone"),
        (gone["folder_id"], "a"),
        (root["folder_id"], "a/b"),
        (str(uuid4()), "a"),
    )
    assert [each["status"] for each in found] == [200, 200, 200, 200, 404, 400, 404]
    assert found[0]["item"]["file_id"] == str(file.pk)
    assert [each["item"] and each["item"]["type"] for each in found[:4]] == [
        "file",
        None,
        "folder",
        None,
    ]
    assert found[5]["problem"]["code"] == "invalid-name"
    # To a stranger it is as if none of these folders were.
    hidden = ask(stranger, (album["folder_id"], "Straße.txt"))
    assert hidden[0]["status"] == 404


def test_many_names_are_looked_up_with_few_queries(
    api, laptop, root, django_assert_max_num_queries
):
    items = [{"parent_folder_id": root["folder_id"], "name": f"file {n}"} for n in range(1_000)]
    put_file(laptop, root["folder_id"], "file 999")
    with django_assert_max_num_queries(10):
        found = api(laptop).post("/nodes/lookup", {"items": items}).json()["items"]
    assert [each["item"] is not None for each in found] == [False] * 999 + [True]
    too_many = api(laptop).post("/nodes/lookup", {"items": items + items[:1]})
    assert too_many.status_code == 400
