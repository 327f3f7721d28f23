"""One file in commands: how it stands, its versions, the trash, what happened lately."""

import json
from dataclasses import replace

import pytest

from sync_client.config import Config, Login, Root
from sync_client.linking import Refused
from sync_client.subject import subject_of

STANDING = {"local_path", "is_here", "state", "reason", "next", "waits_for", "error", "rule"}


@pytest.fixture
def folder(inside, tmp_path):
    assert inside("link", "Drive").returncode == 0
    return tmp_path / "Drive"


def asked(inside, command, file):
    done = inside(command, file, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# What FILE means


@pytest.mark.parametrize(
    ("text", "remote_path", "is_local", "path"),
    [
        ("{root}/a/b", "/Work/a/b", True, ("a", "b")),
        ("{root}", "/Work", True, ()),
        ("{root}/a/../b", "/Work/b", True, ("b",)),
        ("{shortcut}/a", "/Work/a", True, ("a",)),
        ("/Work/a", "/Work/a", False, ("a",)),
        ("/other/a", "/other/a", False, ()),
        ("server:{root}/a", "{root}/a", False, ()),
    ],
)
def test_a_path_is_of_this_machine_where_a_linked_folder_holds_it(
    tmp_path, text, remote_path, is_local, path
):
    root = tmp_path / "Drive"
    (root / "a").mkdir(parents=True)
    (tmp_path / "shortcut").symlink_to(root)
    config = Config(
        Login("http://x", "a@b", "u", "d", "laptop"), (Root("r", str(root), "/Work", "n", "f"),)
    )
    names = {"root": root, "shortcut": tmp_path / "shortcut"}
    subject = subject_of(config, text.format(**names))
    assert subject.remote_path == remote_path.format(**names)
    assert (subject.is_local, subject.path) == (is_local, path)
    with pytest.raises(Refused, match="begins with /"):
        subject_of(replace(config, roots=()), "a/b")


# How it stands


def test_a_file_says_how_it_stands_and_what_to_do(inside, folder):
    note = folder / "note"
    note.write_text("first")
    new = asked(inside, "why", note)
    assert new.keys() == STANDING | {"schema", "path", "on_server", "devices"}
    assert (new["state"], new["next"], new["on_server"]) == ("offline", "drive start", False)
    assert "not looked at it yet" in new["reason"]

    assert inside("sync", "--once").returncode == 0
    synced = asked(inside, "info", note)
    assert synced.keys() == STANDING | {"schema", "path", "item", "devices"}
    assert (synced["state"], synced["reason"]) == ("up_to_date", None)
    assert synced["item"]["size_bytes"] == 5
    assert [device["name"] for device in synced["devices"]] == ["laptop"]
    assert asked(inside, "info", "/note")["local_path"] == str(note)

    note.write_text("second")
    assert "has changed here" in asked(inside, "why", "/note")["waits_for"]
    people = inside("info", note).stdout
    assert "State    Offline" in people
    assert "next: drive start" in people
    assert inside("why", folder / "nowhere").returncode == 1
    assert inside("info", "/nowhere").returncode == 1


def test_what_hinders_a_path_is_named(inside, folder):
    (folder / "link").symlink_to("nowhere")
    (folder / ".driveignore").write_text("# mine\n*.tmp\n")
    (folder / "a.tmp").write_text("text")
    assert inside("sync", "--once").returncode == 6

    link = asked(inside, "why", folder / "link")
    assert link["state"] == "attention"
    assert link["error"]["code"] == "not-a-file"
    ignored = asked(inside, "why", folder / "a.tmp")
    assert ignored["state"] == "up_to_date"
    assert ignored["rule"] == {
        "rule": "*.tmp", "file": str(folder / ".driveignore"), "line": 2
    }  # fmt: skip
    assert "ignored by '*.tmp'" in inside("why", folder / "a.tmp").stdout


def test_without_the_server_why_says_what_is_known_here(inside, folder, tmp_path):
    (folder / "note").write_text("text")
    inside("sync", "--once")
    settings = tmp_path / "settings" / "config.json"
    document = json.loads(settings.read_text())
    document["login"]["server_url"] = "http://127.0.0.1:9"
    settings.write_text(json.dumps(document))

    done = inside("why", folder / "note", "--json")

    assert done.returncode == 0
    assert "cannot be reached" in done.stderr
    assert json.loads(done.stdout)["on_server"] is None


# Versions


def test_an_old_version_comes_back_here_and_is_compared(inside, folder):
    note = folder / "note"
    for text in ("one\ntwo\n", "one\nTWO\n"):
        note.write_text(text)
        assert inside("sync", "--once").returncode == 0

    listed = asked(inside, "history", note)["versions"]
    assert [(each["number"], each["is_current"]) for each in listed] == [(2, True), (1, False)]
    compared = inside("diff", note).stdout
    assert "-two\n+TWO\n" in compared
    assert inside("diff", note, "2", listed[1]["file_version_id"]).stdout.count("-TWO") == 1
    assert inside("diff", note, "3").returncode == 2
    same = inside("diff", note, "2", "2")
    assert (same.returncode, same.stdout) == (0, "")

    assert inside("restore", note, "--version", "1").returncode == 0
    assert inside("sync", "--once").returncode == 0
    assert note.read_text() == "one\ntwo\n"
    assert len(asked(inside, "history", "/note")["versions"]) == 3
    assert "Nothing to do" in inside("restore", note, "--version", "3").stdout
    for wrong in ((), ("--version", "9"), ("--version", "1", "--deleted")):
        assert inside("restore", note, *wrong).returncode == 2
    assert inside("history", folder).returncode == 2


def test_going_back_keeps_what_was_changed_here_and_not_synced_yet(inside, folder):
    note = folder / "note"
    for text in ("one", "two"):
        note.write_text(text)
        assert inside("sync", "--once").returncode == 0
    note.write_text("three, not synced yet")

    done = inside("restore", note, "--version", "1")

    assert done.returncode == 0, done.stderr
    assert "until now is version 3" in done.stdout
    assert inside("sync", "--once").returncode == 0
    assert {path.name: path.read_text() for path in folder.glob("[!.]*")} == {"note": "one"}
    assert inside("get", "/note", "gone back").returncode == 0
    assert inside("restore", note, "--version", "3").returncode == 0
    assert inside("sync", "--once").returncode == 0
    assert note.read_text() == "three, not synced yet"

    inside("pause")
    note.write_text("four")
    assert inside("restore", note, "--version", "1").returncode == 5
    assert note.read_text() == "four"


def test_the_stash_is_emptied_on_demand_only(inside, folder):
    for name in ("one", "two"):
        (folder / name).write_text(name)
    assert inside("sync", "--once").returncode == 0
    assert inside("stash", "empty", "--yes").stdout == "There is nothing to delete.\n"
    for name in ("one", "two"):
        inside("mv", f"/{name}", f"/{name} moved")
        inside("rm", f"/{name} moved")
    assert inside("sync", "--once").returncode == 0
    assert len(json.loads(inside("stash", "list", "--json").stdout)["items"]) == 2

    assert inside("stash", "empty").returncode == 2
    assert inside("stash", "empty", "--yes", "--older", "2d").stdout.startswith("There is nothing")
    assert len(json.loads(inside("stash", "list", "--json").stdout)["items"]) == 2
    assert inside("stash", "empty", "--yes").stdout == "Deleted: 2 files, 6 B.\n"
    assert inside("stash", "list").stdout == "The stash is empty.\n"


def test_versions_that_are_no_text_are_only_told_apart(inside, tmp_path):
    for content in (b"\0one", b"\0two!"):
        (tmp_path / "film").write_bytes(content)
        inside("put", "film", "/film", "--force")
    done = inside("diff", "/film")
    assert done.returncode == 0
    assert "no texts" in done.stdout
    assert "4 B, 5 B" in done.stdout


# The trash and what happened


def test_what_was_deleted_comes_back(inside, folder):
    note = folder / "note"
    note.write_text("text")
    inside("sync", "--once")
    note.unlink()
    inside("sync", "--once")
    (item,) = json.loads(inside("trash", "ls", "--json").stdout)["items"]
    assert item["original_path"] == "/note"
    assert "/note" in inside("trash", "ls").stdout

    assert inside("restore", note, "--deleted").stdout == "Restored: /note\n"
    assert inside("sync", "--once").returncode == 0
    assert note.read_text() == "text"

    inside("mkdir", "/sub")
    inside("rm", "-r", "/sub")
    assert inside("trash", "restore", "/sub").returncode == 0
    gone = inside("trash", "restore", "/sub")
    assert gone.returncode == 1
    assert "drive trash ls" in gone.stderr
    assert inside("trash", "ls").stdout == ""


def test_what_happened_is_told_newest_first(inside, tmp_path):
    (tmp_path / "note").write_text("1")
    inside("put", "note", "/note")
    (tmp_path / "note").write_text("2")
    inside("put", "note", "/note", "--force")
    inside("mkdir", "/sub")
    inside("mv", "/note", "/sub/plan")
    inside("rm", "/sub/plan")

    changes = json.loads(inside("activity", "--json").stdout)["changes"]

    assert [(change["what"], change["path"]) for change in changes] == [
        ("deleted", "/sub/plan"),
        ("moved", "/sub/plan"),
        ("added", "/sub"),
        ("edited", "/note"),
        ("added", "/note"),
    ]
    assert {change["device"] for change in changes} == {"laptop"}
    people = inside("activity", "-n", "2").stdout.splitlines()
    assert len(people) == 2
    assert people[1].endswith("moved    /note -> /sub/plan  (laptop)")


def test_the_devices_of_an_account_are_listed(inside):
    (device,) = json.loads(inside("devices", "--json").stdout)["devices"]
    assert device["is_this"]
    assert "laptop" in inside("devices").stdout
