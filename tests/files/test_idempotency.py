"""A repeated write is answered like the first."""

from datetime import timedelta

import pytest
from django.db import IntegrityError
from django.utils import timezone

from drive_project.common.errors import IdempotencyKeyReused, NameTaken
from files import idempotency
from files.idempotency import Answer
from files.models import Folder, IdempotencyRecord
from tests.files.answers import names, problem
from tests.files.trees import put_file

pytestmark = pytest.mark.django_db


def test_every_write_is_answered_once(api, laptop, root, make):
    """Each door, tried twice: the second time the world is another one already."""
    folder = make(root, "folder")
    file = put_file(laptop, root["folder_id"], "file")
    doomed = put_file(laptop, root["folder_id"], "doomed")
    api(laptop).delete(f"/files/{doomed.pk}", if_match=doomed.rev)
    device = f"/devices/{laptop.pk}"
    here, there = f"/files/{file.pk}", f"/folders/{folder['folder_id']}"
    rev = folder["rev"]
    client = api(laptop)
    for method, path, body, if_match in (
        ("post", "/folders", {"parent_folder_id": root["folder_id"], "name": "new"}, None),
        ("patch", there, {"name": "renamed"}, rev),
        ("patch", here, {"name": "renamed.txt"}, file.rev),
        ("delete", here, {}, None),
        ("post", f"/trash/{file.pk}/restore", {}, None),
        ("delete", there, {"as_of_seq": rev}, None),
        ("post", "/links", {"file_id": str(file.pk)}, None),
        ("delete", f"/trash/{doomed.pk}", {}, None),
        ("delete", "/trash", {}, None),
        ("patch", device, {"name": "other"}, None),
    ):
        kind = path.split("/")[1]
        if method == "delete" and kind in ("files", "folders"):
            if_match = client.get(path).json()["rev"]
        options = {} if if_match is None else {"if_match": if_match}
        body = {**body, "op_id": f"{method} {path}"}
        first = getattr(client, method)(path, body, **options)
        again = getattr(client, method)(path, body, **options)

        assert 200 <= first.status_code < 300, (method, path, first.content)
        assert again.status_code == first.status_code, (method, path, again.content)
        # PostgreSQL keeps JSON without the order of its fields.
        assert (again.content and again.json()) == (first.content and first.json())
    for link_id in [item["link_id"] for item in client.get("/links").json()["items"]]:
        for _ in range(2):
            assert client.delete(f"/links/{link_id}", {"op_id": "revoke"}).status_code == 204


def test_the_header_and_the_field_are_the_same_thing(api, laptop, root):
    body = {"parent_folder_id": root["folder_id"], "name": "a"}
    first = api(laptop).post("/folders", body, headers={"idempotency-key": "k"})

    assert api(laptop).post("/folders", {**body, "op_id": "k"}).json() == first.json()
    answer = api(laptop).post("/folders", {**body, "op_id": "k"}, headers={"idempotency-key": "l"})
    problem(answer, 400, "invalid-request")


def test_a_key_stands_for_one_request(api, laptop, root, make):
    folder = make(root, "a")
    where = f"/folders/{folder['folder_id']}"
    body = {"parent_folder_id": root["folder_id"], "name": "b", "op_id": "k"}
    api(laptop).post("/folders", body)

    for answer in (
        api(laptop).post("/folders", {**body, "name": "c"}),
        api(laptop).patch(where, {"name": "c", "op_id": "k"}, if_match=folder["rev"]),
        api(laptop).delete(where, {"op_id": "k"}, if_match=folder["rev"]),
    ):
        problem(answer, 422, "idempotency-key-reused")
    assert names(api(laptop).get("/folders/root/children")) == ["a", "b"]


def test_the_same_key_with_another_revision_is_another_request(api, laptop, root, make):
    folder = make(root, "a")
    where = f"/folders/{folder['folder_id']}"
    body = {"name": "b", "op_id": "k"}
    api(laptop).patch(where, body, if_match=folder["rev"])

    answer = api(laptop).patch(where, body, if_match=folder["rev"] + 1)
    problem(answer, 422, "idempotency-key-reused")


