"""The drill: back up while people work, lose the server, restore it, and nobody loses a thing."""

import hashlib
import json
import random
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from tests.journeys.devices import Device
from tests.services.drive import PASSWORD, RunningDrive
from tests.services.s3 import PrivateS3

pytestmark = pytest.mark.journey


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningDrive]:
    with RunningDrive(tmp_path / "server") as drive:
        yield drive


def assert_clean(server: RunningDrive) -> None:
    done = server.manage("fsck", "--deep", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["problems"] == []


class Author:
    """A program that writes one file after another, over HTTP, and remembers what was
    acknowledged."""

    def __init__(self, http: httpx.Client, email: str) -> None:
        self._http = http
        answer = self._http.post(
            "/devices/sign-in",
            json={
                "email": email,
                "password": PASSWORD,
                "name": "author",
                "platform": "test",
                "client_version": "1",
            },
        )
        assert answer.status_code == 201, answer.text
        self._http.headers["authorization"] = f"Bearer {answer.json()['token']}"
        self._root = self._http.get("/folders/root").json()["folder_id"]
        self.acknowledged: dict[str, str] = {}

    def write(self, name: str, data: bytes) -> None:
        block_hash = hashlib.sha256(data).hexdigest()
        begun = self._post(
            "/files/upload/init",
            name=name,
            parent_folder_id=self._root,
            size_bytes=len(data),
            content_hash=block_hash,
            blocks=[{"block_hash": block_hash, "size_bytes": len(data)}],
        )
        urls = self._post(f"/files/upload/{begun['upload_id']}/urls", done=[], want=[block_hash])
        for upload in urls["uploads"]:
            sent = self._http.put(upload["url"], content=data, headers=upload["headers"])
            assert sent.status_code in {200, 201, 204}, sent.text
        self._post("/files/upload/commit", upload_id=begun["upload_id"])
        self.acknowledged[name] = block_hash

    def remove_for_ever(self, name: str) -> None:
        page = self._http.get(f"/folders/{self._root}/children", params={"limit": 1000}).json()
        [file] = [item for item in page["items"] if item["name"] == name]
        del self.acknowledged[name]
        self._http.delete(
            f"/files/{file['file_id']}", headers={"if-match": f'"{file["rev"]}"'}
        ).raise_for_status()
        self._http.delete(f"/trash/{file['file_id']}").raise_for_status()

    def _post(self, path: str, **body: object) -> dict[str, Any]:
        answer = self._http.post(path, json=body)
        assert answer.status_code < 300, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def read_all(self) -> dict[str, str]:
        """The SHA-256 of each file, as its content is streamed."""
        page = self._http.get(f"/folders/{self._root}/children", params={"limit": 1000}).json()
        assert page["next_cursor"] is None
        return {
            item["name"]: hashlib.sha256(
                self._http.get(f"/files/{item['file_id']}/content").content
            ).hexdigest()
            for item in page["items"]
        }


@pytest.fixture
def authors() -> Iterator[Callable[[RunningDrive, str], Author]]:
    with ExitStack() as stack:

        def sign_in(server: RunningDrive, email: str) -> Author:
            http = httpx.Client(base_url=f"{server.url}/api/v1", timeout=30)
            return Author(stack.enter_context(http), email)

        yield sign_in


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Callable[..., RunningDrive]]:
    """Makes servers by the names of their folders; they are ended with the test."""
    with ExitStack() as stack:

        def make(name: str, **more: Any) -> RunningDrive:
            return stack.enter_context(closing(RunningDrive(tmp_path / name, **more)))

        yield make


@pytest.fixture(scope="module")
def s3() -> Iterator[PrivateS3]:
    with PrivateS3.strict() as running:
        yield running


@pytest.fixture(params=["disk", "S3"])
def store(request: pytest.FixtureRequest) -> Callable[[], dict[str, str]]:
    """The settings of a store that is empty, a new one at each call."""

    def on_disk() -> dict[str, str]:
        return {}

    def on_s3() -> dict[str, str]:
        bucket = request.getfixturevalue("s3").new_bucket()
        return {
            "S3_BUCKET": bucket.bucket,
            "S3_ENDPOINT": bucket.endpoint,
            "S3_REGION": bucket.region,
            "S3_ACCESS_KEY_ID": bucket.access_key,
            "S3_SECRET_ACCESS_KEY": bucket.secret_key,
        }

    return on_disk if request.param == "disk" else on_s3


