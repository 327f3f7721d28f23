"""What a stranger tries with hashes, packs and URLs: to get bytes, to spoil them, to learn of them.

Mallory knows the hashes of Alice's blocks (the "Dropship" idea of 2011: claim a file by the
hashes alone), and keeps every URL that she was ever given.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from django.db import connections
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from blocks.models import Block, CondemnedObject
from blocks.storage import ObjectStore, get_object_store
from files.models import FileVersion
from tests.files.uploading import Uploader, cut, send, sha256, to_s3
from tests.services.s3 import PrivateS3

pytestmark = pytest.mark.django_db

BLOCK_BYTES = 1_000
SECRET = b"".join(bytes([65 + number]) * BLOCK_BYTES for number in range(3))
LARGE = b"a large block " * 25_000
CHANGED = b"Z" * len(SECRET)


@pytest.fixture
def alice_(laptop):
    return Uploader(laptop)


@pytest.fixture
def mallory_(stranger):
    return Uploader(stranger)


@pytest.fixture
def secret(alice_):
    """Alice's file, committed."""
    return alice_.put(SECRET, block_bytes=BLOCK_BYTES, name="secret")


def claim(who, data=SECRET, **fields):
    """An upload that was begun with the hashes alone."""
    answer = who.init(data, block_bytes=BLOCK_BYTES, **{"name": "mine", **fields})
    assert answer.status_code == 201, answer.content
    return answer.json()


def hashes(data=SECRET):
    return [sha256(each) for each in cut(data, BLOCK_BYTES)]


def pack_item(blocks, body=None):
    """A pack as announced: these blocks, and the hash of what will be sent."""
    sent = b"".join(blocks) if body is None else body
    offsets = [sum(map(len, blocks[:number])) for number in range(len(blocks))]
    return {
        "sha256": sha256(sent),
        "size_bytes": sum(map(len, blocks)),
        "blocks": [
            {"block_hash": sha256(block), "offset": offset, "size_bytes": len(block)}
            for block, offset in zip(blocks, offsets, strict=True)
        ],
    }


def pack_url(who, item):
    [answer] = who.api.post("/files/upload/packs", {"items": [item]}).json()["items"]
    assert answer["status"] == 201, answer
    return answer


def refused(answer):
    """Not committed, and the bytes of every block are asked for."""
    assert (answer.status_code, answer.json()["code"]) == (409, "missing-blocks")
    return answer.json()["block_hashes"]


# --- Getting bytes by their names ---------------------------------------------------------


def test_hashes_alone_get_nothing(mallory_, secret):
    begun = claim(mallory_)
    assert {each["state"] for each in begun["blocks"]} == {"send"}

    assert refused(mallory_.commit(begun["upload_id"])) == hashes()
    told = mallory_.urls(begun["upload_id"], done=hashes(), want=hashes())

    assert (told["verified"], told["missing"]) == ([], hashes())
    assert len(told["uploads"]) == 3
    assert refused(mallory_.commit(begun["upload_id"])) == hashes()
    assert mallory_.names() == []
    assert mallory_.api.get(f"/files/download/{begun['file_id']}").status_code == 404
    assert mallory_.api.get(f"/files/{begun['file_id']}/content").status_code == 404


def test_one_own_block_does_not_open_the_others(mallory_, secret):
    mine = b"M" * BLOCK_BYTES
    data = mine + SECRET
    begun = claim(mallory_, data)
    told = mallory_.urls(begun["upload_id"], want=hashes(mine))
    assert send(told["uploads"][0], mine).status_code == 200

    assert refused(mallory_.commit(begun["upload_id"])) == hashes()


def test_a_pack_that_names_her_hash_must_hold_her_bytes(mallory_, secret):
    begun = claim(mallory_)
    blocks = cut(SECRET, BLOCK_BYTES)
    # Announced and not sent; then sent with other bytes, under their true hash.
    pack_url(mallory_, pack_item(blocks))
    assert refused(mallory_.commit(begun["upload_id"])) == hashes()
    lie = pack_url(mallory_, pack_item(blocks, CHANGED))
    assert send(lie, CHANGED).status_code == 200

    assert refused(mallory_.commit(begun["upload_id"])) == hashes()
    assert mallory_.urls(begun["upload_id"], done=hashes())["verified"] == []


def test_half_a_true_pack_proves_nothing(mallory_, secret):
    """One block is right, the next one is only named: the pack as a whole is refused."""
    begun = claim(mallory_)
    first = SECRET[:BLOCK_BYTES]
    body = first + CHANGED[:BLOCK_BYTES]
    lie = pack_url(mallory_, pack_item(cut(SECRET, BLOCK_BYTES)[:2], body))
    assert send(lie, body).status_code == 200

    assert refused(mallory_.commit(begun["upload_id"])) == hashes()