def test_devices_do_not_share_keys(api, laptop, phone, root):
    body = {"parent_folder_id": root["folder_id"], "op_id": "k"}
    api(laptop).post("/folders", {**body, "name": "a"})

    assert api(phone).post("/folders", {**body, "name": "b"}).status_code == 201


def test_a_refusal_is_not_remembered(api, laptop, root):
    file = put_file(laptop, root["folder_id"], "a")
    body = {"parent_folder_id": root["folder_id"], "name": "a", "op_id": "k"}
    problem(api(laptop).post("/folders", body), 409, "name-taken")
    api(laptop).delete(f"/files/{file.pk}", if_match=file.rev)

    assert api(laptop).post("/folders", body).status_code == 201


@pytest.mark.parametrize("key", ["x" * 105, "a\0", "\ud800"])
def test_a_key_has_its_bounds(api, laptop, root, key):
    body = {"parent_folder_id": root["folder_id"], "name": "a", "op_id": key}

    assert "op_id" in problem(api(laptop).post("/folders", body), 400, "invalid-request")["errors"]


def test_the_longest_key_serves_every_item_of_a_batch(api, laptop, root):
    """The header of a batch stands for KEY:INDEX, and the item may come again alone."""
    key = "k" * 100
    body = {"parent_folder_id": root["folder_id"], "name": "a"}
    items = [None] * 999 + [{"op": "create_folder", **body}]
    batch = {"path": "/batch", "body": {"items": items}, "headers": {"idempotency-key": key}}
    first = api(laptop).post(**batch).json()["items"]

    assert {result["status"] for result in first[:999]} == {400}
    assert first[999]["status"] == 201
    assert api(laptop).post(**batch).json()["items"] == first
    alone = api(laptop).post("/folders", body, headers={"idempotency-key": f"{key}:999"})
    assert (alone.status_code, alone.json()) == (201, first[999]["item"])


@pytest.mark.parametrize("key", ["k" * 101, "a\x7f"])
@pytest.mark.parametrize("path", ["/batch", "/files/upload/init"])
def test_a_batch_refuses_a_header_that_is_no_key(api, laptop, path, key):
    answer = api(laptop).post(path, {"items": []}, headers={"idempotency-key": key})

    problem(answer, 400, "invalid-request")


@pytest.mark.parametrize("refusal", [NameTaken, IntegrityError])
def test_the_slower_twin_answers_like_the_faster(laptop, refusal):
    """Both found no record; one has completed while the other was at work."""

    def write_while_the_twin_completes():
        idempotency.remember(laptop, "k", ["write"], 201, {"by": "the twin"})
        twins.append(IdempotencyRecord.objects.get())
        raise refusal

    twins: list[IdempotencyRecord] = []

    def once():
        return idempotency.once(
            device=laptop, key="k", request=["write"], write=write_while_the_twin_completes
        )

    # Our own transaction is rolled back, so in this test the twin's record goes too; put it
    # back in the moment between, as the other process's commit would.
    real = idempotency.remembered
    looks = []

    def look(device, key, request):
        looks.append(key)
        if len(looks) == 2:
            twins[0].save(force_insert=True)
        return real(device, key, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(idempotency, "remembered", look)
        assert once() == Answer(201, {"by": "the twin"})


def test_a_key_is_forgotten_after_its_time(api, laptop, root):
    body = {"parent_folder_id": root["folder_id"], "name": "a", "op_id": "k"}
    api(laptop).post("/folders", body)
    idempotency.forget_before()
    assert IdempotencyRecord.objects.count() == 1

    long_ago = timezone.now() - idempotency.KEPT_FOR - timedelta(minutes=1)
    IdempotencyRecord.objects.update(created_at=long_ago)
    assert idempotency.forget_before() == 1
    api(laptop).post("/folders", {**body, "name": "b"})
    assert Folder.objects.filter(name="b").exists()


def test_a_request_that_is_no_text_has_a_digest(laptop):
    digest = idempotency.request_digest(["a", {"b": laptop.pk, "c": "\ud800"}])

    assert len(digest) == 64
    idempotency.remember(laptop, "k", ["a"], 200, {})
    with pytest.raises(IdempotencyKeyReused):
        idempotency.remembered(laptop, "k", ["b"])
