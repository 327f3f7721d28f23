"""Copies to and from the server, and what is changed there, by commands."""

import itertools
import json
import os
import stat

import pytest

from sync_client.transfer_store import BlockStore
from tests.services.drive import PASSWORD
from tests.sync_client.conftest import command_of


def names(inside, path="/"):
    return [item["name"] for item in json.loads(inside("ls", path, "--json").stdout)["items"]]


# There and back


def test_a_file_goes_to_the_server_and_comes_back_the_same(inside, tmp_path):
    content = os.urandom(3_000_000)
    (tmp_path / "film").write_bytes(content)
    (tmp_path / "film").chmod(0o755)
    os.utime(tmp_path / "film", ns=(1, 1_234_567_890_123_456_789))

    sent = inside("put", "film", "/movie.bin")
    got = inside("get", "/movie.bin", "back")

    assert (sent.returncode, sent.stderr) == (0, "")
    assert "Sent /movie.bin (3 MB)" in sent.stdout
    assert (got.returncode, got.stderr) == (0, "")
    back = tmp_path / "back"
    assert back.read_bytes() == content
    assert back.stat().st_mtime_ns == 1_234_567_890_123_456_789
    assert back.stat().st_mode & stat.S_IXUSR
    assert not list(tmp_path.glob(".drive-get-*"))


def test_what_goes_into_a_folder_keeps_its_name(inside, tmp_path):
    (tmp_path / "note").write_text("text")
    (tmp_path / "here").mkdir()
    inside("mkdir", "/there")

    assert "Sent /there/note" in inside("put", "note", "/there").stdout
    assert inside("put", "note", "/there/").returncode == 0
    assert inside("get", "/there/note", "here").returncode == 0

    assert (tmp_path / "here" / "note").read_text() == "text"
    assert inside("put", "note", "/nowhere/").returncode == 1
    assert inside("put", "note", "/nowhere/note").returncode == 1


def test_folders_go_and_come_whole(inside, tmp_path):
    tree = tmp_path / "tree"
    (tree / "sub" / "deep").mkdir(parents=True)
    (tree / "empty").mkdir()
    (tree / "one").write_text("1")
    (tree / "sub" / "deep" / "two").write_bytes(b"")
    (tree / "link").symlink_to("/etc")

    sent = inside("put", "tree", "/copy")
    got = inside("get", "/copy", "back")

    assert sent.returncode == 6
    assert sent.stderr.count("\n") == 1
    assert "tree/link" in sent.stderr
    assert got.returncode == 0, got.stderr
    found = {str(path.relative_to(tmp_path / "back")) for path in (tmp_path / "back").rglob("*")}
    assert found == {"one", "empty", "sub", "sub/deep", "sub/deep/two"}
    assert (tmp_path / "back" / "one").read_text() == "1"
    again = inside("put", "tree", "/copy")
    assert "Sent 2 files" in again.stdout
    assert names(inside, "/copy/tree") == ["empty", "sub", "one"]


def test_repeating_a_copy_moves_nothing(inside, tmp_path, monkeypatch):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "note").write_text("text")
    assert inside("put", "tree", "/").returncode == 0

    def refuse(*_):
        raise AssertionError("nothing is to be moved")

    monkeypatch.setattr(BlockStore, "put", refuse)
    monkeypatch.setattr(BlockStore, "get", refuse)

    assert "1 with the same content" in inside("put", "tree", "/").stdout
    assert "1 with the same content" in inside("get", "/tree").stdout
    assert "Nothing to do" in inside("put", "tree/note", "/tree/note").stdout
    assert "Nothing to do" in inside("get", "/tree/note", "tree/note").stdout


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_nothing_here_is_overwritten_unasked(inside, tmp_path, kind):
    (tmp_path / "note").write_text("from here")
    assert inside("put", "note", "/note").returncode == 0
    (tmp_path / "elsewhere").write_text("precious")
    target = tmp_path / "target"
    if kind == "file":
        target.write_text("mine")
    elif kind == "link":
        target.symlink_to(tmp_path / "elsewhere")
    else:
        (target / "note").mkdir(parents=True)

    done = inside("get", "/note", "target")
    assert done.returncode == 1
    assert "target" in done.stderr
    assert kind != "file" or target.read_text() == "mine"

    forced = inside("get", "/note", "target", "--force")
    if kind == "folder":
        assert forced.returncode == 1
        assert (target / "note").is_dir()
    else:
        assert forced.returncode == 0
        assert target.read_text() == "from here"
        assert not target.is_symlink()
    assert (tmp_path / "elsewhere").read_text() == "precious"


def test_a_link_in_the_place_of_a_folder_is_not_followed(inside, tmp_path):
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / "note").write_text("text")
    inside("put", "tree", "/")
    (tmp_path / "outside").mkdir()
    (tmp_path / "back" / "tree").mkdir(parents=True)
    (tmp_path / "back" / "tree" / "sub").symlink_to(tmp_path / "outside")

    done = inside("get", "/tree", "back")

    assert done.returncode == 6
    assert "sub" in done.stderr
    assert not list((tmp_path / "outside").iterdir())


