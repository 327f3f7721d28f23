"""Child processes of the launcher: started, logged, started again, ended together.

Standard library only, so that the launcher stays small. One thread, one loop: it writes what
the parts print to their log files, repeats warnings and errors on stderr, starts a part that
died, and ends on a signal.
"""

import contextlib
import ctypes
import os
import queue
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
# A part that has run this long has recovered: its next pause is the first one again.
RECOVERED_AFTER_SECONDS = 60.0
MAX_LOG_BYTES = 10 * 1024 * 1024
TICK_SECONDS = 0.5

_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, signal_number: int) -> None:
    """Have the kernel send this process a signal when `parent` dies, however it dies."""
    if _LIBC is None:
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    if os.getppid() != parent:
        # It died before the call.
        os.kill(os.getpid(), signal_number)


class Stopped(Exception):
    """A signal asked for the end."""


class Log:
    """A part's log file, with one predecessor, both of bounded size."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab", buffering=0)

    def fileno(self) -> int:
        return self._file.fileno()

    def clear(self) -> None:
        self._file.truncate(0)

    def write(self, data: bytes) -> None:
        # A full disk must not end the launcher, and with it all parts.
        with contextlib.suppress(OSError):
            if self._file.tell() > MAX_LOG_BYTES:
                self._file.close()
                self.path.replace(self.path.with_suffix(".log.1"))
                self._file = self.path.open("ab", buffering=0)
            self._file.write(data)

    def last_words(self) -> str:
        """Why a part that failed did so, in one line, and where the rest stands."""
        with self.path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 16 * 1024))
            lines = [line for line in file.read().decode(errors="replace").splitlines() if line]
        found = [line for line in lines if re.match(r"\?: \(|\tHINT: ", line)]
        if found and lines[-1] == found[-1]:
            # Django's checks: "?: (ID) message", then its hint on a line of its own.
            words = " ".join(re.sub(r"^(\?|\tHINT): ", "", line) for line in found)
        else:
            # The name of an exception's class says nothing to an operator.
            last = lines[-1] if lines else "it said nothing."
            words = re.sub(r"^[\w.]+(Error|Configured|Exit): ", "", last)
        return f"{words} (Log: {self.path})"


class Echo:
    """Repeats warnings and errors of the parts on stderr, with the lines that belong to them.

    On a thread of its own that drops what it cannot write: a terminal that was paused, or a
    reader that has gone, must not hold up the parts.
    """

    _RECORD = re.compile(rb"^\d{4}-\d\d-\d\d [\d:,]+ ([A-Z]+) ")
    _LOUD = frozenset({b"WARNING", b"ERROR", b"CRITICAL"})

    def __init__(self) -> None:
        self._lines: queue.Queue[bytes] = queue.Queue(maxsize=1000)
        threading.Thread(target=self._write, name="echo", daemon=True).start()

    def offer(self, part: "Part", line: bytes) -> None:
        record = self._RECORD.match(line)
        if record:
            part.is_loud = record[1] in self._LOUD
        if part.is_loud:
            with contextlib.suppress(queue.Full):
                self._lines.put_nowait(part.name.encode() + b": " + line + b"\n")

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            with contextlib.suppress(OSError):
                os.write(sys.stderr.fileno(), line)


@dataclass(slots=True, eq=False)
class Part:
    """One child process that should always run."""

    name: str
    command: Sequence[str]
    # How long it may take to end by itself before it is killed.
    stop_seconds: float
    inherited_fds: Sequence[int] = ()
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    start_again_at: float | None = None
    pause_seconds: float = FIRST_PAUSE_SECONDS
    ends: int = 0
    is_loud: bool = False
    unfinished_line: bytes = b""
    # The others need it until their end.
    stops_last: bool = False


class Supervisor:
    """Runs parts until a signal comes. Use it in the main thread, which must outlive them."""

    def __init__(
        self,
        *,
        logs: Path,
        folder: Path,
        environment: Mapping[str, str],
        is_told_to_stop: Callable[[], bool],
    ) -> None:
        self._folder = folder
        self._logs_folder = logs
        self._environment = dict(environment)
        self._is_told_to_stop = is_told_to_stop
        self._parts: list[Part] = []
        self._logs: dict[str, Log] = {}
        self._echo = Echo()
        self._is_stopping = False
        self._selector = selectors.DefaultSelector()
        reader, writer = os.pipe()
        for end in (reader, writer):
            os.set_blocking(end, False)
        self._selector.register(reader, selectors.EVENT_READ, None)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in STOP_SIGNALS:
            signal.signal(number, self._on_stop_signal)
        # Only so that it wakes the loop: a child has ended.
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _on_stop_signal(self, number: int, frame: FrameType | None) -> None:
        self._is_stopping = True

    def log(self, name: str) -> Log:
        if name not in self._logs:
            self._logs[name] = Log(self._logs_folder / f"{name}.log")
        return self._logs[name]

    # --- Starting

    def start(self, part: Part) -> None:
        """Start a part, and from now on start it again whenever it ends."""
        self._parts.append(part)
        self._spawn(part)

    def run(self, name: str, command: Sequence[str]) -> tuple[int, str]:
        """Run a command to its end: its exit status and what it printed on stdout.

        What it prints on stderr is its log. Raises Stopped; the command is killed then.
        """
        self.log(name).clear()
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.log(name).fileno(),
            cwd=self._folder,
            env=self._environment,
            start_new_session=True,
            preexec_fn=self._tie_to_launcher(),
        )
        try:
            while process.poll() is None:
                self.step()
        except Stopped:
            process.kill()
            process.wait()
            raise
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        with process.stdout as output:
            return process.returncode, output.read().decode()

    def _tie_to_launcher(self) -> Callable[[], None]:
        launcher = os.getpid()
        # SIGKILL: a part that shut down in its own time could still run when the next
        # launcher starts. All of them are made to survive it.
        return lambda: die_with_parent(launcher, signal.SIGKILL)

    def _spawn(self, part: Part) -> None:
        process = subprocess.Popen(
            list(part.command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            cwd=self._folder,
            env=self._environment,
            pass_fds=part.inherited_fds,
            # A terminal's Ctrl-C is for the launcher, which ends the parts in their order.
            start_new_session=True,
            # Safe beside the one other thread: it takes no lock that the child needs.
            preexec_fn=self._tie_to_launcher(),
        )
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        os.set_blocking(process.stdout.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ, part)
        part.process = process
        part.started_at = time.monotonic()
        part.start_again_at = None

    # --- The loop

    def step(self, timeout_seconds: float = TICK_SECONDS) -> None:
        """Wait for something to happen, for at most this long, and see to it.

        Raises Stopped once a signal has come.
        """
        for key, _ in self._selector.select(timeout_seconds):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    os.read(key.fd, 4096)
            else:
                self._pump(key.data)
        if self._is_stopping or self._is_told_to_stop():
            raise Stopped
        for part in self._parts:
            self._look_after(part)

    def _pump(self, part: Part) -> None:
        """Take what a part has printed."""
        if part.process is None or part.process.stdout is None or part.process.stdout.closed:
            return
        try:
            data = os.read(part.process.stdout.fileno(), 65536)
        except BlockingIOError:
            return
        if not data:
            self._selector.unregister(part.process.stdout)
            part.process.stdout.close()
            data = b"\n" if part.unfinished_line else b""
        self.log(part.name).write(data)
        *lines, rest = (part.unfinished_line + data).split(b"\n")
        # A line without an end is not kept for ever.
        part.unfinished_line = rest[-4096:]
        for line in lines:
            self._echo.offer(part, line)

    def _look_after(self, part: Part) -> None:
        now = time.monotonic()
        if part.start_again_at is not None:
            if now >= part.start_again_at:
                self._spawn(part)
            return
        if part.process is None or part.process.poll() is None:
            return
        self._drain(part)
        part.ends += 1
        if now - part.started_at > RECOVERED_AFTER_SECONDS:
            part.pause_seconds = FIRST_PAUSE_SECONDS
        self.say(
            f"{part.name} has ended ({describe(part.process.returncode)}); "
            f"starting it again in {part.pause_seconds:g} s"
        )
        part.start_again_at = now + part.pause_seconds
        part.pause_seconds = min(2 * part.pause_seconds, LONGEST_PAUSE_SECONDS)

    def _drain(self, part: Part) -> None:
        """Take the last words of a part that has ended."""
        assert part.process is not None  # noqa: S101
        assert part.process.stdout is not None  # noqa: S101
        if not part.process.stdout.closed:
            self._pump(part)
        if not part.process.stdout.closed:
            self._selector.unregister(part.process.stdout)
            part.process.stdout.close()

    def say(self, line: str) -> None:
        """A line of the launcher itself, on stderr and in its log."""
        moment = time.strftime("%Y-%m-%d %H:%M:%S")
        self.log("up").write(f"{moment} {line}\n".encode())
        with contextlib.suppress(OSError):
            os.write(sys.stderr.fileno(), f"{line}\n".encode())

    # --- Stopping

    def stop(self) -> None:
        """End all parts; kill what does not end in its time."""
        self._end([part for part in self._parts if not part.stops_last])
        self._end([part for part in self._parts if part.stops_last])

    def _end(self, parts: Sequence[Part]) -> None:
        running = {
            part: part.process
            for part in parts
            if part.process is not None and part.process.poll() is None
        }
        began_at = time.monotonic()
        for process in running.values():
            process.terminate()
        while running:
            for key, _ in self._selector.select(0.05):
                if key.data is not None:
                    self._pump(key.data)
            for part, process in list(running.items()):
                if process.poll() is not None:
                    del running[part]
                elif time.monotonic() - began_at > part.stop_seconds:
                    self.log("up").write(f"killing {part.name}, which does not end\n".encode())
                    process.kill()
                    process.wait()


def describe(returncode: int) -> str:
    """How a process ended, in words."""
    if returncode >= 0:
        return f"exit {returncode}"
    return f"killed by {signal.Signals(-returncode).name}"