def test_a_strangers_version_cannot_be_copied_or_continued(alice_, mallory_, secret):
    own = mallory_.put(b"own", name="own")
    version_id = secret["file_version_id"]
    api = mallory_.api
    open_upload = claim(alice_, SECRET + b"more", name="open")["upload_id"]

    path = f"/files/{own['file_id']}/versions/{version_id}/restore"
    assert api.post(path, {}).status_code == 404
    path = f"/files/{secret['file_id']}/versions/{version_id}/restore"
    assert api.post(path, {}).status_code == 404
    assert api.get(f"/files/download/{own['file_id']}", version=version_id).status_code == 404
    assert api.get(f"/files/download/{secret['file_id']}").status_code == 404
    assert api.get(f"/files/{secret['file_id']}/content").status_code == 404
    [item] = api.post("/files/download", {"items": [{"file_id": secret["file_id"]}]}).json()[
        "items"
    ]
    assert item["status"] == 404
    for upload_id in (open_upload, version_id):
        assert api.get(f"/files/upload/{upload_id}").status_code == 404
        assert api.delete(f"/files/upload/{upload_id}").status_code == 404
        body = {"done": hashes(), "want": hashes()}
        assert api.post(f"/files/upload/{upload_id}/urls", body).status_code == 404
        blocks = {"start_index": 0, "blocks": []}
        assert api.post(f"/files/upload/{upload_id}/blocks", blocks).status_code in {400, 404}
        assert mallory_.commit(upload_id).status_code == 404
    # A base that is not hers is no base: her upload is a new content of her own file.
    begun = claim(mallory_, file_id=own["file_id"], base_version_id=version_id)
    assert refused(mallory_.commit(begun["upload_id"])) == hashes()


def test_what_was_shared_once_is_not_held_any_more(alice, mallory, alice_, mallory_, secret):
    from files.models import Membership, Role

    namespace_id = secret["file"]["namespace_id"]
    shared = Membership.objects.create(namespace_id=namespace_id, user=mallory, role=Role.VIEWER)
    assert {each["state"] for each in claim(mallory_, name="while")["blocks"]} == {"held"}

    shared.delete()

    assert {each["state"] for each in claim(mallory_, name="after")["blocks"]} == {"send"}


def test_neighbours_in_a_pack_stay_out_of_reach(alice_, secret):
    """Of a pack a download opens the bytes of its own blocks, and not one more."""
    blocks = [bytes([97 + number]) * BLOCK_BYTES for number in range(5)]
    wanted, others = blocks[1] + blocks[2] + blocks[4], blocks[0] + blocks[3]
    uploads = [claim(alice_, wanted, name="wanted"), claim(alice_, others, name="others")]
    assert send(pack_url(alice_, pack_item(blocks)), b"".join(blocks)).status_code == 200
    [file_id, _] = [alice_.commit(each["upload_id"]).json()["file_id"] for each in uploads]
    assert len({Block.objects.get(pk=sha256(each)).s3_location_id for each in blocks}) == 1

    answer = alice_.api.post("/files/download", {"items": [{"file_id": file_id}]}).json()

    first, second = answer["sources"]
    assert (first["size_bytes"], second["size_bytes"]) == (2 * BLOCK_BYTES, BLOCK_BYTES)
    assert send(first).content == blocks[1] + blocks[2]
    assert send(second).content == blocks[4]
    for headers in ({}, {"Range": "bytes=0-4999"}, {"Range": "bytes=0-999"}, {"Range": "bytes=-1"}):
        tried = send({**first, "headers": headers})
        assert tried.status_code == 403
        assert not any(bytes([letter]) * 100 in tried.content for letter in b"abcde")
    # The same for a block asked for by itself.
    for block in alice_.api.get(f"/files/download/{file_id}").json()["blocks"]:
        got = send(block)
        assert sha256(got.content) == block["block_hash"]
        assert send({**block, "headers": {}}).status_code == 403


# --- Spoiling bytes -------------------------------------------------------------------------


@pytest.fixture(params=["local", pytest.param("lax", marks=pytest.mark.s3)])
def kind(request) -> Iterator[str]:
    """The embedded store, and one that checks signatures but takes any bytes."""
    if request.param == "local":
        yield "local"
        return
    with PrivateS3.lax() as server:
        address = server.new_bucket()
        with override_settings(
            S3_BUCKET=address.bucket,
            S3_ENDPOINT=address.endpoint,
            S3_REGION=address.region,
            S3_ACCESS_KEY_ID=address.access_key,
            S3_SECRET_ACCESS_KEY=address.secret_key,
        ):
            get_object_store.cache_clear()
            try:
                yield "lax"
            finally:
                get_object_store.cache_clear()
                to_s3().close()
                to_s3.cache_clear()


