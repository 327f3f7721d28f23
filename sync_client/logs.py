"""The log of the sync client: what happened when, without names of files."""

import logging
import logging.handlers
import os
import sys
import time
import traceback
from collections import deque
from pathlib import Path
from typing import BinaryIO

from sync_client.cli.output import harmless, say

FILE_BYTES = 1_000_000
FILES = 3
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def log_to_terminal() -> None:
    logging.basicConfig(level=logging.INFO, format=_FORMAT, stream=sys.stderr)


def log_to_file(path: Path) -> None:
    handler = logging.handlers.RotatingFileHandler(
        path, maxBytes=FILE_BYTES, backupCount=FILES, encoding="utf-8"
    )
    path.chmod(0o600)
    logging.basicConfig(level=logging.INFO, format=_FORMAT, handlers=[handler])


def show(path: Path, *, lines: int, follow: bool) -> None:
    """Print the last lines of a log; follow: and those that come, until interrupted."""
    if not path.exists():
        if not follow:
            return
        path.touch(mode=0o600)
    file: BinaryIO = path.open("rb")
    for line in deque(file, maxlen=lines):
        _print(line)
    while follow:
        if line := file.readline():
            _print(line)
            continue
        time.sleep(0.3)
        file = _same_or_next(file, path)
    file.close()


def trace_of(error: BaseException) -> str:
    """Where an error came from, without its text, which may hold names of files."""
    parts = []
    here: BaseException | None = error
    while here is not None:
        parts.append("".join(traceback.format_tb(here.__traceback__)) + type(here).__name__)
        here = here.__cause__ or here.__context__
    return "\ncaused by\n".join(parts)


def last_line(path: Path) -> str:
    """The newest line; empty where there is none."""
    try:
        with path.open("rb") as file:
            last = deque(file, maxlen=1)
    except FileNotFoundError:
        return ""
    return last[0].decode("utf-8", "replace").strip() if last else ""


def _print(line: bytes) -> None:
    say(harmless(line.decode("utf-8", "replace").rstrip("\n")))


def _same_or_next(file: BinaryIO, path: Path) -> BinaryIO:
    """The file to read on from: another one once the log was rotated."""
    try:
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        following = path.open("rb")
    except FileNotFoundError:
        return file
    file.close()
    return following
