"""Beginning an upload, sending its blocks, giving it up; and what is refused on the way."""

from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from blocks.local import LocalBlockService
from blocks.service import MAX_BLOCK_BYTES
from files.models import (
    File,
    FileVersion,
    Folder,
    IdempotencyRecord,
    Membership,
    Role,
    StorageAccount,
)
from files.services import progress
from tests.files.uploading import Uploader, cut, send, sha256

pytestmark = pytest.mark.django_db

KIB = 1024


@pytest.fixture
def on_laptop(laptop):
    return Uploader(laptop)


@pytest.fixture
def on_phone(phone):
    return Uploader(phone)


def limit(user, size_bytes):
    StorageAccount.objects.filter(owner=user).update(limit_bytes=size_bytes)


def problem(answer, status, code):
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == code
    return answer.json()


# --- Init -------------------------------------------------------------------------------


def test_an_init_names_each_distinct_block_once_and_sends_urls_for_large_ones(on_laptop):
    large, small = b"L" * 300 * KIB, b"s" * 10
    data = large + large + small
    blocks = [{"block_hash": sha256(b), "size_bytes": len(b)} for b in (large, large, small)]
    answer = on_laptop.init(data, name="a.bin", blocks=blocks)

    assert answer.status_code == 201
    begun = answer.json()
    assert begun["upload_id"] == begun["file_version_id"]
    assert begun["blocks"] == [{**blocks[0], "state": "send"}, {**blocks[2], "state": "send"}]
    assert [each["block_hash"] for each in begun["uploads"]] == [sha256(large)]
    assert begun["uploads"][0]["url"].startswith("http://testserver/blocks/")
    assert send(begun["uploads"][0], large).status_code in (200, 201, 204)
    assert on_laptop.names() == []


def test_a_repeated_init_gets_its_first_answer_with_new_urls(on_laptop):
    item = on_laptop.item(b"x" * 300 * KIB, name="a.bin", op_id="one")
    first = on_laptop.api.post("/files/upload/init", item).json()
    again = on_laptop.api.post("/files/upload/init", item).json()
    both = on_laptop.api.post("/files/upload/init", {"items": [item, item]}).json()["items"]

    same = {"upload_id", "file_id", "file_version_id", "expires_at", "blocks"}
    for other in (again, *both):
        assert {key: other[key] for key in same} == {key: first[key] for key in same}
    assert again["uploads"]
    assert FileVersion.objects.count() == 1
    assert on_laptop.used() == (0, 300 * KIB)


def test_the_idempotency_key_header_is_the_op_id(on_laptop):
    item = on_laptop.item(b"x", name="a.bin")
    headers = {"idempotency-key": "one"}
    first = on_laptop.api.post("/files/upload/init", item, headers=headers).json()
    again = on_laptop.api.post("/files/upload/init", {**item, "op_id": "one"}).json()

    assert again["upload_id"] == first["upload_id"]


def test_the_header_of_a_batch_stands_for_the_op_ids_of_its_items(on_laptop):
    items = [on_laptop.item(b"x", name="a"), on_laptop.item(b"y", name="b", op_id="own")]

    def begin(*items):
        answer = on_laptop.api.post(
            "/files/upload/init", {"items": items}, headers={"idempotency-key": "k"}
        )
        return [result.get("upload_id") or result["status"] for result in answer.json()["items"]]

    first = begin(*items)
    assert begin(*items) == first
    assert on_laptop.used() == (0, 2)
    alone = on_laptop.api.post("/files/upload/init", {**items[0], "op_id": "k:0"})
    assert alone.json()["upload_id"] == first[0]
    assert begin(on_laptop.item(b"z", name="c"), items[1]) == [422, first[1]]


def test_a_repeat_after_the_commit_finds_nothing_to_send(on_laptop):
    item = on_laptop.item(b"x" * 10, name="a.bin", op_id="one")
    begun = on_laptop.api.post("/files/upload/init", item).json()
    on_laptop.send_blocks(begun["upload_id"], b"x" * 10)
    committed = on_laptop.commit(begun["upload_id"]).json()
    again = on_laptop.api.post("/files/upload/init", item).json()

    assert again["upload_id"] == begun["upload_id"]
    assert again["blocks"] == [{**item["blocks"][0], "state": "held"}]
    assert again["uploads"] == []
    assert on_laptop.commit(again["upload_id"]).json() == committed