def urls_of(who, upload_id, data=SECRET):
    """The PUTs of an upload, by block hash; each is kept for later."""
    told = who.urls(upload_id, want=hashes(data))
    return {each["block_hash"]: each for each in told["uploads"]}


def test_other_bytes_never_become_the_block(kind, alice_, mallory_):
    begun = claim(mallory_)
    urls = urls_of(mallory_, begun["upload_id"])
    for url in urls.values():
        took = send(url, CHANGED[:BLOCK_BYTES]).status_code
        assert took == (200 if kind == "lax" else 400)

    assert refused(mallory_.commit(begun["upload_id"])) == hashes()
    assert mallory_.names() == []
    # Alice sends the true ones later, and has them.
    file = alice_.put(SECRET, block_bytes=BLOCK_BYTES, name="secret")
    assert alice_.read(file["file_id"]) == SECRET


@pytest.mark.parametrize("when", ["after the report", "after the commit"])
def test_a_url_used_again_changes_nothing(kind, when, alice_, mallory_):
    begun = claim(mallory_)
    urls = urls_of(mallory_, begun["upload_id"])
    for block, name in zip(cut(SECRET, BLOCK_BYTES), hashes(), strict=True):
        assert send(urls[name], block).status_code == 200

    def spoil():
        for url in urls.values():
            send(url, CHANGED[:BLOCK_BYTES])

    assert mallory_.urls(begun["upload_id"], done=hashes())["missing"] == []
    if when == "after the report":
        spoil()
    committed = mallory_.commit(begun["upload_id"]).json()
    assert committed["outcome"] == "committed"
    spoil()

    assert mallory_.read(committed["file_id"]) == SECRET
    # Nor does who has the same blocks get hers.
    file = alice_.put(SECRET, block_bytes=BLOCK_BYTES, name="secret")
    spoil()
    assert alice_.read(file["file_id"]) == SECRET


def test_a_packs_url_used_again_changes_nothing(kind, mallory_):
    begun = claim(mallory_)
    url = pack_url(mallory_, pack_item(cut(SECRET, BLOCK_BYTES)))
    assert send(url, SECRET).status_code == 200
    committed = mallory_.commit(begun["upload_id"]).json()

    send(url, CHANGED)

    assert mallory_.read(committed["file_id"]) == SECRET


# --- Learning whether somebody has them -----------------------------------------------------


class Told:
    """What Mallory can see of one call, and what it cost."""

    def __init__(self, answer: Any, queries: Counter[str], calls: Counter[str]) -> None:
        self.answer = answer
        self.queries = queries
        self.calls = calls


