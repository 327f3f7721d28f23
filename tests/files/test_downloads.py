"""Where devices read the blocks of files."""

from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from blocks.models import Block, BlockList, BlockState, ListState
from blocks.service import MAX_BLOCKS_PER_CALL
from tests.files.uploading import Uploader, cut, send, sha256

pytestmark = pytest.mark.django_db


@pytest.fixture
def on_laptop(laptop):
    return Uploader(laptop)


@pytest.fixture
def on_phone(phone):
    return Uploader(phone)


def fetch(api, items):
    answer = api.post("/files/download", {"items": items})
    assert answer.status_code == 200, answer.content
    return answer.json()


def assembled(answer, item):
    bodies = {}
    for block in item["blocks"]:
        source = answer["sources"][block["source"]]
        if block["source"] not in bodies:
            bodies[block["source"]] = send(source).content
            assert len(bodies[block["source"]]) == source["size_bytes"]
    pieces = [
        bodies[block["source"]][block["offset"] : block["offset"] + block["size_bytes"]]
        for block in item["blocks"]
    ]
    for block, piece in zip(item["blocks"], pieces, strict=True):
        assert sha256(piece) == block["block_hash"]
    return b"".join(pieces)


def put_in_a_pack(sender, contents):
    """Small files whose blocks travel together; the answers to their commits."""
    items = [sender.item(each, name=f"{n}.txt") for n, each in enumerate(contents)]
    begun = sender.api.post("/files/upload/init", {"items": items}).json()["items"]
    blocks, offset = [], 0
    for each in contents:
        blocks.append({"block_hash": sha256(each), "offset": offset, "size_bytes": len(each)})
        offset += len(each)
    body = b"".join(contents)
    pack = {"sha256": sha256(body), "size_bytes": len(body), "blocks": blocks}
    [signed] = sender.api.post("/files/upload/packs", {"items": [pack]}).json()["items"]
    assert send(signed, body).status_code in (200, 201, 204)
    commits = [{"upload_id": each["upload_id"]} for each in begun]
    return sender.api.post("/files/upload/commit", {"items": commits}).json()["items"]


def test_a_page_of_blocks_is_followed_by_the_next(on_laptop, on_phone):
    data = b"".join(b"%03d" % n for n in range(10))
    file = on_laptop.put(data, name="a", block_bytes=3)["file"]
    path = f"/files/download/{file['file_id']}"
    first = on_phone.api.get(path, limit=4).json()
    second = on_phone.api.get(path, limit=6, start_index=first["next_index"]).json()

    assert [block["index"] for block in first["blocks"]] == [0, 1, 2, 3]
    assert (first["next_index"], second["next_index"]) == (4, None)
    assert b"".join(send(each).content for each in first["blocks"] + second["blocks"]) == data
    assert first["file_version_id"] == file["current_version_id"]
    assert first["size_bytes"] == len(data)
    beyond = on_phone.api.get(path, start_index=11)
    assert (beyond.status_code, beyond.json()["code"]) == (400, "invalid-request")


def test_each_block_of_a_pack_gets_a_request_that_answers_exactly_it(on_laptop, on_phone):
    pieces = [b"first piece", b"second", b"third piece of it"]
    data = b"".join(pieces)
    put_in_a_pack(on_laptop, pieces)
    claims = [{"block_hash": sha256(each), "size_bytes": len(each)} for each in pieces]
    begun = on_laptop.init(data, name="whole", blocks=claims).json()
    file = on_laptop.commit(begun["upload_id"]).json()["file"]

    assert on_phone.read(file["file_id"]) == data


def test_neighbours_in_a_pack_come_in_one_request(on_laptop, on_phone):
    contents = [b"file number %d" % n for n in range(20)]
    done = put_in_a_pack(on_laptop, contents)
    answer = fetch(on_phone.api, [{"file_id": each["file_id"]} for each in done])

    assert len(answer["sources"]) == 1
    for item, content in zip(answer["items"], contents, strict=True):
        assert item["status"] == 200
        assert assembled(answer, item) == content
        assert item["content_hash"] == sha256(content)


