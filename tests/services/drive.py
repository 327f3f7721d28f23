"""The whole product as its user starts it: `python -m drive_project.up`, on a free port."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from uuid import uuid4

from tests.services import dies_with_parent, free_port

CHECKOUT = Path(__file__).resolve().parent.parent.parent
PASSWORD = "correct horse battery staple"
ACCOUNTS_AT_ONCE = 10
READY_SECONDS = 90.0
STOP_SECONDS = 10.0
# What the test run has set up for its own process is not for this one.
_NOT_OURS = (
    "DATABASE_URL",
    "BLOCKS_DATABASE_URL",
    "REDIS_URL",
    "EVENTS_REDIS_URL",
    "DJANGO_SETTINGS_MODULE",
)


def wait_until(
    holds: Callable[[], object],
    *,
    seconds: float,
    what: str,
    every: float = 0.1,
    explain: Callable[[], object] = lambda: "",
) -> None:
    """Return once it holds; fail the test after so many seconds, saying what did not happen.

    explain: asked then for what else to show.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what} {explain()}"
        time.sleep(every)


def is_running(pid: int) -> bool:
    """Whether this process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def children_of(pid: int) -> dict[int, str]:
    """The running child processes of a process, with their command lines."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            command = (
                (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            )
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == pid and is_running(int(folder.name)):
            found[int(folder.name)] = command.replace("\0", " ")
    return found


def _lines(file: IO[str] | None) -> list[str]:
    assert file is not None, "not started"
    # The child writes at the end, by the same open file: read without moving it.
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), size, 0).decode().splitlines(keepends=True)


def _as_from_a_terminal() -> Callable[[], None]:
    """For a child that hears SIGINT, also where the tests run in the background of a shell,
    which has its children ignore it."""
    dies = dies_with_parent()

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        dies()

    return prepare


class RunningDrive:
    """A server with a data folder and a port of its own. Use as a context, or start and stop."""

    def __init__(
        self, data_dir: Path, *, port: int | None = None, command: Sequence[str] = (), **more: str
    ) -> None:
        self.data_dir = data_dir
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in _NOT_OURS},
            "DRIVE_DATA_DIR": str(data_dir),
            "DRIVE_BIND": f"127.0.0.1:{self.port}",
            **more,
        }
        self._command = list(command) or [sys.executable, "-m", "drive_project.up"]
        self._accounts: list[str] = []
        self._output: IO[str] | None = None
        self._errors: IO[str] | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def launch(self) -> "subprocess.Popen[bytes]":
        """Start the launcher and return at once."""
        self._close_output()
        # `close` closes both.
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            self._command,
            cwd=CHECKOUT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._errors,
            start_new_session=True,
            preexec_fn=_as_from_a_terminal(),
        )
        return self.process

    @property
    def output(self) -> list[str]:
        """The lines on stdout, each with its end."""
        return _lines(self._output)

    @property
    def errors(self) -> list[str]:
        """The lines on stderr, each with its end."""
        return _lines(self._errors)

    def start(self) -> None:
        """Start, and return when it says that it is ready."""
        process = self.launch()
        wait_until(
            lambda: self.is_ready or process.poll() is not None,
            seconds=READY_SECONDS,
            what="the ready line",
            explain=lambda: f"{self.output} {self.errors}",
        )
        assert self.is_ready, "".join(self.errors)

    @property
    def is_ready(self) -> bool:
        return f"Drive is ready at {self.url}\n" in self.output

    @property
    def setup_link(self) -> str | None:
        """The link that makes the first administrator, where one was printed."""
        for line in self.output:
            if line.startswith("Create the first administrator: "):
                return line.partition(": ")[2].strip()
        return None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def launcher_pid(self) -> int:
        """The launcher itself, also where `make` started it."""
        return next(
            (pid for pid, line in children_of(self.pid).items() if "drive_project.up" in line),
            self.pid,
        )

    def parts(self) -> dict[str, int]:
        """The processes that the launcher keeps running, by name."""
        words = {"redis": "redis", "worker": "drive_project.worker", "web": "drive_project.server"}
        children = children_of(self.launcher_pid())
        return {
            name: pid
            for name, word in words.items()
            for pid, line in children.items()
            if word in line
        }

    def all_pids(self) -> list[int]:
        return [self.pid, self.launcher_pid(), *self.parts().values()]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal to the process that was started; its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)

    def close(self) -> None:
        """End what is left. For the end of a test: `stop` says whether it went well."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._close_output()

    def _close_output(self) -> None:
        for file in (self._output, self._errors):
            if file is not None:
                file.close()
        self._output = self._errors = None

    def manage(self, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """`manage.py` with the environment of this server."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=CHECKOUT,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def new_account(self) -> str:
        """The e-mail address of somebody new, with the password PASSWORD.

        Some are made at a time: starting Django takes longer than making them.
        """
        if not self._accounts:
            emails = [f"{uuid4()}@example.com" for _ in range(ACCOUNTS_AT_ONCE)]
            made = self.manage(
                "shell",
                "--command",
                "from files.services.accounts import create_user\n"
                f"for email in {emails!r}: create_user(email=email, password={PASSWORD!r})",
            )
            assert made.returncode == 0, made.stderr
            self._accounts = emails
        return self._accounts.pop()

    def create_user(self, email: str, *options: str) -> None:
        """An account with the password PASSWORD."""
        done = self.manage("create_user", email, "--password-stdin", *options, stdin=PASSWORD)
        assert done.returncode == 0, done.stderr
