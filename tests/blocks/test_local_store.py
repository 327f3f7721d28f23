"""The embedded store's door, as a device or an attacker meets it over HTTP."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings

from blocks import disk, local_store
from blocks.locations import block_location
from blocks.service import SignedRequest
from blocks.storage import LocalObjectStore
from drive_project.common.errors import ObjectExists, WrongBytes
from drive_project.common.ids import new_id
from tests.blocks.devices import Door, sha256
from tests.services import dies_with_parent, free_port

DATA = os.urandom(3_000_000)


def location_of(data: bytes) -> str:
    return block_location(sha256(data), new_id())


def put_url(store: LocalObjectStore, location: str, **changes: Any) -> SignedRequest:
    fields = {
        "size_bytes": len(DATA),
        "sha256": sha256(DATA),
        "now": datetime.now(UTC),
        "lifetime": timedelta(minutes=1),
        **changes,
    }
    return store.sign_put(location, **fields)


def get_url(store: LocalObjectStore, location: str, **part: int) -> SignedRequest:
    return store.sign_get(location, now=datetime.now(UTC), lifetime=timedelta(minutes=1), **part)


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == answer.status_code
    assert document["type"] == f"/problems/{document['code']}"
    return answer.status_code, document["code"]


def files_below(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


@pytest.fixture
def there(store: LocalObjectStore, door: Door) -> str:
    location = location_of(DATA)
    assert door.request(put_url(store, location), DATA).status_code == 200
    return location


def test_an_object_is_a_plain_file_at_its_location(there: str, blocks_dir: Path) -> None:
    assert files_below(blocks_dir) == [there]
    assert (blocks_dir / there).read_bytes() == DATA


def test_a_get_shows_bytes_that_nothing_will_run(
    store: LocalObjectStore, door: Door, there: str
) -> None:
    answer = door.request(get_url(store, there))

    assert answer.content == DATA
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "private, no-store"


def test_head_tells_the_length(store: LocalObjectStore, door: Door, there: str) -> None:
    signed = get_url(store, there)

    answer = door.to_local_store("HEAD", signed.url, None, {})

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(DATA))


@pytest.mark.parametrize(
    ("asked", "status", "first", "end"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=10-19", 206, 10, 20),
        ("bytes=2999990-", 206, 2_999_990, 3_000_000),
        ("bytes=2999990-9999999", 206, 2_999_990, 3_000_000),
        ("bytes=-10", 206, 2_999_990, 3_000_000),
        ("bytes=-9999999", 206, 0, 3_000_000),
        ("bytes=0-1,5-6", 200, 0, 3_000_000),
        ("bytes=9-3", 200, 0, 3_000_000),
        ("lines=1-2", 200, 0, 3_000_000),
        ("bytes=-", 200, 0, 3_000_000),
    ],
)
def test_ranges(
    store: LocalObjectStore,
    door: Door,
    there: str,
    asked: str,
    status: int,
    first: int,
    end: int,
) -> None:
    answer = door.request(get_url(store, there), headers={"Range": asked})

    assert (answer.status_code, answer.content) == (status, DATA[first:end])
    if status == 206:
        assert answer.headers["content-range"] == f"bytes {first}-{end - 1}/3000000"


@pytest.mark.parametrize("asked", ["bytes=3000000-", "bytes=9999999-99999999", "bytes=-0"])
def test_a_range_beyond_the_end(
    store: LocalObjectStore, door: Door, there: str, asked: str
) -> None:
    answer = door.request(get_url(store, there), headers={"Range": asked})

    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */3000000"


def test_a_signed_range_has_to_be_asked_for(
    store: LocalObjectStore, door: Door, there: str
) -> None:
    signed = get_url(store, there, start=5, length=10)

    assert door.request(signed).content == DATA[5:15]
    assert problem(door.request(signed, headers={})) == (403, "invalid-url")
    other = door.request(signed, headers={"Range": "bytes=5-15"})
    assert problem(other) == (403, "invalid-url")


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (b"x" * 3_000_000, {}, (400, "wrong-bytes")),
        (DATA[:-1], {"Content-Length": "2999999"}, (400, "wrong-bytes")),
        (DATA + b"x", {"Content-Length": "3000001"}, (413, "too-large")),
        (DATA, {"Content-Length": "-1"}, (411, "length-required")),
        (DATA, {"Content-Length": "all"}, (411, "length-required")),
        (DATA, {"x-amz-checksum-sha256": "AAAA"}, (400, "wrong-bytes")),
        (DATA, {"If-None-Match": '"etag"'}, (403, "invalid-url")),
        (DATA[:-1], {}, (400, "wrong-bytes")),
        (DATA + b"x", {}, (413, "too-large")),
    ],
    ids=[
        "other bytes",
        "shorter",
        "longer",
        "negative",
        "no number",
        "other checksum",
        "other condition",
        "shorter than its header",
        "longer than its header",
    ],
)
def test_what_was_not_signed_is_refused_and_leaves_nothing(
    store: LocalObjectStore,
    door: Door,
    blocks_dir: Path,
    body: bytes,
    headers: dict[str, str],
    expected: tuple[int, str],
) -> None:
    signed = put_url(store, location_of(DATA))

    answer = door.request(signed, body, {**signed.headers, **headers})

    assert problem(answer) == expected
    assert files_below(blocks_dir) == []


def test_a_body_without_a_length_is_refused(store: LocalObjectStore, door: Door) -> None:
    signed = put_url(store, location_of(DATA))

    async def stream() -> Any:
        yield DATA

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(local_store.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://drive.test") as client:
            return await client.put(signed.url, content=stream())

    assert problem(asyncio.run(ask())) == (411, "length-required")


def test_an_expired_or_changed_url(store: LocalObjectStore, door: Door, there: str) -> None:
    old = put_url(store, location_of(DATA), now=datetime.now(UTC) - timedelta(hours=1))
    assert problem(door.request(old, DATA)) == (403, "invalid-url")

    good = get_url(store, there)
    for url in (
        good.url.replace(there, location_of(DATA)),
        good.url.replace("expires=", "expires=1"),
        good.url.partition("?")[0],
        good.url + "&start=0&length=1",
    ):
        assert problem(door.to_local_store("GET", url, None, {})) == (403, "invalid-url")


@pytest.mark.parametrize(
    "path",
    [
        "/blocks/",
        "/blocks/../secret.key",
        "/blocks/b/00/" + "0" * 64 + "/../../../../secret.key",
        "/blocks/incoming/00000000000000000000000000000000",
        "/blocks/%2e%2e/secret.key",
        "/blocks//etc/passwd",
    ],
)
def test_no_path_leads_out_of_the_store(door: Door, blocks_dir: Path, path: str) -> None:
    blocks_dir.mkdir(parents=True)
    (blocks_dir.parent / "secret.key").write_text("the secret")

    async def ask() -> list[Any]:
        messages: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            messages.append(message)

        # Past any client that would tidy the path up first.
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": b"",
            "headers": [],
        }
        await local_store.application(scope, receive, send)
        return messages

    start, body = asyncio.run(ask())

    assert start["status"] == 404
    assert b"the secret" not in body["body"]


def test_other_methods_are_not_known(store: LocalObjectStore, door: Door, there: str) -> None:
    signed = get_url(store, there)

    for method in ("DELETE", "POST", "PATCH"):
        answer = door.to_local_store(method, signed.url, None, {})
        assert problem(answer) == (405, "method-not-allowed")
    assert store.read(there) == DATA


def test_a_device_that_goes_away_leaves_nothing(store: LocalObjectStore, blocks_dir: Path) -> None:
    signed = put_url(store, location_of(DATA))
    path, _, query = signed.url.partition("?")
    parts: Iterator[Any] = iter(
        [
            {"type": "http.request", "body": DATA[:2_000_000], "more_body": True},
            {"type": "http.disconnect"},
        ]
    )

    async def receive() -> Any:
        return next(parts)

    async def send(message: Any) -> None:
        raise AssertionError("nobody is there to answer")

    scope = {
        "type": "http",
        "method": "PUT",
        "path": path,
        "query_string": query.encode(),
        "headers": [
            (name.lower().encode(), value.encode()) for name, value in signed.headers.items()
        ],
    }
    asyncio.run(local_store.application(scope, receive, send))

    assert files_below(blocks_dir) == []


def test_of_many_at_once_one_writes(store: LocalObjectStore, blocks_dir: Path) -> None:
    location = location_of(DATA)
    signed = put_url(store, location)

    async def all_at_once() -> list[int]:
        transport = httpx.ASGITransport(local_store.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://drive.test") as client:
            answers = await asyncio.gather(
                *(client.put(signed.url, content=DATA, headers=signed.headers) for _ in range(8))
            )
        return sorted(answer.status_code for answer in answers)

    assert asyncio.run(all_at_once()) == [200] + [412] * 7
    assert files_below(blocks_dir) == [location]
    assert store.read(location) == DATA


def test_a_folder_that_vanishes_while_it_is_filled(blocks_dir: Path) -> None:
    """Deleting the last object of a hash takes its folder away, at any moment."""
    data = b"of one hash"
    stop = threading.Event()

    def remove_again_and_again() -> None:
        while not stop.is_set():
            disk.remove(blocks_dir, block_location(sha256(data), new_id()))

    remover = threading.Thread(target=remove_again_and_again)
    remover.start()
    try:
        locations = [location_of(data) for _ in range(50)]
        for location in locations:
            with disk.IncomingFile(blocks_dir) as incoming:
                incoming.write(data)
                incoming.finish(location, size_bytes=len(data), sha256=sha256(data))
            assert (blocks_dir / location).read_bytes() == data
            disk.remove(blocks_dir, location)
    finally:
        stop.set()
        remover.join()


def test_a_finished_file_is_never_overwritten(blocks_dir: Path) -> None:
    location = location_of(b"first")
    for data, error in ((b"first", None), (b"first", ObjectExists), (b"other", WrongBytes)):
        with disk.IncomingFile(blocks_dir) as incoming:
            incoming.write(data)
            if error is None:
                incoming.finish(location, size_bytes=5, sha256=sha256(b"first"))
            else:
                with pytest.raises(error):
                    incoming.finish(location, size_bytes=5, sha256=sha256(b"first"))
    assert files_below(blocks_dir) == [location]


@pytest.mark.parametrize("is_seen_first", [True, False], ids=["seen", "sent-again"])
def test_what_was_written_before_a_crash_is_made_durable_before_it_counts(
    store: LocalObjectStore,
    blocks_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_seen_first: bool,
) -> None:
    location = location_of(DATA)
    folder = str((blocks_dir / location).parent)
    synced: list[str] = []
    sync = os.fsync

    def fsync(handle: int) -> None:
        path = str(Path(f"/proc/self/fd/{handle}").readlink())
        if path == folder and "the process dies here" not in synced:
            synced.append("the process dies here")
            raise OSError("as if it had ended")
        synced.append(path)
        sync(handle)

    def write() -> None:
        with disk.IncomingFile(blocks_dir) as incoming:
            incoming.write(DATA)
            incoming.finish(location, size_bytes=len(DATA), sha256=sha256(DATA))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="as if"):
        write()
    assert folder not in synced

    if is_seen_first:
        assert store.sizes([location]) == {location: len(DATA)}
    else:
        with pytest.raises(ObjectExists):
            write()
    assert folder in synced


def test_what_a_crash_left_is_tidied_up_later(
    store: LocalObjectStore, blocks_dir: Path, there: str
) -> None:
    draft = blocks_dir / disk.INCOMING / "of-a-crash"
    draft.write_bytes(b"12345")
    os.utime(draft, (time.time() - 7200,) * 2)

    assert store.tidy(older_than=timedelta(hours=3)) == 0
    assert store.tidy(older_than=timedelta(hours=1)) == 5
    assert files_below(blocks_dir) == [there]


def test_the_same_through_daphne(tmp_path: Path) -> None:
    """A process of its own, 8 MiB both ways, as `make up` serves it."""
    port = free_port()
    server = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import django; django.setup();"
            "from daphne.cli import CommandLineInterface;"
            "import sys; CommandLineInterface().run(sys.argv[1:])",
            "--bind",
            "127.0.0.1",
            "--port",
            str(port),
            "blocks.local_store:application",
        ],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "drive_project.settings",
            "DRIVE_DATA_DIR": str(tmp_path),
            "SECRET_KEY": settings.SECRET_KEY,
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=dies_with_parent(),
    )
    try:
        store = LocalObjectStore(tmp_path / "blocks", secret_key=settings.SECRET_KEY)
        data = os.urandom(8 * 1024 * 1024)
        location = location_of(data)
        signed = put_url(store, location, size_bytes=len(data), sha256=sha256(data))
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            _wait_for(client, server)
            put = client.put(signed.url, content=data, headers=signed.headers)
            again = client.put(signed.url, content=data, headers=signed.headers)
            got = client.get(get_url(store, location).url)
            part = get_url(store, location, start=100, length=50)
            partly = client.get(part.url, headers=part.headers)
            changed = client.get(part.url.replace("start=100", "start=0"), headers=part.headers)
    finally:
        server.terminate()
        errors = server.communicate(timeout=10)[1].decode()

    assert [put.status_code, again.status_code] == [200, 412]
    assert got.content == data
    assert (partly.status_code, partly.content) == (206, data[100:150])
    assert problem(changed) == (403, "invalid-url")
    assert (tmp_path / "blocks" / location).read_bytes() == data
    assert "signature" not in errors


def _wait_for(client: httpx.Client, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            client.get("/blocks/")
            return
        except httpx.TransportError:
            assert server.poll() is None, server.communicate()[1].decode()
            assert time.monotonic() < end
            time.sleep(0.1)
