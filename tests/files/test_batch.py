"""Many operations in one request."""

from uuid import uuid4

import pytest

from files.models import Change, Folder, IdempotencyRecord
from files.services import batches
from tests.files.answers import names, problem
from tests.files.trees import edit_file, put_file

pytestmark = pytest.mark.django_db


def run(api, device, *items, **options):
    answer = api(device).post("/batch", {"items": list(items)}, **options)
    assert answer.status_code == 200, answer.content
    results = answer.json()["items"]
    assert len(results) == len(items)
    return results


def test_operations_are_carried_out_in_order(api, laptop, root):
    one, two = str(uuid4()), str(uuid4())
    file = put_file(laptop, root["folder_id"], "file")
    made, inner, moved, updated, gone = run(
        api,
        laptop,
        {
            "op": "create_folder",
            "folder_id": one,
            "parent_folder_id": root["folder_id"],
            "name": "a",
        },
        {"op": "create_folder", "folder_id": two, "parent_folder_id": one, "name": "b"},
        {
            "op": "update_file",
            "file_id": str(file.pk),
            "if_match": file.rev,
            "parent_folder_id": two,
        },
        {"op": "update_folder", "folder_id": one, "if_match": file.rev + 1, "name": "c"},
        {"op": "delete_file", "file_id": str(file.pk), "if_match": file.rev + 3},
    )

    assert [made["status"], inner["status"], moved["status"]] == [201, 201, 200]
    assert moved["item"]["parent_folder_id"] == two
    assert updated["item"]["name"] == "c"
    assert gone["item"]["deleted_at"] is not None
    revs = [result["item"]["rev"] for result in (made, inner, moved, updated, gone)]
    assert revs == list(range(file.rev + 1, file.rev + 6))


def test_a_refused_item_leaves_no_gap_and_changes_nothing_for_the_others(api, laptop, root, make):
    taken = make(root, "taken")
    put_file(laptop, root["folder_id"], "file")
    body = {"op": "create_folder", "parent_folder_id": root["folder_id"]}
    update = {"op": "update_folder", "folder_id": taken["folder_id"]}
    results = run(
        api,
        laptop,
        {**body, "name": "one"},
        {**body, "name": "file"},
        {**body, "name": "a/b"},
        {**body, "name": "two", "colour": "red"},
        {**update, "name": "x"},
        {**update, "name": "x", "if_match": 99},
        {"op": "fly"},
        {"op": ["update_folder"]},
        17,
        {**body, "parent_folder_id": str(uuid4()), "name": "nowhere"},
        {**body, "name": "two"},
    )

    codes = [result.get("problem", {}).get("code") for result in results]
    assert codes == [
        None,
        "name-taken",
        "invalid-name",
        "invalid-request",
        "precondition-required",
        "stale-precondition",
        "invalid-request",
        "invalid-request",
        "invalid-request",
        "not-found",
        None,
    ]
    for result in results:
        assert result["status"] == result.get("problem", {}).get("status", 201)
    assert results[5]["problem"]["current"] == taken
    assert results[-1]["item"]["rev"] == results[0]["item"]["rev"] + 1
    seqs = list(Change.objects.filter(namespace=root["namespace_id"]).values_list("seq", flat=True))
    assert sorted(seqs) == list(range(1, len(seqs) + 1))


def test_deleting_a_folder_tells_what_survived(api, laptop, phone, root, make):
    folder = make(root, "a")
    file = put_file(laptop, folder["folder_id"], "file")
    edit_file(phone, file)
    (result,) = run(
        api,
        laptop,
        {
            "op": "delete_folder",
            "folder_id": folder["folder_id"],
            "if_match": folder["rev"],
            "as_of_seq": file.rev,
        },
    )

    assert result["item"]["folder_id"] == folder["folder_id"]
    assert [item["name"] for item in result["survivors"]] == ["file"]


