"""A device as its owner uses it: the command `drive`, with a folder and settings of its own."""

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.services import dies_with_parent
from tests.services.drive import PASSWORD, RunningDrive, wait_until

DRIVE = Path(sys.executable).with_name("drive")


class SyncedFile(NamedTuple):
    """What must be the same on all devices."""

    digest: str
    is_executable: bool
    modified_ns: int


def tree_of(folder: Path) -> dict[str, SyncedFile | None]:
    """Everything below a folder by path; None for a folder. The client's own files are left out."""
    found: dict[str, SyncedFile | None] = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if name.split("/")[0].startswith(".drive"):
            continue
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            found[name] = None
        else:
            found[name] = SyncedFile(
                hashlib.sha256(path.read_bytes()).hexdigest(),
                bool(status.st_mode & stat.S_IXUSR),
                status.st_mtime_ns,
            )
    return found


class Device:
    """One computer: its settings, its folder, and its sync client in the foreground."""

    def __init__(
        self, name: str, home: Path, server: RunningDrive, *, url: str | None = None
    ) -> None:
        """url: where the server is for this device, if something stands between."""
        self.name = name
        self.folder = home / name / "Drive"
        self._url = url or server.url
        self._home = home / name
        self._home.mkdir()
        self.environment = {
            **os.environ,
            "HOME": str(self._home),
            "DRIVE_CONFIG_DIR": str(self._home / "config"),
        }
        self.daemon: subprocess.Popen[bytes] | None = None

    def run(self, *arguments: str, stdin: str = "", timeout_seconds: float = 240) -> Any:
        """A `drive` command; its CompletedProcess."""
        return subprocess.run(
            [str(DRIVE), *arguments],
            cwd=self._home,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )

    def do(self, *arguments: str, stdin: str = "") -> str:
        """A `drive` command that must succeed; what it printed."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"{self.name}: drive {arguments}: {done.stdout}{done.stderr}"
        return str(done.stdout)

    def sign_in_and_link(self, email: str) -> None:
        self.do(
            *("login", self._url, "--email", email),
            *("--password-stdin", "--device", self.name),
            stdin=f"{PASSWORD}\n",
        )
        self.do("link", str(self.folder))

    def start(self) -> None:
        """Start the sync client, and return when it answers."""
        self.launch()
        wait_until(
            lambda: self.run("status", "--json").returncode == 0,
            seconds=30,
            what=f"the sync client of {self.name}",
        )

    def launch(self) -> None:
        """Start the sync client, and return at once."""
        self.daemon = subprocess.Popen(
            [str(DRIVE), "start", "--foreground"],
            cwd=self._home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=dies_with_parent(),
        )

    def stop(self) -> None:
        self.do("stop")
        assert self.daemon is not None
        assert self.daemon.wait(15) == 0

    def kill(self) -> None:
        assert self.daemon is not None
        self.daemon.send_signal(signal.SIGKILL)
        self.daemon.wait()

    def close(self) -> None:
        """For the end of a test, however it went."""
        if self.daemon is not None and self.daemon.poll() is None:
            self.kill()

    def wait(self) -> None:
        """Until all that was written here or committed there before now is synced."""
        self.do("wait", "--timeout", "3m")

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return document

    def tree(self) -> dict[str, SyncedFile | None]:
        return tree_of(self.folder)
