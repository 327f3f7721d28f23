"""What a person chooses for a device, by commands: a pause, limits, what is left out."""

import json
import os
from pathlib import Path

import pytest

from tests.services.drive import wait_until
from tests.sync_client.conftest import Command


def status(drive: Command):
    return json.loads(drive("status", "--json").stdout)


def synced(drive: Command) -> None:
    done = drive("wait", "--timeout", "100")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_pause_holds_across_a_restart_until_it_ends(linked: Command, tmp_path: Path):
    folder = tmp_path / "Drive"
    assert linked("start").returncode == 0
    synced(linked)
    assert linked("pause").stdout == "Paused until you resume. Resume: drive resume\n"
    (folder / "note").write_text("text")

    found = status(linked)
    assert (found["state"], found["next"]) == ("paused", "drive resume")
    refused = linked("wait", "--timeout", "100")
    assert refused.returncode == 5
    assert "drive resume" in refused.stderr
    assert linked("restart").returncode == 0
    assert status(linked)["state"] == "paused"
    assert linked("stop").returncode == 0
    assert linked("sync", "--once").returncode == 5
    assert linked("ls").stdout == ""

    assert linked("start").returncode == 0
    assert linked("resume").returncode == 0
    synced(linked)
    assert "note" in linked("ls").stdout

    assert linked("pause", "--for", "2s").returncode == 0
    assert linked("pause", "--for", "0").returncode == 2
    (folder / "more").write_text("text")
    wait_until(lambda: "more" in linked("ls").stdout, seconds=60, what="the pause is over")
    assert linked("resume").stdout == "Nothing was paused.\n"


def test_what_is_ignored_or_deselected_and_what_is_in_the_stash(linked: Command, tmp_path: Path):
    folder = tmp_path / "Drive"
    for name in ("big/a", "big/b.o", "small"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    (folder / ".driveignore").write_text("*.tmp\n")
    (folder / "draft.tmp").write_text("text")
    assert linked("ignore", "add", "*.o").returncode == 0
    assert linked("ignore", "add", "#").returncode == 2
    assert linked("sync", "--once").returncode == 0
    assert linked("ls", "/big").stdout.split()[-1] == "a"
    assert "draft" not in linked("ls").stdout

    tested = linked("ignore", "test", folder / "x.o", folder / "draft.tmp")
    assert tested.returncode == 0
    assert "'*.o', a rule of this device" in tested.stdout
    assert "'*.tmp', line 1 of .driveignore" in tested.stdout
    assert linked("ignore", "test", folder / "big").returncode == 1
    assert linked("ignore", "test", "/etc/passwd").returncode == 2
    rules = json.loads(linked("ignore", "ls", "--json").stdout)
    assert (rules["rules"], rules["files"]) == (["*.o"], [str(folder / ".driveignore")])

    # Ignored things are only here, so the folder stays, and says for what.
    assert linked("start").returncode == 0
    kept = linked("select", "--remove", folder / "big")
    assert kept.returncode == 6, kept.stdout + kept.stderr
    assert "big/b.o" in kept.stdout
    assert linked("ignore", "rm", "*.o").returncode == 0
    synced(linked)
    assert not (folder / "big").exists()
    assert {line.split()[-1] for line in linked("ls", "/big").stdout.splitlines()} == {"a", "b.o"}
    (item,) = json.loads(linked("select", "ls", "--json").stdout)["items"]
    assert (item["path"], item["is_waiting"]) == (str(folder / "big"), False)
    assert linked("select", "--remove", folder).returncode == 2
    assert linked("select", "--remove", folder / "nowhere").returncode == 2

    items = json.loads(linked("stash", "list", "--json").stdout)["items"]
    assert {(each["path"], each["why"]) for each in items} == {
        ("big/a", "deselected"),
        ("big/b.o", "deselected"),
    }
    (folder / "copy").write_text("there already")
    restored = linked("stash", "restore", folder / "big" / "a", "--to", folder / "copy")
    assert restored.returncode == 0, restored.stderr
    assert (folder / "copy").read_text() == "there already"
    assert [each.read_text() for each in folder.glob("copy (restored*")] == ["big/a"]
    assert linked("stash", "restore", folder / "big" / "a").returncode == 2

    assert linked("select", "--add", folder / "big").returncode == 0
    synced(linked)
    assert (folder / "big" / "a").read_text() == "big/a"
    assert linked("select", "--add", folder / "big").returncode == 2


def test_a_folder_is_unlinked_and_keeps_its_files(linked: Command, tmp_path: Path):
    folder = tmp_path / "Drive"
    (folder / "note").write_text("text")
    assert linked("start").returncode == 0
    synced(linked)
    (folder / "later").write_text("not synced any more")
    assert linked("unlink", tmp_path).returncode == 2

    done = linked("unlink", folder)
    assert done.returncode == 0, done.stderr
    assert {each.name for each in folder.iterdir()} == {"note", "later"}
    assert status(linked)["roots"] == []
    assert not list((tmp_path / "home/.config/drive/roots").iterdir())
    assert linked("unlink", folder).returncode == 3
    assert "note" in linked("ls").stdout

    # Linked again, it is merged.
    assert linked("link", folder).returncode == 0
    synced(linked)
    assert {line.split()[-1] for line in linked("ls").stdout.splitlines()} == {"note", "later"}
    assert linked("stop").returncode == 0
    assert linked("unlink", folder).returncode == 0
    assert not (folder / ".drive").exists()


def test_limits_are_kept_and_reach_a_running_client(linked: Command, tmp_path: Path):
    assert linked("start").returncode == 0
    synced(linked)
    assert linked("limit").stdout == "Up:   no limit\nDown: no limit\n"
    done = linked("limit", "--up", "10K", "--down", "1.5MB/s")
    assert done.stdout == "Up:   10 kB/s\nDown: 1.5 MB/s\n"
    limits = {"up_bytes_per_second": 10_000, "down_bytes_per_second": 1_500_000}
    assert status(linked)["limits"] == limits

    # Would take minutes at this limit; let go of, it is there soon.
    (tmp_path / "Drive" / "large").write_bytes(os.urandom(5_000_000))
    wait_until(lambda: status(linked)["pending"]["up_files"] == 1, seconds=60, what="it is noticed")
    assert linked("limit", "--up", "off").stdout == "Up:   no limit\nDown: 1.5 MB/s\n"
    synced(linked)
    assert "large" in linked("ls").stdout

    assert linked("restart").returncode == 0
    assert status(linked)["limits"] == {**limits, "up_bytes_per_second": None}
    assert json.loads(linked("limit", "--json").stdout) == {
        "schema": 1, **limits, "up_bytes_per_second": None,
    }  # fmt: skip


@pytest.mark.parametrize("rate", ["1K", "fast", "-5", "0", ""])
def test_a_limit_that_cannot_be_is_refused(drive: Command, rate: str):
    refused = drive("limit", "--up", rate)
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