def test_a_repeat_after_the_abort_has_to_begin_again(on_laptop):
    item = on_laptop.item(b"x", name="a.bin", op_id="one")
    upload_id = on_laptop.api.post("/files/upload/init", item).json()["upload_id"]
    on_laptop.api.delete(f"/files/upload/{upload_id}")

    problem(on_laptop.api.post("/files/upload/init", item), 410, "upload-expired")
    again = on_laptop.api.post("/files/upload/init", {**item, "op_id": "two"})
    assert again.status_code == 201


def test_one_key_for_two_requests_is_refused(on_laptop, on_phone):
    item = on_laptop.item(b"x", name="a.bin", op_id="one")
    assert on_laptop.api.post("/files/upload/init", item).status_code == 201
    other = {**item, "name": "b.bin"}

    problem(on_laptop.api.post("/files/upload/init", other), 422, "idempotency-key-reused")
    # Keys are a device's own.
    assert on_phone.api.post("/files/upload/init", other).status_code == 201


def test_a_bad_item_leaves_the_others_standing(on_laptop):
    good = on_laptop.item(b"good", name="good.txt")
    items = [
        good,
        {**good, "name": "a/b"},
        {**good, "parent_folder_id": str(uuid4())},
        {**good, "size_bytes": 5},
        "no object",
        {**good, "nmae": "misspelt"},
        {**good, "name": "better.txt"},
    ]
    answer = on_laptop.api.post("/files/upload/init", {"items": items})

    assert answer.status_code == 200
    results = answer.json()["items"]
    assert [each["status"] for each in results] == [201, 400, 404, 400, 400, 400, 201]
    codes = [each["problem"]["code"] for each in results if "problem" in each]
    assert codes == [
        "invalid-name", "not-found", "invalid-request", "invalid-request", "invalid-request",
    ]  # fmt: skip
    assert FileVersion.objects.count() == 2
    assert on_laptop.used() == (0, 8)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"content_hash": "0" * 63}, "content_hash"),
        ({"content_hash": "A" * 64}, "content_hash"),
        ({"content_hash": ["0" * 64]}, "content_hash"),
        ({"size_bytes": -1}, "size_bytes"),
        ({"size_bytes": 2**60}, "size_bytes"),
        ({"size_bytes": True}, ""),
        ({"size_bytes": 12}, ""),
        ({"block_count": 0}, ""),
        ({"block_count": 5}, ""),
        ({"client_modified_ns": 2**63}, "client_modified_ns"),
        ({"on_conflict": "overwrite"}, "on_conflict"),
        ({"file_id": "no id"}, "file_id"),
        ({"blocks": "none"}, "blocks"),
        ({"blocks": [None]}, "blocks.0"),
        ({"blocks": [{"block_hash": "x", "size_bytes": 4}]}, "blocks.0"),
        ({"blocks": [{"block_hash": "0" * 64, "size_bytes": 0}]}, "blocks.0"),
        ({"blocks": [{"block_hash": "0" * 64, "size_bytes": True}]}, "blocks.0"),
        ({"blocks": [{"block_hash": "0" * 64, "size_bytes": MAX_BLOCK_BYTES + 1}]}, "blocks.0"),
        ({"blocks": [{"block_hash": "0" * 64, "size_bytes": 4}]}, ""),
        ({"blocks": [{"block_hash": "0" * 64, "size_bytes": 2}] * 2, "block_count": 1}, ""),
        ({"parent_folder_id": None}, ""),
        ({"name": None}, ""),
        ({"op_id": "x" * 105}, "op_id"),
        (
            {"blocks": [{"block_hash": "0" * 64, "size_bytes": 1, "offset": 0}]},
            "blocks.0.offset",
        ),
        ({"op_id": "a\0b"}, "op_id"),
    ],
)
def test_what_contradicts_itself_is_refused(on_laptop, wrong, field):
    item = {**on_laptop.item(b"four", name="a.txt"), **wrong}
    refusal = problem(on_laptop.api.post("/files/upload/init", item), 400, "invalid-request")

    if field:
        assert list(refusal["errors"]) == [field]
    assert not FileVersion.objects.exists()
    assert not File.objects.exists()
    assert on_laptop.used() == (0, 0)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "x" * 256, "\ud800"])
