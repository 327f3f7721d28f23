"""The feed: what happened since a cursor, and how a device begins."""

import hashlib
import tracemalloc
from uuid import UUID, uuid4

import pytest

from files import journal
from files.journal import Position
from files.models import Change, Folder, Membership, Namespace, Role
from tests.files.answers import problem
from tests.files.trees import put_file
from tests.people import new_device

pytestmark = pytest.mark.django_db


def pull(api, device, cursor=None, **query):
    answer = api(device).get("/changes", cursor=cursor, **query)
    assert answer.status_code == 200, answer.content
    return answer.json()


def latest(api, device):
    return api(device).get("/changes/latest").json()["cursor"]


def share(api, owner, member, role=Role.VIEWER):
    """A namespace of the owner's that somebody else can read, with a file in it."""
    namespace = Namespace.objects.create(owner=owner.user, is_root=False)
    Membership.objects.create(namespace=namespace, user=owner.user, role=Role.OWNER)
    Membership.objects.create(namespace=namespace, user=member, role=role)
    folder = namespace.folders.create(name="")
    put_file(owner, folder.pk, "shared.txt")
    return namespace


def test_the_feed_tells_everything_from_the_beginning(api, laptop, phone, root, make):
    folder = make(root, "Fotos")
    api(phone).delete(f"/folders/{folder['folder_id']}", if_match=folder["rev"])
    page = pull(api, laptop)

    assert [(entry["seq"], entry["action"]) for entry in page["entries"]] == [
        (1, "upsert"),
        (2, "upsert"),
        (3, "delete"),
    ]
    assert page["entries"][1]["item"] == folder
    assert [entry["device_id"] for entry in page["entries"]] == [
        None,
        str(laptop.pk),
        str(phone.pk),
    ]
    assert (page["has_more"], page["resets"]) == (False, [])
    assert pull(api, laptop, page["cursor"])["entries"] == []
    assert pull(api, laptop, "") == page


def test_pages_follow_each_other_without_a_gap(api, laptop, root, make):
    for index in range(5):
        make(root, f"folder {index}")
    seqs, cursor, has_more = [], None, True
    while has_more:
        page = pull(api, laptop, cursor, limit=2)
        seqs += [entry["seq"] for entry in page["entries"]]
        cursor, has_more = page["cursor"], page["has_more"]

    assert seqs == [1, 2, 3, 4, 5, 6]


def test_the_latest_cursor_is_now(api, laptop, root, make):
    cursor = latest(api, laptop)
    make(root, "a")

    assert [entry["item"]["name"] for entry in pull(api, laptop, cursor)["entries"]] == ["a"]


@pytest.mark.parametrize("cursor", ["x", "x:y:z", "ä", "\ufffd"])
def test_a_cursor_of_another_server_is_refused(api, laptop, cursor):
    problem(api(laptop).get("/changes", cursor=cursor), 400, "invalid-cursor")


def test_a_tampered_cursor_is_refused(api, laptop):
    cursor = latest(api, laptop)

    problem(api(laptop).get("/changes", cursor=cursor[:-1] + "x"), 400, "invalid-cursor")
    problem(api(laptop).post("/changes", {"cursors": [cursor, "x"]}), 400, "invalid-cursor")


def test_a_cursor_that_cannot_be_continued_is_reset(api, alice, laptop, root, make):
    make(root, "a")
    namespace_id = UUID(root["namespace_id"])
    last = Change.objects.get(namespace=namespace_id, seq=2)
    first = Change.objects.get(namespace=namespace_id, seq=1)

    def reset(seq, change_id):
        cursor = journal.encode_cursor({namespace_id: Position(seq, change_id)})
        page = pull(api, laptop, cursor)
        assert page["entries"] == []
        for entry in page["resets"]:
            assert (entry["namespace_id"], entry["mode"]) == (str(namespace_id), "merge")
        # It stays reset until the device brings the cursor of a snapshot.
        assert pull(api, laptop, page["cursor"])["resets"] == page["resets"]
        return [entry["reason"] for entry in page["resets"]]

    assert reset(2, last.change_id) == []
    assert reset(2, uuid4()) == ["other-history"]
    assert reset(3, uuid4()) == ["ahead"]
    # Compaction keeps what a device at the edge needs, and no more.
    alice.namespaces.update(oldest_seq=3)
    assert reset(2, last.change_id) == []
    assert reset(1, first.change_id) == ["too-old"]
    assert reset(0, None) == ["too-old"]
    Change.objects.all().delete()
    assert reset(2, last.change_id) == ["too-old"]


def test_a_snapshot_leads_out_of_a_reset(api, laptop, root, make):
    namespace_id = UUID(root["namespace_id"])
    lost = pull(api, laptop, journal.encode_cursor({namespace_id: Position(9, uuid4())}))
    assert lost["resets"]
    snapshot = api(laptop).get("/changes/snapshot", namespace=namespace_id).json()
    make(root, "a")

    page = api(laptop).post("/changes", {"cursors": [lost["cursor"], snapshot["cursor"]]}).json()
    assert [entry["item"]["name"] for entry in page["entries"]] == ["a"]
    assert page["resets"] == []


def test_one_cursor_covers_all_namespaces(api, alice, bob, laptop, root, make):
    desk = new_device(bob, "desk")
    shared = share(api, laptop, bob)
    make(root, "alices own")
    page = pull(api, desk)
    assert {entry["namespace_id"] for entry in page["entries"]} == {
        str(shared.pk),
        api(desk).get("/folders/root").json()["namespace_id"],
    }

    seen, cursor, has_more = [], None, True
    while has_more:
        some = pull(api, desk, cursor, limit=1)
        seen += some["entries"]
        cursor, has_more = some["cursor"], some["has_more"]
    assert seen == page["entries"]
    # Who is no member any more hears no more, whatever the cursor names.
    Membership.objects.filter(namespace=shared, user=bob).delete()
    put_file(laptop, shared.folders.get().pk, "later")
    assert pull(api, desk, cursor)["entries"] == []