def test_a_file_that_cannot_be_read_leaves_the_others_standing(on_laptop, on_phone, stranger):
    mine = on_laptop.put(b"mine" * 5, name="mine", block_bytes=4)
    hers = Uploader(stranger).put(b"hers", name="hers")
    edited = on_laptop.edit(mine["file"], b"edited")
    answer = fetch(
        on_phone.api,
        [
            {"file_id": mine["file_id"]},
            {"file_id": hers["file_id"]},
            {"file_id": str(uuid4())},
            {"file_id": mine["file_id"], "version": mine["file_version_id"], "start_index": 2},
            {"file_id": mine["file_id"], "version": hers["file_version_id"]},
            {"file_id": "no id"},
            {"file_id": mine["file_id"], "start_index": 2},
        ],
    )

    statuses = [item["status"] for item in answer["items"]]
    assert statuses == [200, 404, 404, 200, 404, 400, 400]
    assert answer["items"][0]["file_version_id"] == edited["file_version_id"]
    assert assembled(answer, answer["items"][0]) == b"edited"
    assert [block["index"] for block in answer["items"][3]["blocks"]] == [2, 3, 4]


def test_what_does_not_fit_into_an_answer_is_left_for_the_next(on_laptop, on_phone):
    count = MAX_BLOCKS_PER_CALL - 2
    data = b"x" * count
    long = on_laptop.put(data, name="long", block_bytes=1)
    short = on_laptop.put(b"short", name="short", block_bytes=1)
    items = [{"file_id": each["file_id"]} for each in (long, short, short)]
    answer = fetch(on_phone.api, items)["items"]

    assert [len(item["blocks"]) for item in answer] == [count, 2, 0]
    assert [item["next_index"] for item in answer] == [None, 2, 0]


def test_an_empty_file_has_no_blocks(on_laptop):
    empty = on_laptop.put(b"", name="empty")
    answer = fetch(on_laptop.api, [{"file_id": empty["file_id"]}])

    assert answer["items"][0]["blocks"] == []
    assert answer["items"][0]["next_index"] is None
    assert on_laptop.read(empty["file_id"]) == b""


def test_what_is_only_begun_cannot_be_downloaded(on_laptop, on_phone):
    begun = on_laptop.init(b"x" * 10, name="a").json()
    on_laptop.send_blocks(begun["upload_id"], b"x" * 10)

    for device in (on_laptop, on_phone):
        path = f"/files/download/{begun['file_id']}"
        assert device.api.get(path).status_code == 404
        assert device.api.get(path, version=begun["upload_id"]).status_code == 404


def test_a_file_in_the_trash_can_still_be_read(on_laptop, on_phone):
    file = on_laptop.put(b"kept", name="a")["file"]
    on_phone.api.delete(f"/files/{file['file_id']}", {}, if_match=file["rev"])

    assert on_laptop.read(file["file_id"]) == b"kept"


def test_one_that_cannot_be_read_leaves_the_others(on_laptop, caplog):
    """The two databases disagree, as after a restore of only one of them."""
    files = [on_laptop.put(b"%d" % n, name=f"{n}")["file"] for n in range(4)]
    unknown, blockless = files[1], files[3]
    BlockList.objects.filter(pk=unknown["current_version_id"]).update(state=ListState.RELEASED)
    Block.objects.filter(pk=sha256(b"3")).update(state=BlockState.AWAITED, size_bytes=None)
    items = [{"file_id": each["file_id"]} for each in [*files, files[0]]]
    answer = fetch(on_laptop.api, items)

    results = answer["items"]
    assert [result["status"] for result in results] == [200, 404, 200, 404, 200]
    for index, content in ((0, b"0"), (2, b"2"), (4, b"0")):
        assert assembled(answer, results[index]) == content
    for lost in (unknown, blockless):
        assert lost["current_version_id"] in caplog.text
        assert on_laptop.api.get(f"/files/download/{lost['file_id']}").status_code == 404
        [alone] = fetch(on_laptop.api, [{"file_id": lost["file_id"]}])["items"]
        assert alone["problem"]["code"] == "not-found"


def test_many_files_cost_no_more_queries_than_one(on_laptop):
    files = [on_laptop.put(b"%d" % n, name=f"{n}") for n in range(8)]
    items = [{"file_id": each["file_id"]} for each in files]
    counts = []
    for some in (items[:1], items):
        with CaptureQueriesContext(connection) as queries:
            fetch(on_laptop.api, some)
        counts.append(len(queries))

    assert counts[0] == counts[1] < 6


def test_large_files_are_cut_and_read_in_order(on_laptop, on_phone):
    data = b"".join(bytes([n]) * 1_000 for n in range(50))
    file = on_laptop.put(data, name="a", block_bytes=700)["file"]
    answer = fetch(on_phone.api, [{"file_id": file["file_id"]}])

    assert assembled(answer, answer["items"][0]) == data
    assert len(answer["items"][0]["blocks"]) == len(cut(data, 700))
