"""What happened, from the journal: meanings, filters, pages, and whom it is told."""

from uuid import uuid4

import pytest

from files.models import DeviceKind, Membership, Role
from files.queries import activity_of, own_root
from tests.files.answers import problem
from tests.files.trees import put_file
from tests.files.uploading import Uploader
from tests.people import new_device

pytestmark = pytest.mark.django_db


@pytest.fixture
def on_laptop(laptop):
    return Uploader(laptop)


def told(api, device, **query):
    """The events as (what, path, old path), the oldest first."""
    answer = api(device).get("/activity", **query)
    assert answer.status_code == 200, answer.json()
    return [(event["what"], event["path"], event["old_path"]) for event in answer.json()["items"]][
        ::-1
    ]


def test_each_change_is_told_by_what_it_means(api, laptop, phone, root, on_laptop):
    mine = api(laptop)
    album = mine.post("/folders", {"parent_folder_id": root["folder_id"], "name": "Album"}).json()
    file = on_laptop.put(b"one", name="a.txt")["file"]
    file = on_laptop.edit(file, b"two")["file"]
    path = f"/files/{file['file_id']}"
    file = mine.patch(path, {"name": "b.txt"}, if_match=file["rev"]).json()
    file = mine.patch(path, {"parent_folder_id": album["folder_id"]}, if_match=file["rev"]).json()
    file = mine.patch(path, {"executable": True}, if_match=file["rev"]).json()
    file = api(phone).delete(path, {}, if_match=file["rev"]).json()
    mine.post(f"/trash/{file['file_id']}/restore", {})

    assert told(api, phone) == [
        ("added", "/Album", None),
        ("added", "/a.txt", None),
        ("edited", "/a.txt", None),
        ("renamed", "/b.txt", "/a.txt"),
        ("moved", "/Album/b.txt", "/b.txt"),
        ("changed", "/Album/b.txt", None),
        ("deleted", "/Album/b.txt", None),
        ("restored", "/Album/b.txt", None),
    ]
    [_, deleted, *_] = api(phone).get("/activity").json()["items"]
    assert (deleted["device"], deleted["device_id"]) == ("phone", str(phone.pk))
    assert deleted["author"] == "alice@example.com"
    assert deleted["item"]["file_id"] == file["file_id"]


def test_it_is_narrowed_to_a_file_a_folder_and_a_device(api, laptop, phone, root, on_laptop):
    mine = api(laptop)
    album = mine.post("/folders", {"parent_folder_id": root["folder_id"], "name": "Album"}).json()
    may = mine.post("/folders", {"parent_folder_id": album["folder_id"], "name": "May"}).json()
    deep = on_laptop.put(b"1", name="deep.txt", parent_folder_id=may["folder_id"])["file"]
    on_laptop.put(b"2", name="other.txt")
    api(phone).delete(f"/files/{deep['file_id']}", {}, if_match=deep["rev"])

    assert told(api, laptop, file_id=deep["file_id"]) == [
        ("added", "/Album/May/deep.txt", None),
        ("deleted", "/Album/May/deep.txt", None),
    ]
    below = [path for _, path, _ in told(api, laptop, folder_id=album["folder_id"])]
    assert below == ["/Album", "/Album/May", "/Album/May/deep.txt", "/Album/May/deep.txt"]
    assert told(api, laptop, device_id=phone.pk) == [("deleted", "/Album/May/deep.txt", None)]
    assert told(api, laptop, file_id=uuid4()) == []
    problem(api(laptop).get("/activity", folder_id=uuid4()), 404, "not-found")
    problem(api(laptop).get("/activity", device_id="x"), 400, "invalid-request")


def test_pages_follow_one_another_whatever_happens_meanwhile(api, laptop, root):
    for number in range(25):
        put_file(laptop, root["folder_id"], f"{number:02}")
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = api(laptop).get("/activity", limit=10, cursor=cursor).json()
        seen += [event["path"] for event in page["items"]]
        cursor = page["next_cursor"]
        put_file(laptop, root["folder_id"], f"meanwhile {len(seen)}")

    assert seen == [f"/{number:02}" for number in reversed(range(25))]
    problem(api(laptop).get("/activity", cursor="made up"), 400, "invalid-cursor")


def test_nobody_learns_what_is_not_theirs(api, laptop, stranger, mallory, root):
    file = put_file(laptop, root["folder_id"], "secret.txt")

    assert told(api, stranger) == []
    assert told(api, stranger, file_id=file.pk) == []
    assert told(api, stranger, device_id=laptop.pk) == []
    problem(api(stranger).get("/activity", folder_id=root["folder_id"]), 404, "not-found")
    assert api(None).get("/activity").status_code == 401

    member = Membership.objects.create(
        namespace_id=root["namespace_id"], user=mallory, role=Role.VIEWER
    )
    assert [path for _, path, _ in told(api, stranger)] == ["/secret.txt"]
    member.delete()
    assert told(api, stranger) == []


def test_a_page_costs_the_same_however_much_there_is(
    alice, laptop, root, django_assert_max_num_queries
):
    device = new_device(alice, "script", DeviceKind.TOKEN)
    for number in range(60):
        put_file(device, own_root(alice).pk, f"file {number}")
    with django_assert_max_num_queries(6):
        page = activity_of(alice, limit=50)
    assert len(page.items) == 50