def test_nothing_on_the_server_gets_other_content_unasked(inside, tmp_path):
    note = tmp_path / "note"
    note.write_text("first")
    inside("put", "note", "/note")
    note.write_text("second")

    refused = inside("put", "note", "/note")
    assert refused.returncode == 1
    assert "--force" in refused.stderr
    assert inside("put", "note", "/note", "-f").returncode == 0
    inside("get", "/note", "back")
    assert (tmp_path / "back").read_text() == "second"
    inside("mkdir", "-p", "/folder/note")
    assert inside("put", "note", "/folder", "-f").returncode == 1


def test_a_put_that_broke_off_goes_on_where_it_stopped(inside, tmp_path, monkeypatch):
    (tmp_path / "film").write_bytes(os.urandom(12_000_000))
    sent: list[int] = []
    begun = itertools.count()
    real = BlockStore.put

    def breaking(store, presigned, content):
        # Blocks are sent beside each other, and there are three at least.
        if next(begun) >= 2:
            raise KeyboardInterrupt
        real(store, presigned, content)
        sent.append(len(content))

    monkeypatch.setattr(BlockStore, "put", breaking)
    assert inside("put", "film", "/film").returncode == 130
    assert names(inside) == []
    assert sum(sent) > 0

    def counting(store, presigned, content):
        real(store, presigned, content)
        sent.append(len(content))

    monkeypatch.setattr(BlockStore, "put", counting)

    assert inside("put", "film", "/film").returncode == 0

    assert sum(sent) == 12_000_000
    assert inside("get", "/film", "back").returncode == 0
    assert (tmp_path / "back").read_bytes() == (tmp_path / "film").read_bytes()


def test_the_same_file_may_be_sent_again_after_it_was_removed(inside, tmp_path):
    (tmp_path / "note").write_text("text")
    inside("put", "note", "/note")
    inside("rm", "/note")
    assert inside("put", "note", "/note").returncode == 0
    assert names(inside) == ["note"]


def test_nothing_is_copied_into_a_linked_folder(inside, tmp_path):
    (tmp_path / "note").write_text("text")
    inside("put", "note", "/note")
    inside("link", "Drive")
    done = inside("get", "/note", "Drive")
    assert done.returncode == 2
    assert "by itself" in done.stderr


def test_what_a_command_sends_reaches_the_linked_folder_of_the_same_device(inside, tmp_path):
    inside("link", "Drive")
    folder = tmp_path / "Drive"
    (folder / "note").write_text("from the folder")
    inside("sync", "--once")
    (tmp_path / "other").write_text("from the command")

    assert inside("put", "other", "/note", "--force").returncode == 0
    assert inside("sync", "--once").returncode == 0

    assert (folder / "note").read_text() == "from the command"
    assert [path.name for path in folder.iterdir()].count("note") == 1


# Arranging


def test_folders_are_made_moved_and_removed(inside):
    assert inside("mkdir", "/a").returncode == 0
    assert inside("mkdir", "/a").returncode == 2
    assert inside("mkdir", "/b/c").returncode == 1
    assert inside("mkdir", "-p", "/b/c").returncode == 0
    assert inside("mkdir", "-p", "/b/c").returncode == 0

    assert inside("mv", "/b/c", "/a").stdout == "Moved to /a/c\n"
    assert inside("mv", "/a/c", "/a/d").stdout == "Moved to /a/d\n"
    assert inside("mv", "/a", "/a/d").returncode == 2
    assert inside("mv", "/nowhere", "/a").returncode == 1
    assert names(inside, "/a") == ["d"]

    refused = inside("rm", "/a")
    assert refused.returncode == 2
    assert "-r" in refused.stderr
    assert inside("rm", "-r", "/a", "/b").returncode == 0
    assert names(inside) == []
    assert inside("rm", "/a").returncode == 1
    for command in (("rm", "-r", "/"), ("mv", "/", "/a"), ("mkdir", "/"), ("rm", "/../x")):
        assert inside(*command).returncode == 2


def test_a_move_overwrites_nothing(inside, tmp_path):
    (tmp_path / "one").write_text("1")
    inside("put", "one", "/one")
    inside("put", "one", "/two")
    done = inside("mv", "/one", "/two")
    assert done.returncode == 2
    assert names(inside) == ["one", "two"]
    assert inside("mv", "/one", "/ONE").returncode == 0
    assert names(inside) == ["ONE", "two"]


def test_what_is_linked_is_not_removed_by_its_path(inside):
    inside("link", "Drive", "--path", "/office/drive")
    for path in ("/office", "/office/drive"):
        done = inside("rm", "-r", path)
        assert done.returncode == 2
        assert "linked" in done.stderr
    assert names(inside, "/office") == ["drive"]


def test_the_files_of_others_are_not_there(inside, server, tmp_path):
    (tmp_path / "secret").write_text("text")
    inside("put", "secret", "/secret")
    mallory = command_of(tmp_path / "mallory")
    mallory(
        *("login", server.url, "--email", server.new_account(), "--password-stdin"),
        stdin=f"{PASSWORD}\n",
    )
    for command in (("get", "/secret"), ("rm", "/secret"), ("mv", "/secret", "/x")):
        assert mallory(*command).returncode == 1