def test_a_stranger_hears_nothing_even_with_my_cursor(api, laptop, stranger, root, make):
    cursor = latest(api, laptop)
    make(root, "secret")
    own = api(stranger).get("/folders/root").json()["namespace_id"]

    assert {entry["namespace_id"] for entry in pull(api, stranger, cursor)["entries"]} == {own}
    answer = api(stranger).get("/changes/snapshot", namespace=root["namespace_id"])
    problem(answer, 404, "not-found")
    answer = api(stranger).get(f"/namespaces/{root['namespace_id']}/digest")
    problem(answer, 404, "not-found")


def test_a_snapshot_has_each_live_item_once(api, laptop, root, make):
    outer = make(root, "outer")
    inner = make(outer, "inner")
    kept = put_file(laptop, root["folder_id"], "kept")
    put_file(laptop, inner["folder_id"], "goes along")
    alone = put_file(laptop, root["folder_id"], "alone")
    api(laptop).delete(f"/files/{alone.pk}", if_match=alone.rev)
    api(laptop).delete(f"/folders/{outer['folder_id']}", if_match=outer["rev"])

    for limit in (1, 2, 3, 100):
        ids, page = [], None
        while True:
            answer = api(laptop).get(
                "/changes/snapshot", namespace=root["namespace_id"], limit=limit, page=page
            )
            body = answer.json()
            ids += [item.get("file_id") or item["folder_id"] for item in body["items"]]
            page = body["next_page"]
            if page is None:
                break
        assert sorted(ids) == sorted([root["folder_id"], str(kept.pk)])


def test_a_snapshots_cursor_is_fixed_before_its_first_page(api, laptop, root, make):
    make(root, "a")
    first = api(laptop).get("/changes/snapshot", namespace=root["namespace_id"], limit=1).json()
    make(root, "while it ran")
    last = first
    while last["next_page"]:
        last = (
            api(laptop)
            .get(
                "/changes/snapshot",
                namespace=root["namespace_id"],
                limit=1,
                page=last["next_page"],
            )
            .json()
        )

    entries = pull(api, laptop, last["cursor"])["entries"]
    assert [entry["item"]["name"] for entry in entries] == ["while it ran"]


def test_a_page_of_another_snapshot_is_refused(api, laptop, stranger, root, make):
    make(root, "a")
    page = api(laptop).get("/changes/snapshot", namespace=root["namespace_id"], limit=1).json()
    theirs = api(stranger).get("/folders/root").json()["namespace_id"]
    token = page["next_page"]

    for namespace_id, wrong in ((theirs, token), (root["namespace_id"], token[:-1])):
        answer = api(stranger if namespace_id == theirs else laptop).get(
            "/changes/snapshot", namespace=namespace_id, page=wrong
        )
        problem(answer, 400, "invalid-cursor")


def test_a_snapshot_costs_the_same_however_large(
    api, laptop, root, make, django_assert_num_queries
):
    parent = root
    for index in range(10):
        parent = make(parent, f"folder {index}")
        put_file(laptop, parent["folder_id"], "file")
    api(laptop).get("/folders/root")

    # The device, the namespace, its head's change; folders and files, each with what is above.
    with django_assert_num_queries(7):
        answer = api(laptop).get("/changes/snapshot", namespace=root["namespace_id"])
    assert len(answer.json()["items"]) == 21
    # The device, its namespaces, the positions' changes, the entries.
    with django_assert_num_queries(3):
        assert len(pull(api, laptop)["entries"]) == 21


def test_the_digest_is_what_a_device_computes(api, laptop, root, make):
    folder = make(root, "a")
    file = put_file(laptop, folder["folder_id"], "b")
    where = f"/namespaces/{root['namespace_id']}/digest"

    lines = sorted(
        f"{item_id} {rev}\n"
        for item_id, rev in (
            (root["folder_id"], root["rev"]),
            (folder["folder_id"], folder["rev"]),
            (str(file.pk), file.rev),
        )
    )
    expected = {
        "namespace_id": root["namespace_id"],
        "head_seq": file.rev,
        "digest": hashlib.sha256("".join(lines).encode()).hexdigest(),
    }
    for _ in range(2):
        assert api(laptop).get(where).json() == expected
    api(laptop).delete(f"/files/{file.pk}", if_match=file.rev)
    assert api(laptop).get(where).json()["digest"] != expected["digest"]


def test_the_digest_of_a_large_tree_is_made_in_little_memory(api, laptop, root, make):
    parent = make(root, "large")
    Folder.objects.bulk_create(
        Folder(
            namespace_id=root["namespace_id"],
            parent_folder_id=parent["folder_id"],
            name=f"{index}",
            name_key=f"{index}",
        )
        for index in range(20_000)
    )
    lines = sorted(f"{pk} {rev}\n" for pk, rev in Folder.objects.values_list("pk", "rev"))
    tracemalloc.start()
    try:
        answer = api(laptop).get(f"/namespaces/{root['namespace_id']}/digest").json()
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert answer["digest"] == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert peak_bytes < 3_000_000


def test_namespaces_tell_role_and_head(api, laptop, bob, root):
    shared = share(api, laptop, bob)
    found = {item["namespace_id"]: item for item in api(laptop).get("/namespaces").json()["items"]}

    assert found[root["namespace_id"]] == {
        "namespace_id": root["namespace_id"],
        "root_folder_id": root["folder_id"],
        "is_root": True,
        "role": "owner",
        "head_seq": 1,
    }
    assert found[str(shared.pk)]["is_root"] is False