def test_a_bad_name_is_refused(on_laptop, name):
    problem(on_laptop.init(b"x", name=name), 400, "invalid-name")
    assert not File.objects.exists()


def test_one_block_with_two_sizes_is_refused_and_takes_nothing(on_laptop):
    blocks = [{"block_hash": "0" * 64, "size_bytes": size} for size in (2, 3)]
    item = on_laptop.item(b"fives", name="a", blocks=blocks, op_id="one")
    answer = on_laptop.api.post(
        "/files/upload/init", {"items": [item, on_laptop.item(b"good", name="b")]}
    )

    assert [each["status"] for each in answer.json()["items"]] == [400, 201]
    assert on_laptop.used() == (0, 4)
    # An error is never replayed.
    assert not IdempotencyRecord.objects.filter(key="one").exists()


def test_more_than_ten_thousand_blocks_in_a_request_are_refused(on_laptop):
    blocks = [{"block_hash": "0" * 64, "size_bytes": 1}]
    item = {
        "name": "a", "parent_folder_id": on_laptop.root, "size_bytes": 20_000,
        "content_hash": "0" * 64, "block_count": 20_000, "blocks": blocks * 10_001,
    }  # fmt: skip
    problem(on_laptop.api.post("/files/upload/init", item), 400, "invalid-request")
    two = {"items": [{**item, "blocks": blocks * 6_000}] * 2}
    problem(on_laptop.api.post("/files/upload/init", two), 400, "invalid-request")
    many: dict[str, list[object]] = {"items": [{}] * 1_001}
    problem(on_laptop.api.post("/files/upload/init", many), 400, "invalid-request")
    assert not FileVersion.objects.exists()


def test_over_quota_is_said_at_the_beginning(on_laptop, alice):
    limit(alice, 100)
    on_laptop.put(b"x" * 40, name="a")
    assert on_laptop.init(b"y" * 50, name="b").status_code == 201
    refusal = problem(on_laptop.init(b"z" * 25, name="c"), 507, "quota-exceeded")

    assert refusal["over_by_bytes"] == 15
    assert on_laptop.used() == (40, 50)


def test_in_a_batch_what_fits_is_begun(on_laptop, alice):
    limit(alice, 10)
    items = [on_laptop.item(b"x" * size, name=f"{size}.bin") for size in (6, 5, 4, 0)]
    results = on_laptop.api.post("/files/upload/init", {"items": items}).json()["items"]

    assert [each["status"] for each in results] == [201, 507, 201, 201]
    assert on_laptop.used() == (0, 10)


def test_without_a_limit_the_sums_still_stay_countable(on_laptop):
    item = {
        "parent_folder_id": on_laptop.root, "size_bytes": 2**50, "content_hash": "0" * 64,
        "block_count": 2**28, "blocks": [],
    }  # fmt: skip
    items = [{**item, "name": f"{n}.bin"} for n in range(1_000)]
    for _ in range(4):
        answer = on_laptop.api.post("/files/upload/init", {"items": items})
        assert {each["status"] for each in answer.json()["items"]} == {201}
    answer = on_laptop.api.post("/files/upload/init", {"items": items})
    assert {each["status"] for each in answer.json()["items"]} == {201, 507}


def test_a_viewer_may_not_upload(on_laptop, stranger, mallory):
    root = Folder.objects.get(pk=on_laptop.root)
    Membership.objects.create(namespace=root.namespace, user=mallory, role=Role.VIEWER)
    answer = Uploader(stranger).init(b"x", name="a", parent_folder_id=on_laptop.root)

    problem(answer, 403, "permission-denied")


def test_what_only_a_stranger_holds_is_answered_like_a_new_block(on_laptop, stranger):
    data = b"a secret of Alice's" * 100
    on_laptop.put(data, name="secret")
    begun = Uploader(stranger).init(data, name="guess").json()

    assert [block["state"] for block in begun["blocks"]] == ["send"]
    problem(Uploader(stranger).commit(begun["upload_id"]), 409, "missing-blocks")


