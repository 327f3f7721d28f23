"""What people see: text that cannot harm a terminal, sizes, the status, progress."""

import datetime
import os
import sys
import time
import unicodedata
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# Lines for those who are no terminal, such as a log: not too many of them.
LINE_EVERY_SECONDS = 5.0

STATES = {
    "up_to_date": "Up to date",
    "syncing": "Syncing",
    "connecting": "Connecting",
    "offline": "Offline",
    "needs_login": "Sign in again",
    "attention": "Needs attention",
    "paused": "Paused",
}


def say(text: str, *, to: TextIO | None = None) -> None:
    """Print one line, with names made harmless. Diagnostics go to stderr."""
    stream = to or sys.stdout
    encoding = stream.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), file=stream, flush=True)


def say_json(document: dict[str, Any]) -> None:
    """Print a document for programs. Schema 1 only grows."""
    import json

    say(json.dumps({"schema": 1, **document}, indent=2, ensure_ascii=False))


def complain(text: str) -> None:
    say(f"drive: {text}", to=sys.stderr)


def harmless(name: str) -> str:
    """A name as people may see it: what would steer the terminal is shown as an escape."""
    return "".join(
        character
        if not unicodedata.category(character).startswith(("C", "Zl", "Zp"))
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in name
    )


def size_text(size_bytes: int) -> str:
    """A size as people read it, in powers of 1,000."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    size = float(size_bytes)
    for unit in ("kB", "MB", "GB", "TB", "PB", "EB"):
        size /= 1000
        if size < 999.5 or unit == "EB":
            return f"{size:.3g} {unit}"
    raise AssertionError("the last unit takes every size")


def local_time(moment: str) -> str:
    """A moment of the server as the clock here showed it, to the minute."""
    return datetime.datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M")


def is_watched(stream: TextIO | None = None) -> bool:
    """Whether a person looks, and did not ask for plain text."""
    return (stream or sys.stdout).isatty() and "NO_COLOR" not in os.environ


def pending_text(pending: dict[str, int]) -> str:
    """What is left, in a few words; empty if nothing is."""
    parts = []
    for direction in ("up", "down"):
        files = pending[f"{direction}_files"]
        if files:
            noun = "file" if files == 1 else "files"
            parts.append(f"{direction} {files} {noun}, {size_text(pending[f'{direction}_bytes'])}")
    return "; ".join(parts)


def status_lines(document: dict[str, Any]) -> list[str]:
    """The status for people."""
    state = STATES[document["state"]]
    left = pending_text(document["pending"])
    lines = [f"{state}  {left}".rstrip()]
    if document["reason"]:
        lines.append(f"  {harmless(document['reason'])}")
    if document["next"]:
        lines.append(f"  next: {document['next']}")
    account = document["account"]
    if account["email"]:
        used = account["used_bytes"]
        quota = account["quota_bytes"]
        storage = ""
        if used is not None:
            storage = f"  {size_text(used)}" + (f" of {size_text(quota)}" if quota else " used")
        lines.append(f"Account  {harmless(account['email'])}{storage}")
    server = document["server"]
    if server["url"]:
        connected = "connected" if server["connected"] else "not connected"
        lines.append(f"Server   {server['url']}  {connected}")
    for root in document["roots"]:
        lines.append(f"Folder   {harmless(root['path'])}  =  {harmless(root['remote_path'])}")
        if root.get("watched") is False:
            lines.append("  Changes are looked for once a minute: too few inotify watches.")
            lines.append("  next: raise fs.inotify.max_user_watches (sysctl), then drive restart")
    if document["conflicts"]:
        noun = "conflicted copy" if document["conflicts"] == 1 else "conflicted copies"
        lines.append(f"Conflicts  {document['conflicts']} {noun}. See: drive conflicts")
    for problem in document["problems"]:
        lines.append(f"Problem  {harmless(problem['path'])}: {harmless(problem['message'])}")
    return lines


class Watching:
    """Progress while something runs: bars when a person looks, plain lines otherwise.

    look: gives pending (as in the status document) and moved bytes; called twice a second
    by `show`, which the caller calls as often as it likes.
    """

    def __init__(self, look: Callable[[], tuple[dict[str, int], dict[str, int]]]) -> None:
        self._look = look
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._shown_at = 0.0
        self._last_line = ""
        self._first_moved: dict[str, int] | None = None

    def __enter__(self) -> "Watching":
        if is_watched():
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                Progress,
                TextColumn,
                TransferSpeedColumn,
            )

            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                TextColumn("{task.fields[files]}"),
                transient=True,
            )
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._progress:
            self._progress.stop()

    def show(self) -> None:
        """Show how it stands, if it is time to."""
        now = time.monotonic()
        if now - self._shown_at < (0.5 if self._progress else LINE_EVERY_SECONDS):
            return
        self._shown_at = now
        pending, moved = self._look()
        if self._first_moved is None:
            self._first_moved = moved
        if self._progress:
            for direction, label in (("up", "↑ sending"), ("down", "↓ receiving")):
                self._show_bar(self._progress, direction, label, pending, moved)
            return
        line = pending_text(pending)
        if line and line != self._last_line:
            self._last_line = line
            say(f"Left: {line}")

    def _show_bar(
        self,
        progress: "Progress",
        direction: str,
        label: str,
        pending: dict[str, int],
        moved: dict[str, int],
    ) -> None:
        files = pending[f"{direction}_files"]
        done = moved[direction] - (self._first_moved or moved)[direction]
        if direction not in self._tasks:
            if not files:
                return
            self._tasks[direction] = progress.add_task(label, total=None, files="")
        # What is under way counts as pending until its file is finished.
        total = max(done, pending[f"{direction}_bytes"]) if files else done
        progress.update(
            self._tasks[direction],
            completed=done,
            total=total,
            files=f"{files} files left" if files else "done",
        )
