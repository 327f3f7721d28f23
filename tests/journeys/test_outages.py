"""Every part of a production set-up is killed while devices write; nothing acknowledged is lost.

The parts are real processes: two PostgreSQL databases, an S3 server, the Block Service over
gRPC, and the launcher with Redis, web and worker. Each is ended by SIGKILL and started again,
the parts of the launcher by the launcher itself; nobody does anything else.
"""

import hashlib
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psycopg
import pytest

from tests.services import dies_with_parent, free_port
from tests.services.drive import CHECKOUT, PASSWORD, RunningDrive, wait_until
from tests.services.postgres import PrivatePostgres
from tests.services.s3 import PrivateS3

pytestmark = pytest.mark.journey

PARTS = ("web", "worker", "redis", "block service", "store", "databases")
# `make soak` goes round more often.
ROUNDS = 5 if os.environ.get("DRIVE_SOAK") == "full" else 1
WRITERS = 3
# From a part's return until all answer again.
BACK_SECONDS = 60
PATIENCE_SECONDS = 120
TOKEN = "of the block service, and of nobody else"
# What a device meets while a part is away; it tries again.
NOT_NOW = {409, 429, 500, 502, 503, 504}

logger = logging.getLogger(__name__)


class Production:
    """All parts, each a process that can be killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._block_port = free_port()
        self._block_service: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._stack:
            self.postgres = self._stack.enter_context(PrivatePostgres(is_durable=True))
            for name in ("files", "blocks"):
                with psycopg.connect(self.postgres.url + "postgres", autocommit=True) as admin:
                    admin.execute(f"CREATE DATABASE {name}")
            self.store = self._stack.enter_context(PrivateS3.strict())
            bucket = self.store.new_bucket()
            self.drive = RunningDrive(
                self._folder / "data",
                DATABASE_URL=self.postgres.url + "files",
                BLOCKS_DATABASE_URL=self.postgres.url + "blocks",
                S3_BUCKET=bucket.bucket,
                S3_ENDPOINT=bucket.endpoint,
                S3_REGION=bucket.region,
                S3_ACCESS_KEY_ID=bucket.access_key,
                S3_SECRET_ACCESS_KEY=bucket.secret_key,
                BLOCK_SERVICE_ADDRESS=f"127.0.0.1:{self._block_port}",
                BLOCK_SERVICE_TOKEN=TOKEN,
            )
            self.drive.create_user("alice@example.com")
            self._start_block_service()
            self._stack.callback(self._kill_block_service)
            self._stack.enter_context(self.drive)
            self._kept = self._stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._kept.close()

    def _start_block_service(self) -> None:
        log = (self._folder / "block-service.log").open("ab")
        with log:
            self._block_service = subprocess.Popen(
                [sys.executable, "manage.py", "run_block_service"],
                cwd=CHECKOUT,
                env=self.drive.environment
                | {"BLOCK_SERVICE_BIND": f"127.0.0.1:{self._block_port}"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=dies_with_parent(),
            )

    def _kill_block_service(self) -> None:
        if self._block_service is not None:
            self._block_service.kill()
            self._block_service.wait()

    def kill(self, part: str) -> Callable[[], object]:
        """End a part at once; how it is started again."""
        match part:
            case "block service":
                self._kill_block_service()
                return self._start_block_service
            case "store":
                self.store.kill()
                return self.store.start_again
            case "databases":
                self.postgres.kill()
                return self.postgres.start_again
            case _:
                os.kill(self.drive.parts()[part], 9)
                return lambda: None

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.drive.url}/readyz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False


class Writer:
    """A device that goes on writing, and knows what was acknowledged."""

    def __init__(self, url: str, number: int) -> None:
        self._rng = random.Random(number)
        self._number = number
        answer = httpx.post(
            f"{url}/api/v1/devices/sign-in",
            json={
                "email": "alice@example.com",
                "password": PASSWORD,
                "name": f"writer {number}",
                "platform": "test",
                "client_version": "0",
            },
        )
        token = answer.raise_for_status().json()["token"]
        self.client = httpx.Client(
            base_url=f"{url}/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=10,
            trust_env=False,
        )
        self._root = self.client.get("/folders/root").raise_for_status().json()["folder_id"]
        self.acknowledged: dict[str, str] = {}

    def write_until(self, stop: threading.Event) -> None:
        while not stop.is_set():
            # Half of them the same for all devices: those blocks are shared.
            seed = self._rng.choice(["shared", self._number])
            data = random.Random(f"{seed} {self._rng.randint(0, 40)}").randbytes(20_000)
            file_id = self._put(f"{uuid.uuid4()}.bin", data)
            self.acknowledged[file_id] = hashlib.sha256(data).hexdigest()

    def _put(self, name: str, data: bytes) -> str:
        """Through any outage; the same ids each time, so nothing is written twice."""
        digest = hashlib.sha256(data).hexdigest()
        item = {
            "op_id": str(uuid.uuid4()),
            "parent_folder_id": self._root,
            "name": name,
            "size_bytes": len(data),
            "content_hash": digest,
            "blocks": [{"block_hash": digest, "size_bytes": len(data)}],
        }
        deadline = time.monotonic() + PATIENCE_SECONDS
        last: object = None
        while time.monotonic() < deadline:
            try:
                begun = self._post("/files/upload/init", item)
                state = self._post(
                    f"/files/upload/{begun['upload_id']}/urls", {"done": [], "want": [digest]}
                )
                for upload in state["uploads"]:
                    httpx.request(
                        upload["method"],
                        upload["url"],
                        content=data,
                        headers=upload["headers"],
                        timeout=10,
                    )
                committed = self._post("/files/upload/commit", {"upload_id": begun["upload_id"]})
            except (httpx.HTTPError, NotNow) as error:
                last = error
                time.sleep(0.2)
                continue
            file_id: str = committed["file_id"]
            return file_id
        raise AssertionError(f"not through within {PATIENCE_SECONDS} s: {last!r}")

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        answer = self.client.post(path, json=body)
        if answer.status_code in NOT_NOW:
            raise NotNow(f"{path}: {answer.status_code} {answer.text[:300]}")
        assert answer.is_success, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()


class NotNow(Exception):
    """The server says that it cannot do it at this moment."""


@pytest.fixture
def production() -> Iterator[Production]:
    # A short path: UNIX sockets lie below it.
    with tempfile.TemporaryDirectory() as folder, Production(Path(folder)) as running:
        yield running


def test_whatever_part_is_killed_nothing_acknowledged_is_lost(production: Production) -> None:
    stop = threading.Event()
    with ExitStack() as clients, ThreadPoolExecutor(WRITERS) as pool:
        writers = [Writer(production.drive.url, number) for number in range(WRITERS)]
        for writer in writers:
            clients.callback(writer.client.close)

        def written() -> int:
            return sum(len(writer.acknowledged) for writer in writers)

        writing = [pool.submit(writer.write_until, stop) for writer in writers]
        try:
            for part in PARTS * ROUNDS:
                start_again = production.kill(part)
                time.sleep(1)
                start_again()
                began = time.monotonic()
                wait_until(
                    production.is_ready,
                    seconds=BACK_SECONDS,
                    what=f"ready after the {part} was killed",
                )
                target = written() + WRITERS
                wait_until(
                    lambda target=target: written() >= target,  # type: ignore[misc]
                    seconds=BACK_SECONDS,
                    what=f"writes after the {part} was killed",
                    explain=lambda: [each for each in writing if each.done()],
                )
                logger.warning("%s: all write again after %.1f s", part, time.monotonic() - began)
        finally:
            stop.set()
        for each in writing:
            each.result()

        reader = writers[0].client
        for writer in writers:
            assert writer.acknowledged
            for file_id, digest in writer.acknowledged.items():
                content = reader.get(f"/files/{file_id}/content").raise_for_status().content
                assert hashlib.sha256(content).hexdigest() == digest
    checked = production.drive.manage("fsck", "--deep", "--json")
    assert checked.returncode == 0, json.dumps(json.loads(checked.stdout)["problems"], indent=1)