@pytest.mark.parametrize("slice_size", [1, 2, 100])
def test_a_repeated_batch_gets_the_first_answers(api, laptop, root, monkeypatch, slice_size):
    monkeypatch.setattr(batches, "STEPS_AT_ONCE", slice_size)
    items = [
        {
            "op": "create_folder",
            "op_id": f"op {index}",
            "parent_folder_id": root["folder_id"],
            "name": f"folder {index}",
        }
        for index in range(3)
    ]
    first = run(api, laptop, *items)
    folder = first[0]["item"]
    api(laptop).delete(f"/folders/{folder['folder_id']}", if_match=folder["rev"])

    assert run(api, laptop, *items) == first
    assert names(api(laptop).get("/folders/root/children")) == ["folder 1", "folder 2"]
    # Alone it is the same operation.
    single = {key: value for key, value in items[0].items() if key != "op"}
    assert api(laptop).post("/folders", single).json() == folder


def test_a_header_serves_all_items_of_a_batch(api, laptop, root, make):
    folder = make(root, "a")
    item = {
        "op": "update_folder",
        "folder_id": folder["folder_id"],
        "if_match": folder["rev"],
        "name": "b",
    }
    first = run(api, laptop, item, headers={"idempotency-key": "k"})

    assert first[0]["status"] == 200
    assert run(api, laptop, item, headers={"idempotency-key": "k"}) == first
    assert run(api, laptop, item)[0]["status"] == 412


def test_a_batch_has_its_bounds(api, laptop, root):
    item = {"op": "create_folder", "parent_folder_id": root["folder_id"], "name": "a"}

    problem(api(laptop).post("/batch", {"items": [item] * 1_001}), 400, "invalid-request")
    problem(api(laptop).post("/batch", {"items": item}), 400, "invalid-request")
    problem(api(laptop).post("/batch", {}), 400, "invalid-request")
    assert run(api, laptop) == []
    assert Folder.objects.filter(namespace=root["namespace_id"]).count() == 1


def test_a_stranger_changes_nothing(api, laptop, stranger, root, make):
    folder = make(root, "a")
    results = run(
        api,
        stranger,
        {"op": "create_folder", "parent_folder_id": folder["folder_id"], "name": "x"},
        {
            "op": "delete_folder",
            "folder_id": folder["folder_id"],
            "if_match": folder["rev"],
            "op_id": "k",
        },
    )

    assert [result["problem"]["code"] for result in results] == ["not-found", "not-found"]
    # A refusal is not remembered: what was missing may come.
    assert not IdempotencyRecord.objects.filter(key="k").exists()


def test_a_thousand_folders_take_few_queries_each(api, laptop, root, django_assert_max_num_queries):
    items = [
        {
            "op": "create_folder",
            "op_id": f"op {index}",
            "parent_folder_id": root["folder_id"],
            "name": f"folder {index}",
        }
        for index in range(50)
    ]
    with django_assert_max_num_queries(50 * 17 + 20):
        results = run(api, laptop, *items)
    assert {result["status"] for result in results} == {201}


def test_a_batch_brings_back_and_deletes_for_ever(api, laptop, root, make):
    client = api(laptop)
    folders = [make(root, name) for name in ("a", "b")]
    for folder in folders:
        client.delete(f"/folders/{folder['folder_id']}", {}, if_match=folder["rev"])

    answer = client.post(
        "/batch",
        {
            "items": [
                {"op": "restore", "item_id": folders[0]["folder_id"]},
                {"op": "delete_for_ever", "item_id": folders[1]["folder_id"]},
                {"op": "restore", "item_id": folders[1]["folder_id"]},
            ]
        },
    )

    results = answer.json()["items"]
    assert [result["status"] for result in results] == [200, 204, 404]
    assert results[0]["item"]["name"] == "a"
    assert names(client.get("/folders/root/children")) == ["a"]
    assert client.get("/trash").json()["items"] == []