# --- Ids and places ---------------------------------------------------------------------


def test_a_device_may_choose_the_id_of_a_new_file(on_laptop, on_phone):
    file_id = str(uuid4())
    place = {"name": "a", "parent_folder_id": on_laptop.root}
    done = on_laptop.put(b"x", file_id=file_id, **place)
    # Another device that means the same file, after a restored server forgot it.
    again = on_phone.put(b"x", file_id=file_id, base_version_id=str(uuid4()), **place)

    assert done["file_id"] == again["file_id"] == file_id
    assert again["outcome"] == "same"


def test_an_id_of_somebody_elses_is_not_taken_over(on_laptop, stranger):
    done = on_laptop.put(b"x", name="a")
    mallory = Uploader(stranger)
    for taken in (done["file_id"], on_laptop.root):
        made = mallory.put(
            b"y", file_id=taken, name="a", parent_folder_id=mallory.root, on_conflict="new_version"
        )
        assert made["file_id"] not in (done["file_id"], on_laptop.root)
    assert on_laptop.read(done["file_id"]) == b"x"


def test_for_a_file_that_is_gone_the_name_and_the_folder_count(on_laptop, on_phone):
    file = on_laptop.put(b"x", name="a")["file"]
    on_phone.api.delete(f"/files/{file['file_id']}", {}, if_match=file["rev"])
    on_phone.api.delete(f"/trash/{file['file_id']}")
    gone = on_laptop.init(b"y", file_id=file["file_id"], base_version_id=None)
    problem(gone, 404, "not-found")
    done = on_laptop.edit(file, b"y", name="a", parent_folder_id=on_laptop.root)

    assert done["outcome"] == "committed"
    assert on_phone.names() == ["a"]


# --- Long lists ---------------------------------------------------------------------------


def test_a_long_list_comes_in_several_requests(on_laptop, on_phone):
    data = bytes(range(200)) * 20
    pieces = cut(data, 1_000)
    claims = [{"block_hash": sha256(each), "size_bytes": len(each)} for each in pieces]
    begun = on_laptop.init(data, name="a", blocks=claims[:2], block_count=4).json()
    upload_id = begun["upload_id"]
    early = on_laptop.commit(upload_id)
    more = on_laptop.api.post(
        f"/files/upload/{upload_id}/blocks", {"start_index": 2, "blocks": claims[2:]}
    )
    on_laptop.send_blocks(upload_id, data, block_bytes=1_000)

    problem(early, 409, "incomplete-list")
    assert more.status_code == 200
    # All four are the same bytes: 1,000 is a multiple of 200.
    assert [block["block_hash"] for block in more.json()["blocks"]] == [claims[2]["block_hash"]]
    done = on_laptop.commit(upload_id).json()
    assert on_phone.read(done["file_id"]) == data


def test_a_list_that_goes_beyond_its_end_or_changes_its_mind_is_refused(on_laptop):
    claim = {"block_hash": "0" * 64, "size_bytes": 2}
    begun = on_laptop.init(b"abcd", name="a", blocks=[claim], block_count=2).json()
    address = f"/files/upload/{begun['upload_id']}/blocks"
    other = {"block_hash": "1" * 64, "size_bytes": 2}

    for start_index, blocks in ((1, [claim, claim]), (2, [claim]), (0, [other]), (-1, [claim])):
        body = {"start_index": start_index, "blocks": blocks}
        problem(on_laptop.api.post(address, body), 400, "invalid-request")


def test_a_wrong_sum_of_a_continued_list_is_found_at_the_commit(on_laptop):
    first, second = b"aa", b"bbb"
    begun = on_laptop.init(
        b"aabb", name="a", blocks=[{"block_hash": sha256(first), "size_bytes": 2}], block_count=2
    ).json()
    more = {"start_index": 1, "blocks": [{"block_hash": sha256(second), "size_bytes": 3}]}
    on_laptop.api.post(f"/files/upload/{begun['upload_id']}/blocks", more)

    problem(on_laptop.commit(begun["upload_id"]), 409, "incomplete-list")
    assert on_laptop.names() == []