@dataclass
class Watch:
    """Counts the statements of both databases by kind, and the calls to the store."""

    store: ObjectStore
    calls: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def counting(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("sign_put", "sign_get", "sizes", "read", "write", "delete"):
                patch.setattr(self.store, name, self._counted(name, getattr(self.store, name)))
            yield

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.calls[name] += 1
            return call(*arguments, **options)

        return counted

    def ask(self, call: Callable[[], Any]) -> Told:
        self.calls.clear()
        with (
            CaptureQueriesContext(connections["default"]) as files,
            CaptureQueriesContext(connections["blocks"]) as blocks,
        ):
            answer = call()
        queries: Counter[str] = Counter()
        for alias, found in (("default", files), ("blocks", blocks)):
            for query in found.captured_queries:
                queries[alias, kind_of(query["sql"])] += 1  # type: ignore[index]
        return Told(answer, queries, Counter(self.calls))


def kind_of(sql: str) -> str:
    """The verb and the table of a statement; savepoints have names of their own."""
    words = sql.replace('"', "").split()
    before = {"INSERT": "INTO", "UPDATE": "UPDATE"}.get(words[0], "FROM")
    table = words[words.index(before) + 1] if before in words else ""
    return f"{words[0]} {table}"


def shape(answer: Any, data: bytes) -> Any:
    """An answer without what differs from one upload to the next: ids, URLs, moments, hashes."""
    names = {sha256(each): number for number, each in enumerate(cut(data, BLOCK_BYTES))}
    names[sha256(data)] = -1

    def plain(value: Any) -> Any:
        match value:
            case dict():
                return {key: "rev" if key == "rev" else plain(each) for key, each in value.items()}
            case list():
                return [plain(each) for each in value]
            case str() if value in names:
                return f"hash {names[value]}"
            case str() if len(value) in {27, 32} and value[4:5] == "-":
                return "moment"
            case str() if "/" in value or len(value) > 40:
                return "url"
            case str():
                try:
                    UUID(value)
                except ValueError:
                    return value
                return "id"
        return value

    return answer.status_code, plain(answer.json()) if answer.content else None


def mallorys_day(mallory_, data, name):
    """Everything that she can ask for with a content, step by step."""
    blocks = cut(data, BLOCK_BYTES)
    names = hashes(data)
    watch = Watch(get_object_store())
    with watch.counting():
        yield (
            "pack too early",
            watch.ask(
                lambda: mallory_.api.post("/files/upload/packs", {"items": [pack_item(blocks)]})
            ),
        )
        begun = watch.ask(
            lambda: mallory_.api.post(
                "/files/upload/init", mallory_.item(data, block_bytes=BLOCK_BYTES, name=name)
            )
        )
        yield "init", begun
        upload_id = begun.answer.json()["upload_id"]
        path = f"/files/upload/{upload_id}"
        yield "state", watch.ask(lambda: mallory_.api.get(path))
        yield "commit with nothing sent", watch.ask(lambda: mallory_.commit(upload_id))
        told = watch.ask(
            lambda: mallory_.api.post(f"{path}/urls", {"done": names, "want": names[:1]})
        )
        yield "urls", told
        reports = [
            {"upload_id": upload_id, "done": names},
            {"upload_id": upload_id, "want": names[:1]},
            {"upload_id": upload_id},
        ]
        yield (
            "urls of many",
            watch.ask(lambda: mallory_.api.post("/files/upload/urls", {"items": reports})),
        )
        pack = watch.ask(
            lambda: mallory_.api.post("/files/upload/packs", {"items": [pack_item(blocks[1:])]})
        )
        yield "pack", pack
        send(told.answer.json()["uploads"][0], blocks[0])
        send(pack.answer.json()["items"][0], b"".join(blocks[1:]))
        yield (
            "report",
            watch.ask(lambda: mallory_.api.post(f"{path}/urls", {"done": names, "want": []})),
        )
        committed = watch.ask(lambda: mallory_.commit(upload_id))
        yield "commit", committed
        file_id = committed.answer.json()["file_id"]
        yield "download", watch.ask(lambda: mallory_.api.get(f"/files/download/{file_id}"))
        yield "quota", watch.ask(mallory_.used)
        rev = committed.answer.json()["file"]["rev"]
        yield (
            "delete",
            watch.ask(lambda: mallory_.api.delete(f"/files/{file_id}", {}, if_match=rev)),
        )
        yield "for ever", watch.ask(lambda: mallory_.api.delete(f"/trash/{file_id}"))
        again = watch.ask(
            lambda: mallory_.api.post(
                "/files/upload/init", mallory_.item(data, block_bytes=BLOCK_BYTES, name=name)
            )
        )
        yield "init again", again


@pytest.mark.parametrize("theirs", ["in single objects", "in a pack"])
def test_nothing_tells_whether_a_stranger_has_the_blocks(alice_, mallory_, theirs):
    """The same answers, the same quota, the same work, for what is new to everybody."""
    rng = random.Random(5)
    held, new = rng.randbytes(3 * BLOCK_BYTES), rng.randbytes(3 * BLOCK_BYTES)
    if theirs == "in a pack":
        upload_id = claim(alice_, held, name="theirs")["upload_id"]
        blocks = cut(held, BLOCK_BYTES)
        assert send(pack_url(alice_, pack_item(blocks)), held).status_code == 200
        assert alice_.commit(upload_id).status_code == 200
    else:
        alice_.put(held, block_bytes=BLOCK_BYTES, name="theirs")
    # The first upload of a device warms what is only looked up once.
    for _ in mallorys_day(mallory_, rng.randbytes(3 * BLOCK_BYTES), "warm"):
        pass
    before = mallory_.used()

    of_held = dict(mallorys_day(mallory_, held, "name"))
    used = mallory_.used()
    of_new = dict(mallorys_day(mallory_, new, "name"))

    assert of_held.keys() == of_new.keys()
    for step, told in of_held.items():
        other = of_new[step]
        if step == "quota":
            # One upload of 3,000 bytes more is reserved by then.
            assert [told.answer[0], told.answer[1] - before[1]] == [3_000, 0]
            assert [other.answer[0], other.answer[1] - used[1]] == [3_000, 0]
        else:
            assert shape(told.answer, held) == shape(other.answer, new), step
        assert told.calls == other.calls, step
        assert told.queries == other.queries, step
    assert mallory_.used()[0] == 0
    assert alice_.read(FileVersion.objects.get(file__name="theirs").file_id) == held
    assert CondemnedObject.objects.exists()