def test_a_backup_beside_commits_and_deletions_is_whole(
    servers: Callable[..., RunningDrive],
    store: Callable[[], dict[str, str]],
    authors: Callable[[RunningDrive, str], Author],
    tmp_path: Path,
) -> None:
    own_store = store()
    # Removed content goes at once: the hold alone keeps it for the backup.
    server = servers("server", BLOCK_GRACE_SECONDS="0", **own_store)
    server.start()
    email = f"{uuid.uuid4()}@example.com"
    server.create_user(email)
    author = authors(server, email)
    for number in range(60):
        author.write(f"before {number}", b"before %d" % number)
    before = set(author.acknowledged)
    is_over = Event()

    def work() -> None:
        number = 0
        while not is_over.is_set():
            author.write(f"during {number}", b"during %d" % number)
            if number < 60:
                author.remove_for_ever(f"before {number}")
            number += 1

    def collect() -> None:
        while not is_over.is_set():
            done = server.manage("collect_garbage", "--grace", "0")
            assert done.returncode == 0, done.stderr

    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(work), threads.submit(collect)]
        done = server.manage("backup", str(tmp_path / "backup"))
        is_over.set()
        for each in running:
            each.result()
    assert done.returncode == 0, done.stdout + done.stderr
    server.close()
    assert_clean(server)

    if own_store:
        in_use = servers("elsewhere", **own_store).manage("restore", str(tmp_path / "backup"))
        assert (in_use.returncode, in_use.stdout) == (2, "")
        assert "The object store is not empty" in in_use.stderr
    restored = servers("restored", port=server.port, **store())
    answer = restored.manage("restore", str(tmp_path / "backup"))

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert_clean(restored)
    restored.start()
    found = author.read_all()
    # Whatever there is can be read whole, and what was there all along is there.
    assert all(
        digest == hashlib.sha256(name.encode()).hexdigest() for name, digest in found.items()
    )
    kept_throughout = before & author.acknowledged.keys()
    assert kept_throughout <= found.keys()


def write_some(folder: Path, dice: random.Random, prefix: str) -> None:
    for number in range(12):
        place = folder / f"{prefix} {number % 3}"
        place.mkdir(exist_ok=True)
        (place / f"{prefix} {number}.txt").write_bytes(dice.randbytes(dice.randint(1, 400_000)))


def test_devices_that_are_newer_than_the_restored_server_lose_nothing(
    server: RunningDrive, tmp_path: Path
) -> None:
    dice = random.Random(3)
    email = f"{uuid.uuid4()}@example.com"
    server.create_user(email)
    laptop, phone = (Device(name, tmp_path, server) for name in ("laptop", "phone"))
    for device in (laptop, phone):
        device.sign_in_and_link(email)
        device.start()
    restored = RunningDrive(tmp_path / "restored", port=server.port)
    try:
        write_some(laptop.folder, dice, "old")
        laptop.wait()
        phone.wait()
        assert server.manage("backup", str(tmp_path / "backup")).returncode == 0

        write_some(phone.folder, dice, "new")
        (laptop.folder / "old 0" / "old 0.txt").write_text("edited after the backup")
        (laptop.folder / "old 1").rename(laptop.folder / "renamed after the backup")
        for device in (laptop, phone, laptop):
            device.wait()
        expected = contents(laptop)
        assert contents(phone) == expected
        server.close()
        (laptop.folder / "while it was away.txt").write_text("offline")
        answer = restored.manage("restore", str(tmp_path / "backup"))
        assert answer.returncode == 0, answer.stdout + answer.stderr

        restored.start()
        for device in (laptop, phone, laptop, phone):
            assert device.run("wait", "--timeout", "3m").returncode in {0, 6}

        assert contents(laptop) == contents(phone)
        found = contents(laptop)
        assert set(expected.values()) <= set(found.values())
        # A name is the server's to tell: that of the renamed folder is the old one again.
        moved = {path for path in expected if path.startswith("renamed after")}
        assert {path: expected[path] for path in expected.keys() - moved}.items() <= found.items()
        assert (phone.folder / "while it was away.txt").read_text() == "offline"
        restored.stop()
        assert_clean(restored)
    finally:
        laptop.close()
        phone.close()
        restored.close()


def contents(device: Device) -> dict[str, str]:
    return {path: file.digest for path, file in device.tree().items() if file is not None}