# --- Sending ------------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch):
    """How many items each call of the Block Service was about, by its name."""
    found: dict[str, list[int]] = {}
    for name, argument in (
        ("get_or_create_block_locations", "versions"),
        ("create_pack_uploads", "packs"),
        ("refresh_upload_urls", "reports"),
    ):
        real = getattr(LocalBlockService, name)

        def counted(self, *, real=real, name=name, argument=argument, **arguments):
            found.setdefault(name, []).append(len(arguments[argument]))
            return real(self, **arguments)

        monkeypatch.setattr(LocalBlockService, name, counted)
    return found


def test_a_bad_item_does_not_make_many_calls_of_one(on_laptop, calls):
    claim = {"block_hash": sha256(b"x"), "size_bytes": 1}
    two_sizes = {
        "name": "bad",
        "parent_folder_id": on_laptop.root,
        "size_bytes": 3,
        "content_hash": sha256(b"bad"),
        "blocks": [claim, {**claim, "size_bytes": 2}],
    }
    items = [on_laptop.item(data, name=f"{n}") for n, data in enumerate((b"x", b"y", b"z"))]
    answer = on_laptop.api.post("/files/upload/init", {"items": [items[0], two_sizes, *items[1:]]})
    assert [each["status"] for each in answer.json()["items"]] == [201, 400, 201, 201]
    on_laptop.init(b"x", name="x")
    packed = {**claim, "offset": 0}
    good = {"sha256": sha256(b"x"), "size_bytes": 1, "blocks": [packed]}
    packs = [
        good,
        {**good, "blocks": [{**packed, "offset": 1}]},
        {**good, "size_bytes": 2},
        {**good, "size_bytes": 2, "blocks": [packed, {**packed, "offset": 1}]},
        {**good, "blocks": []},
        good,
    ]
    answer = on_laptop.api.post("/files/upload/packs", {"items": packs})
    assert [each["status"] for each in answer.json()["items"]] == [201, 400, 400, 400, 400, 201]

    assert calls == {"get_or_create_block_locations": [3, 1], "create_pack_uploads": [6]}


def test_a_pack_that_names_too_much_says_which_blocks_of_it(on_laptop, stranger, calls):
    """Only the caller's own uploads count, so nothing is learnt of what others have."""
    secret, own, unknown = b"a stranger's", b"own", b"nobody's"
    Uploader(stranger).put(secret, name="secret")
    Uploader(stranger).init(secret, name="once more")
    on_laptop.init(own, name="own")

    def item(*contents):
        body, offset, blocks = b"".join(contents), 0, []
        for each in contents:
            blocks.append({"block_hash": sha256(each), "offset": offset, "size_bytes": len(each)})
            offset += len(each)
        return {"sha256": sha256(body), "size_bytes": len(body), "blocks": blocks}

    items = [item(own), item(own, secret), item(unknown, own)]
    good, *refused = on_laptop.api.post("/files/upload/packs", {"items": items}).json()["items"]

    assert (good["status"], [each["status"] for each in refused]) == (201, [400, 400])
    problems = [each["problem"] for each in refused]
    assert [each.pop("block_hashes") for each in problems] == [[sha256(secret)], [sha256(unknown)]]
    assert problems[0] == problems[1]
    assert calls["create_pack_uploads"] == [3]


