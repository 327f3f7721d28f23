"""Runs `program.py`: a process of its own for each file, with limits, a few at a time."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from signal import SIGKILL
from tempfile import TemporaryFile
from threading import BoundedSemaphore

from drive_project.common.errors import ServiceUnavailable

logger = logging.getLogger(__name__)

PROGRAM = Path(__file__).with_name("program.py")
# Wall time: the process may also wait for a busy machine.
SECONDS = 30
WAIT_SECONDS = 20
_places = BoundedSemaphore(2)


class CannotShow(Exception):
    """The file is broken, or too much for the limits."""


def run(action: str, argument: str, content: Iterable[bytes]) -> bytes:
    """What the program makes of a content. Raises CannotShow, and ServiceUnavailable where
    too many wait."""
    # Written down before there is a place to wait for: a slow store holds nobody up.
    with TemporaryFile() as source:
        for piece in content:
            source.write(piece)
        source.seek(0)
        if not _places.acquire(timeout=WAIT_SECONDS):
            raise ServiceUnavailable(
                "Too many previews are being made. Try again.", retry_after_seconds=WAIT_SECONDS
            )
        try:
            return _answer(action, argument, source.fileno())
        finally:
            _places.release()


def _answer(action: str, argument: str, source: int) -> bytes:
    # Files, since the system holds the program to a size of those (program.py).
    with TemporaryFile() as answer, TemporaryFile() as complaints:
        try:
            status = subprocess.run(
                [sys.executable, "-I", str(PROGRAM), action, argument],
                stdin=source,
                stdout=answer,
                stderr=complaints,
                # Nothing of ours: no secret is in its environment.
                env={"LANG": "C.UTF-8", "PATH": os.defpath},
                cwd="/",
                timeout=SECONDS,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            status = -SIGKILL
        if status != 0:
            complaints.seek(0)
            reason = complaints.read(400).decode(errors="replace").strip()
            logger.info("No preview (%s, status %d): %s", action, status, reason)
            raise CannotShow
        answer.seek(0)
        return answer.read()
