"""Real S3 servers, private to a test run: one that enforces checksums, one that does not.

OpenStack Swift refuses a PUT whose bytes are not those of the signed checksum; `rclone
serve s3` takes them. Together they prove both ways of verifying an upload.
"""

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.services import ServiceMissing, dies_with_parent, free_port

REMEDY = "run: .venv/bin/pip install -r requirements-dev.txt"
READY_SECONDS = 30


@dataclass(frozen=True)
class S3Address:
    """Where a bucket is and how to sign for it."""

    endpoint: str
    bucket: str
    region: str
    access_key: str
    secret_key: str


class PrivateS3:
    """A server in a process and a folder of its own; see `strict` and `lax`."""

    def __init__(self, name: str, *, access_key: str, secret_key: str) -> None:
        self._name = name
        self._folder = Path(tempfile.mkdtemp(prefix=f"drive-{name}-"))
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._endpoint = f"http://127.0.0.1:{self._port}"
        self._access_key = access_key
        self._secret_key = secret_key

    @classmethod
    def strict(cls) -> Self:
        """Swift with its s3api: enforces checksums, lengths and If-None-Match."""
        if importlib.util.find_spec("swift") is None:
            raise ServiceMissing(f"S3: the package swift is not installed; {REMEDY}")
        return cls("swift", access_key="test:tester", secret_key="testing")

    @classmethod
    def lax(cls) -> Self:
        """rclone: checks signatures, not bytes."""
        return cls("rclone", access_key="drive", secret_key="drive-secret")

    def _command(self) -> list[str]:
        if self._name == "swift":
            return [
                sys.executable,
                "-W",
                "ignore",
                str(Path(__file__).with_name("swift_server.py")),
                str(self._folder),
                str(self._port),
            ]
        program = Path(sysconfig.get_path("scripts")) / "rclone"
        found = str(program) if program.exists() else shutil.which("rclone")
        if found is None:
            raise ServiceMissing(f"S3: rclone is not installed; {REMEDY}")
        served = self._folder / "objects"
        served.mkdir(exist_ok=True)
        key = f"{self._access_key},{self._secret_key}"
        return [
            found,
            "serve",
            "s3",
            "--config",
            str(self._folder / "rclone.conf"),
            "--auth-key",
            key,
            "--addr",
            f"127.0.0.1:{self._port}",
            str(served),
        ]

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self) -> None:
        log = self._folder / "server.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={
                    "PATH": os.environ.get("PATH", os.defpath),
                    "HOME": str(self._folder),
                    "LANG": "C.UTF-8",
                },
                preexec_fn=dies_with_parent(),
            )
        end = time.monotonic() + READY_SECONDS
        while True:
            try:
                self.new_bucket()
                return
            except (BotoCoreError, ClientError) as error:
                if self._process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(
                        f"{self._name} did not start ({error}):\n{log.read_text()[-2000:]}"
                    ) from error
                time.sleep(0.1)

    def new_bucket(self) -> S3Address:
        """An empty bucket, so that tests do not meet each other's objects."""
        address = S3Address(
            endpoint=self._endpoint,
            bucket=f"drive-{secrets.token_hex(6)}",
            region="us-east-1",
            access_key=self._access_key,
            secret_key=self._secret_key,
        )
        client = boto3.client(
            "s3",
            endpoint_url=address.endpoint,
            region_name=address.region,
            aws_access_key_id=address.access_key,
            aws_secret_access_key=address.secret_key,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                retries={"total_max_attempts": 1},
            ),
        )
        client.create_bucket(Bucket=address.bucket)
        client.close()
        return address

    def kill(self) -> None:
        """End it at once; what it stored stays."""
        assert self._process is not None, "it does not run"
        self._process.kill()
        self._process.wait()

    def start_again(self) -> None:
        """After `kill`: on the same objects and port."""
        self._start()

    def close(self) -> None:
        """Stop the server and remove what it stored."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)