def test_many_uploads_are_resumed_in_one_request(on_laptop, on_phone, calls):
    contents = {name: name.encode() * 100 for name in ("a", "b", "c")}
    begun = {name: on_laptop.init(data, name=name).json() for name, data in contents.items()}
    ids = {name: each["upload_id"] for name, each in begun.items()}
    hashes = {name: sha256(data) for name, data in contents.items()}
    on_laptop.send_blocks(ids["a"], contents["a"])
    done = on_laptop.put(b"committed", name="d")["file_version_id"]
    given_up = on_laptop.init(b"e", name="e").json()["upload_id"]
    on_laptop.api.delete(f"/files/upload/{given_up}")
    foreign = on_phone.init(b"f", name="f").json()["upload_id"]
    calls.clear()
    items = [
        {"upload_id": ids["a"], "done": [hashes["a"]]},
        {"upload_id": ids["b"], "want": [hashes["b"]]},
        None,
        {"upload_id": ids["c"]},
        {"upload_id": done},
        {"upload_id": given_up},
        {"upload_id": foreign},
        {"upload_id": ids["c"], "want": ["no hash"]},
    ]
    answer = on_laptop.api.post("/files/upload/urls", {"items": items}).json()["items"]

    statuses = [200, 200, 400, 200, 200, 410, 404, 400]
    assert [each["status"] for each in answer] == statuses
    assert calls == {"refresh_upload_urls": [3]}
    assert answer[0] == {
        "status": 200,
        "upload_id": ids["a"],
        "verified": [hashes["a"]],
        "missing": [],
        "uploads": [],
    }
    assert [each["block_hash"] for each in answer[1]["uploads"]] == answer[1]["missing"]
    assert answer[1]["missing"] == [hashes["b"]]
    assert (answer[3]["missing"], answer[3]["uploads"]) == ([hashes["c"]], [])
    assert answer[4]["missing"] == []
    assert send(answer[1]["uploads"][0], contents["b"]).status_code in (200, 201, 204)
    assert on_laptop.commit(ids["b"]).status_code == 200


def test_a_request_about_many_uploads_has_its_bounds(on_laptop, monkeypatch):
    path = "/files/upload/urls"
    upload_id = on_laptop.init(b"x", name="a").json()["upload_id"]
    for field in ("done", "want"):
        items = [{"upload_id": upload_id, field: ["0" * 64] * 501}] * 2
        problem(on_laptop.api.post(path, {"items": items}), 400, "invalid-request")
    monkeypatch.setattr(progress, "MAX_BLOCKS_PER_CALL", 2)
    three = {"items": [{"upload_id": upload_id}] * 3}
    answer = on_laptop.api.post(path, three).json()["items"]

    assert [each["status"] for each in answer] == [200, 200, 503]
    assert answer[2]["problem"]["code"] == "service-unavailable"
    assert answer[2]["problem"]["retry_after_seconds"] > 0


def test_an_upload_is_resumed_after_a_crash(on_laptop):
    data = b"one block " * 50 + b"two block " * 50
    upload_id = on_laptop.init(data, name="a", block_bytes=500).json()["upload_id"]
    first, second = cut(data, 500)
    [request] = on_laptop.urls(upload_id, want=[sha256(first)])["uploads"]
    send(request, first)

    resumed = on_laptop.urls(upload_id, done=[sha256(first)], want=[sha256(second)])
    assert resumed["verified"] == [sha256(first)]
    assert resumed["missing"] == [sha256(second)]
    assert on_laptop.urls(upload_id)["missing"] == [sha256(second)]
    state = on_laptop.api.get(f"/files/upload/{upload_id}").json()
    assert (state["status"], state["missing"]) == ("pending", [sha256(second)])
    refusal = problem(on_laptop.commit(upload_id), 409, "missing-blocks")
    assert refusal["block_hashes"] == [sha256(second)]
    send(resumed["uploads"][0], second)
    assert on_laptop.commit(upload_id).status_code == 200


def test_small_files_travel_in_one_pack(on_laptop, on_phone):
    contents = [b"file %d" % n for n in range(50)]
    items = [on_laptop.item(each, name=f"{n}.txt") for n, each in enumerate(contents)]
    begun = on_laptop.api.post("/files/upload/init", {"items": items}).json()["items"]
    assert not any(each["uploads"] for each in begun)
    body = b"".join(contents)
    blocks, offset = [], 0
    for each in contents:
        blocks.append({"block_hash": sha256(each), "offset": offset, "size_bytes": len(each)})
        offset += len(each)
    pack = {"sha256": sha256(body), "size_bytes": len(body), "blocks": blocks}
    gap = {**pack, "blocks": [blocks[0], blocks[2]]}
    packs = on_laptop.api.post("/files/upload/packs", {"items": [pack, gap, {}]}).json()["items"]

    assert [each["status"] for each in packs] == [201, 400, 400]
    assert packs[0]["sha256"] == sha256(body)
    assert send(packs[0], body).status_code in (200, 201, 204)
    commits = [{"upload_id": each["upload_id"]} for each in begun]
    done = on_laptop.api.post("/files/upload/commit", {"items": commits}).json()["items"]
    assert {each["outcome"] for each in done} == {"committed"}
    assert on_phone.read(done[17]["file_id"]) == contents[17]


