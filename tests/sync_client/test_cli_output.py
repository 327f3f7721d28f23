"""What people see, with and without a terminal."""

import os
import pty
import select
import subprocess
import time

import pytest

from sync_client.cli.output import Watching, harmless, pending_text, size_text, status_lines
from tests.sync_client.conftest import DRIVE

NOTHING = {"up_files": 0, "up_bytes": 0, "down_files": 0, "down_bytes": 0}


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1500, "1.5 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (2**31, "2.15 GB"),
        (10**18, "1 EB"),
    ],
)
def test_sizes(size_bytes, text):
    assert size_text(size_bytes) == text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plan.docx", "plan.docx"),
        ("Übung – 計画 🗂", "Übung – 計画 🗂"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\rb\nc", r"a\rb\nc"),
        ("right\u202eleft", r"right\u202eleft"),
        ("line\u2028line", r"line\u2028line"),
        ("no text \udce9", r"no text \udce9"),
    ],
)
def test_a_name_that_would_steer_the_terminal_is_escaped(name, shown):
    assert harmless(name) == shown


def test_what_is_left_in_a_few_words():
    assert pending_text(NOTHING) == ""
    assert pending_text({**NOTHING, "up_files": 1, "up_bytes": 1500}) == "up 1 file, 1.5 kB"
    both = {"up_files": 2, "up_bytes": 5, "down_files": 3, "down_bytes": 7}
    assert pending_text(both) == "up 2 files, 5 B; down 3 files, 7 B"


def test_the_status_says_what_to_do_next():
    document = {
        "state": "attention",
        "reason": "120 deletions are held until you confirm them.",
        "next": "drive confirm-deletes",
        "pending": NOTHING,
        "account": {"email": "alice@example.org", "used_bytes": 31 * 10**9, "quota_bytes": 10**11},
        "server": {"url": "https://drive.example.org", "connected": True},
        "roots": [{"path": "/home/alice/Drive", "remote_path": "/"}],
        "conflicts": 1,
        "problems": [{"path": "a\nb", "code": "not-a-file", "message": "A link."}],
    }  # fmt: skip
    assert status_lines(document) == [
        "Needs attention",
        "  120 deletions are held until you confirm them.",
        "  next: drive confirm-deletes",
        "Account  alice@example.org  31 GB of 100 GB",
        "Server   https://drive.example.org  connected",
        "Folder   /home/alice/Drive  =  /",
        "Conflicts  1 conflicted copy. See: drive conflicts",
        r"Problem  a\nb: A link.",
    ]


def test_without_a_terminal_progress_is_plain_lines(capsys):
    left = [5, 3]

    def look():
        return {**NOTHING, "up_files": left.pop(0), "up_bytes": 1000}, {"up": 0, "down": 0}

    with Watching(look) as watching:
        watching.show()
        watching.show()  # too soon for another line
    assert capsys.readouterr().out == "Left: up 5 files, 1 kB\n"


def on_a_terminal(*arguments, home, **environment):
    """What a command writes to a terminal, and its exit code."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [DRIVE, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={
            "PATH": "/usr/bin:/bin",
            "TERM": "xterm",
            "HOME": str(home),
            "DRIVE_CONFIG_DIR": str(home / ".config" / "drive"),
            **environment,
        },
    )
    os.close(theirs)
    written = b""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        ready, _, _ = select.select([ours], [], [], 0.2)
        if ready:
            try:
                written += os.read(ours, 65536)
            except OSError:
                break
    os.close(ours)
    return written.decode(), process.wait(10)


def test_a_person_sees_bars_and_may_refuse_them(linked, tmp_path):
    home = tmp_path / "home"
    (tmp_path / "Drive" / "film").write_bytes(os.urandom(60_000_000))
    written, code = on_a_terminal("sync", "--once", home=home)
    assert code == 0
    assert "sending" in written
    assert "\x1b[" in written

    (tmp_path / "Drive" / "film").write_bytes(os.urandom(30_000_000))
    written, code = on_a_terminal("sync", "--once", home=home, NO_COLOR="1")
    assert code == 0
    assert "\x1b[" not in written
    assert "Up to date." in written