def test_a_device_that_may_write_nowhere_gets_no_packs(stranger):
    Membership.objects.filter(user=stranger.user).update(role=Role.VIEWER)
    data = b"x"
    pack = {
        "sha256": sha256(data), "size_bytes": 1,
        "blocks": [{"block_hash": sha256(data), "offset": 0, "size_bytes": 1}],
    }  # fmt: skip
    answer = Uploader(stranger).api.post("/files/upload/packs", {"items": [pack]})

    problem(answer, 403, "permission-denied")


def test_the_hash_of_a_single_block_must_be_that_of_the_file(on_laptop):
    problem(on_laptop.init(b"abc", name="a", content_hash="0" * 64), 400, "invalid-request")
    problem(on_laptop.init(b"", name="a", content_hash="0" * 64), 400, "invalid-request")


# --- The end -----------------------------------------------------------------------------


def test_giving_up_frees_what_was_set_aside(on_laptop):
    upload_id = on_laptop.begin(b"x" * 100, name="a")
    assert on_laptop.used() == (0, 100)

    for _ in range(2):
        assert on_laptop.api.delete(f"/files/upload/{upload_id}").status_code == 204
    assert on_laptop.used() == (0, 0)
    problem(on_laptop.commit(upload_id), 410, "upload-expired")
    state = on_laptop.api.get(f"/files/upload/{upload_id}").json()
    assert state["status"] == "aborted"
    problem(on_laptop.api.post(f"/files/upload/{upload_id}/urls", {}), 410, "upload-expired")
    blocks = {"start_index": 0, "blocks": []}
    problem(on_laptop.api.post(f"/files/upload/{upload_id}/blocks", blocks), 410, "upload-expired")


def test_what_is_committed_cannot_be_given_up(on_laptop):
    upload_id = on_laptop.begin(b"x", name="a")
    on_laptop.commit(upload_id)

    problem(on_laptop.api.delete(f"/files/upload/{upload_id}"), 400, "invalid-request")
    assert on_laptop.names() == ["a"]
    assert on_laptop.used() == (1, 0)


def test_another_device_of_the_same_person_does_not_see_the_upload(on_laptop, on_phone):
    upload_id = on_laptop.begin(b"x", name="a")

    problem(on_phone.commit(upload_id), 404, "not-found")
    problem(on_phone.api.post(f"/files/upload/{upload_id}/urls", {}), 404, "not-found")


def test_nobody_uploads_without_signing_in(api, on_laptop):
    for path in ("/files/upload/init", "/files/upload/commit", "/files/upload/packs"):
        problem(api(None).post(path, {}), 401, "not-authenticated")


# --- Cost ----------------------------------------------------------------------------------


def count_queries(work):
    with CaptureQueriesContext(connection) as queries:
        answer = work()
    assert answer.status_code == 200, answer.content
    return len(queries), answer.json()["items"]


def test_a_thousand_files_cost_hardly_more_queries_than_ten(on_laptop):
    root = on_laptop.root

    def upload(count, prefix):
        items = [
            on_laptop.item(
                b"", name=f"{prefix}-{n}.txt", parent_folder_id=root, op_id=f"{prefix}{n}"
            )
            for n in range(count)
        ]
        inits, begun = count_queries(
            lambda: on_laptop.api.post("/files/upload/init", {"items": items})
        )
        ids = [{"upload_id": each["upload_id"]} for each in begun]
        commits, done = count_queries(
            lambda: on_laptop.api.post("/files/upload/commit", {"items": ids})
        )
        assert {each["outcome"] for each in done} == {"committed"}
        repeats, _ = count_queries(
            lambda: on_laptop.api.post("/files/upload/commit", {"items": ids})
        )
        return inits, commits, repeats

    few = upload(10, "few")
    many = upload(1_000, "many")
    assert max(few) < 45, few
    # SQLite takes 999 values in a statement, so a thousand rows take a few dozen of them.
    rows = 25 * 4 if connection.vendor == "sqlite" else 12
    assert all(b - a <= rows for a, b in zip(few, many, strict=True)), (few, many)
