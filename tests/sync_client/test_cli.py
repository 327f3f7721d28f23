"""The command `drive` as people and scripts use it, against the real server."""

import json
import os
import re
import shutil
import signal
import sqlite3
import stat
import time
from pathlib import Path

import pytest

from sync_client.api import HttpApi
from sync_client.daemon_work import only_one
from sync_client.system import new_id
from tests.services import free_port
from tests.services.drive import PASSWORD
from tests.sync_client.conftest import command_of

DOCUMENT_KEYS = {
    "schema", "running", "state", "reason", "next", "account", "device", "server", "roots",
    "pending", "conflicts", "problems", "paused_until", "limits",
}  # fmt: skip
STATES = {
    "up_to_date", "syncing", "connecting", "offline", "needs_login", "attention",
    "paused",
}  # fmt: skip


def check_document(text):
    """The document of the status, after everything in it was found where it belongs."""
    document = json.loads(text)
    assert set(document) == DOCUMENT_KEYS
    assert document["schema"] == 1
    assert isinstance(document["running"], bool)
    assert document["state"] in STATES
    assert set(document["account"]) == {"email", "used_bytes", "quota_bytes"}
    assert set(document["device"]) == {"id", "name"}
    assert set(document["server"]) == {"url", "connected"}
    assert set(document["pending"]) == {"up_files", "up_bytes", "down_files", "down_bytes"}
    assert all(isinstance(number, int) for number in document["pending"].values())
    assert isinstance(document["conflicts"], int)
    for root in document["roots"]:
        assert set(root) == {"path", "remote_path", "watched"}
    for problem in document["problems"]:
        assert set(problem) == {"path", "code", "message"}
    return document


# Without a login, a folder or a daemon


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("link", "folder"), 3),
        (("start",), 3),
        (("start", "--foreground"), 3),
        (("sync", "--once"), 3),
        (("ls",), 3),
        (("logout",), 3),
        (("confirm-deletes",), 3),
        (("restart",), 3),
        (("unlink", "folder"), 3),
        (("pause",), 3),
        (("resume",), 0),
        (("select", "--remove", "folder"), 3),
        (("ignore", "test", "folder"), 3),
        (("ignore", "ls"), 0),
        (("stash", "list"), 3),
        (("limit",), 0),
        (("stop",), 4),
        (("wait",), 4),
        (("wait", "--timeout", "10m"), 4),
        (("status",), 4),
        (("log",), 0),
    ],
)
def test_without_a_login_every_command_says_what_to_do(drive, arguments, code):
    done = drive(*arguments)
    assert done.returncode == code, done.stderr
    if code not in {0, 4}:
        assert "drive login" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("frobnicate",),
        ("sync",),
        ("wait", "--timeout", "soon"),
        ("wait", "--timeout", "-5"),
        ("status", "--yaml"),
        ("login", "https://drive.example.org"),
        ("login", "ftp://drive.example.org", "--email", "a@b", "--password-stdin"),
        ("login", "http://user:pw@drive.example.org", "--email", "a@b", "--password-stdin"),
    ],
)
def test_a_wrong_use_is_exit_2_and_one_line(drive, arguments):
    done = drive(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_the_help_comes_at_once(drive):
    drive("--help")
    began = time.process_time()
    before = os.times()
    done = drive("--help")
    after = os.times()
    assert done.returncode == 0
    assert "confirm-deletes" in done.stdout
    spent = after.children_user + after.children_system
    assert spent - (before.children_user + before.children_system) < 0.3
    assert time.process_time() - began < 0.3


def test_the_status_without_a_daemon_is_the_same_document(drive):
    done = drive("status", "--json")
    assert done.returncode == 4
    document = check_document(done.stdout)
    assert document["running"] is False
    assert document["state"] == "needs_login"
    assert document["account"]["email"] is None
    assert document["roots"] == []


def test_damaged_settings_are_fatal(drive, tmp_path):
    drive("status")
    (tmp_path / "home/.config/drive/config.json").write_text("{")
    done = drive("status")
    assert done.returncode == 7
    assert "Move it away" in done.stderr


# Signing in


def test_a_device_signs_in_with_the_password_from_standard_input(drive, server, account, tmp_path):
    done = drive(
        *("login", server.url + "/", "--email", account, "--password-stdin"),
        *("--device", "laptop"),
        stdin=f"{PASSWORD}\n",
    )
    assert done.returncode == 0, done.stderr
    assert account in done.stdout
    token = tmp_path / "home/.config/drive/token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    document = check_document(drive("status", "--json").stdout)
    assert document["device"]["name"] == "laptop"
    assert document["server"] == {"url": server.url, "connected": False}
    assert document["account"]["email"] == account


def test_a_wrong_password_signs_nobody_in(drive, server, account):
    done = drive("login", server.url, "--email", account, "--password-stdin", stdin="guess\n")
    assert done.returncode == 3
    assert "password is wrong" in done.stderr
    assert drive("ls").returncode == 3


def test_the_password_is_never_asked_for_in_the_arguments(drive, server, account):
    done = drive("login", server.url, "--email", account)
    assert done.returncode == 2
    assert "--password-stdin" in done.stderr
    assert "--password " not in drive("login", "--help").stdout


def test_an_absent_server_is_exit_5(drive):
    url = f"http://127.0.0.1:{free_port()}"
    done = drive("login", url, "--email", "a@b.c", "--password-stdin", stdin="x\n")
    assert done.returncode == 5
    assert "cannot be reached" in done.stderr


def test_another_kind_of_server_is_a_wrong_address(drive, server):
    done = drive(
        *("login", f"{server.url}/api/docs/", "--email", "a@b.c", "--password-stdin"), stdin="x\n"
    )
    assert done.returncode == 2
    assert "No Drive server" in done.stderr


def test_signing_in_again_revokes_the_login_before(signed_in, server, account):
    before = json.loads(signed_in("status", "--json").stdout)["device"]["id"]
    done = signed_in(
        "login", server.url, "--email", account, "--password-stdin", stdin=f"{PASSWORD}\n"
    )
    assert done.returncode == 0, done.stderr
    after = json.loads(signed_in("status", "--json").stdout)["device"]["id"]
    assert before != after
    assert signed_in("ls").returncode == 0


# Linking


def test_a_missing_folder_is_made_on_both_sides(signed_in, tmp_path):
    done = signed_in("link", tmp_path / "deep" / "Drive", "--path", "/Projects/2026")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "deep" / "Drive").is_dir()
    assert "Projects/" in signed_in("ls").stdout
    assert "2026/" in signed_in("ls", "/Projects").stdout
    document = check_document(signed_in("status", "--json").stdout)
    assert document["roots"] == [
        {"path": str(tmp_path / "deep" / "Drive"), "remote_path": "/Projects/2026", "watched": None}
    ]


@pytest.mark.parametrize("folder", ["/", "{home}", "{home}/..", "{file}", "{config}", "{config}/x"])
def test_what_must_not_be_linked_is_exit_2(signed_in, tmp_path, folder):
    home = tmp_path / "home"
    (tmp_path / "file").write_text("x")
    done = signed_in(
        "link",
        folder.format(home=home, file=tmp_path / "file", config=home / ".config" / "drive"),
    )
    assert done.returncode == 2, done.stderr
    assert check_document(signed_in("status", "--json").stdout)["roots"] == []
    assert not (home / ".drive").exists()


def test_a_link_to_the_home_folder_is_the_home_folder(signed_in, tmp_path):
    (tmp_path / "shortcut").symlink_to(tmp_path / "home")
    assert signed_in("link", tmp_path / "shortcut").returncode == 2


@pytest.mark.parametrize("other", ["work/Drive", "work/Drive/inside", "work"])
def test_a_folder_at_inside_or_around_a_linked_one_is_exit_2(signed_in, tmp_path, other):
    assert signed_in("link", tmp_path / "work" / "Drive", "--path", "/one").returncode == 0
    done = signed_in("link", tmp_path / other, "--path", "/other")
    assert done.returncode == 2, done.stderr
    assert "linked already" in done.stderr


def test_a_folder_of_the_server_is_linked_once(signed_in, tmp_path):
    assert signed_in("link", tmp_path / "a", "--path", "/A").returncode == 0
    assert signed_in("link", tmp_path / "b", "--path", "/A/below").returncode == 2
    assert signed_in("link", tmp_path / "b", "--path", "/").returncode == 2
    assert signed_in("link", tmp_path / "b", "--path", "/B").returncode == 0


def test_a_folder_inside_one_of_another_device_is_exit_2(linked, server, account, tmp_path):
    other = command_of(tmp_path / "other home")
    other(*("login", server.url, "--email", account, "--password-stdin"), stdin=f"{PASSWORD}\n")
    done = other("link", tmp_path / "Drive" / "below")
    assert done.returncode == 2
    assert "another device" in done.stderr


def test_the_folder_of_another_device_is_exit_2(linked, server, account, tmp_path):
    other = command_of(tmp_path / "other")
    other(*("login", server.url, "--email", account, "--password-stdin"), stdin=f"{PASSWORD}\n")
    done = other("link", tmp_path / "Drive")
    assert done.returncode == 2
    assert "another device" in done.stderr
    (tmp_path / "Drive" / "note").write_text("text")
    assert linked("sync", "--once").returncode == 0


def test_a_folder_around_one_of_another_device_leaves_that_out(linked, server, account, tmp_path):
    other = command_of(tmp_path / "other")
    other(*("login", server.url, "--email", account, "--password-stdin"), stdin=f"{PASSWORD}\n")
    (tmp_path / "around" / "deep").mkdir(parents=True)
    (tmp_path / "Drive").rename(tmp_path / "around" / "deep" / "Drive")
    (tmp_path / "around" / "deep" / "Drive" / "theirs").write_text("text")
    old = tmp_path / "around" / "old" / ".drive"
    for name in ("staging", "stash"):
        (old / name).mkdir(parents=True)
    (old / "stash" / "removed").write_text("text")
    (tmp_path / "around" / "mine").write_text("text")

    assert other("link", tmp_path / "around", "--path", "/around").returncode == 0
    done = other("sync", "--once")

    assert done.returncode == 6
    problems = check_document(other("status", "--json").stdout)["problems"]
    assert {each["path"]: each["code"] for each in problems} == {
        "deep/Drive": "linked-folder",
        "old/.drive": "clients-own",
    }
    assert "mine" in other("ls", "/around").stdout
    assert other("ls", "/around/deep").stdout == ""
    assert other("ls", "/around/old").stdout == ""


def test_a_folder_of_the_server_that_was_renamed_is_linked_once(signed_in, tmp_path):
    assert signed_in("link", tmp_path / "one", "--path", "/Office/Plans").returncode == 0
    assert signed_in("link", tmp_path / "two", "--path", "/office/PLANS").returncode == 2
    home = tmp_path / "home/.config/drive"
    root = json.loads((home / "config.json").read_text())["roots"][0]
    server_url = json.loads((home / "config.json").read_text())["login"]["server_url"]
    api = HttpApi(server_url, (home / "token").read_text().strip())
    folder = api.request("GET", f"folders/{root['folder_id']}")
    api.request(
        *("PATCH", f"folders/{root['folder_id']}"),
        json={"name": "Ideas"},
        headers={"Idempotency-Key": new_id(), "If-Match": f'"{folder["rev"]}"'},
    )
    api.close()
    for path in ("/Office/Ideas", "/office/ideas/new", "/Office", "/"):
        done = signed_in("link", tmp_path / "three", "--path", path)
        assert done.returncode == 2, path
        assert "already linked" in done.stderr
    assert "new" not in signed_in("ls", "/Office/Ideas").stdout


BREAKS = {
    "foreign": lambda mark: mark.write_text('{"root_id": "x", "device_id": "y"}'),
    "removed": lambda mark: shutil.rmtree(mark.parent),
    "empty": lambda mark: mark.write_text(""),
    "gone": lambda mark: shutil.rmtree(mark.parent.parent),
}


@pytest.mark.parametrize("how", [name for name in BREAKS if name != "foreign"])
def test_a_link_whose_mark_is_gone_is_made_again(linked, tmp_path, how):
    (tmp_path / "Drive" / "note").write_text("text")
    assert linked("sync", "--once").returncode == 0
    BREAKS[how](tmp_path / "Drive" / ".drive" / "root.json")
    broken = linked("sync", "--once")
    assert broken.returncode == 7

    assert linked("link", tmp_path / "Drive").returncode == 0
    assert linked("sync", "--once").returncode == 0
    assert (tmp_path / "Drive" / "note").read_text() == "text"
    assert "note" in linked("ls").stdout
    assert linked("link", tmp_path / "Drive").returncode == 2, "it does its work"
    (_state,) = (tmp_path / "home/.config/drive/roots").iterdir()


def test_a_link_whose_mark_is_of_another_device_says_what_to_do(linked, tmp_path):
    mark = tmp_path / "Drive" / ".drive" / "root.json"
    BREAKS["foreign"](mark)
    assert linked("sync", "--once").returncode == 7
    done = linked("link", tmp_path / "Drive")
    assert done.returncode == 2
    assert str(mark) in done.stderr
    mark.unlink()
    assert linked("link", tmp_path / "Drive").returncode == 0
    assert linked("sync", "--once").returncode == 0


def test_a_linked_folder_that_was_deleted_on_the_server_is_linked_again(signed_in, tmp_path):
    signed_in("link", tmp_path / "Drive", "--path", "/Plans")
    (tmp_path / "Drive" / "note").write_text("text")
    assert signed_in("sync", "--once").returncode == 0
    home = tmp_path / "home/.config/drive"
    config = json.loads((home / "config.json").read_text())
    api = HttpApi(config["login"]["server_url"], (home / "token").read_text().strip())
    folder = api.request("GET", f"folders/{config['roots'][0]['folder_id']}")
    api.request(
        *("DELETE", f"folders/{folder['folder_id']}"),
        headers={"Idempotency-Key": new_id(), "If-Match": f'"{folder["rev"]}"'},
    )
    api.close()
    assert signed_in("start").returncode == 0
    assert signed_in("wait", "--timeout", "60").returncode == 7
    document = check_document(signed_in("status", "--json").stdout)
    assert document["next"] == f"drive link {tmp_path / 'Drive'} --path /Plans"

    assert signed_in(*document["next"].split()[1:]).returncode == 0
    assert signed_in("wait", "--timeout", "60").returncode == 0
    assert "note" in signed_in("ls", "/Plans").stdout


def test_a_path_on_the_server_that_is_a_file_is_exit_2(linked, tmp_path):
    (tmp_path / "Drive" / "note").write_text("text")
    assert linked("sync", "--once").returncode == 0
    done = linked("link", tmp_path / "other", "--path", "/note/below")
    assert done.returncode == 2


# Syncing once


def test_files_go_up_and_come_down(linked, server, account, tmp_path):
    (tmp_path / "Drive" / "sub").mkdir()
    (tmp_path / "Drive" / "sub" / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "Drive" / "sub" / "run.sh").chmod(0o755)
    (tmp_path / "Drive" / "big").write_bytes(os.urandom(3_000_000))

    done = linked("sync", "--once")
    assert done.returncode == 0, done.stderr
    assert "Up to date." in done.stdout

    phone = command_of(tmp_path / "phone")
    phone(*("login", server.url, "--email", account, "--password-stdin"), stdin=f"{PASSWORD}\n")
    phone("link", tmp_path / "Phone")
    assert phone("sync", "--once").returncode == 0
    assert (tmp_path / "Phone" / "big").read_bytes() == (tmp_path / "Drive" / "big").read_bytes()
    assert os.access(tmp_path / "Phone" / "sub" / "run.sh", os.X_OK)


def test_what_cannot_be_synced_is_listed_and_exit_6(linked, tmp_path):
    (tmp_path / "Drive" / "link").symlink_to("/etc/passwd")
    (tmp_path / "Drive" / "fine").write_text("fine")

    done = linked("sync", "--once")

    assert done.returncode == 6
    assert "link" in done.stdout
    document = check_document(linked("status", "--json").stdout)
    assert [problem["path"] for problem in document["problems"]] == ["link"]
    assert "fine" in linked("ls").stdout
    assert (tmp_path / "Drive" / "link").is_symlink()


def test_a_folder_that_is_gone_is_fatal_and_deletes_nothing(linked, tmp_path):
    (tmp_path / "Drive" / "note").write_text("text")
    linked("sync", "--once")
    (tmp_path / "Drive").rename(tmp_path / "elsewhere")

    done = linked("sync", "--once")

    assert done.returncode == 7
    assert "note" in linked("ls").stdout


def test_a_server_that_is_down_is_exit_5(linked, tmp_path):
    settings = tmp_path / "home/.config/drive/config.json"
    document = json.loads(settings.read_text())
    document["login"]["server_url"] = f"http://127.0.0.1:{free_port()}"
    settings.write_text(json.dumps(document))
    assert linked("sync", "--once").returncode == 5
    assert linked("ls").returncode == 5


def test_a_revoked_device_is_exit_3(linked, server, account, tmp_path):
    document = json.loads(linked("status", "--json").stdout)
    revoked = server.manage(
        "shell",
        "--command",
        "from files.models import UserDevice\n"
        "from django.utils import timezone\n"
        f"UserDevice.objects.filter(pk={document['device']['id']!r})"
        ".update(revoked_at=timezone.now())",
    )
    assert revoked.returncode == 0, revoked.stderr
    done = linked("sync", "--once")
    assert done.returncode == 3
    assert "drive login" in done.stderr


def test_many_deletions_are_held_until_confirmed(linked, tmp_path):
    for number in range(120):
        (tmp_path / "Drive" / f"file {number}").write_text(str(number))
    assert linked("sync", "--once").returncode == 0
    for path in (tmp_path / "Drive").glob("file*"):
        path.unlink()

    held = linked("sync", "--once")
    assert held.returncode == 6
    assert "confirm-deletes" in held.stdout
    assert check_document(linked("status", "--json").stdout)["running"] is False
    assert "file 7" in linked("ls").stdout

    assert linked("confirm-deletes").returncode == 0
    assert linked("sync", "--once").returncode == 0
    assert "file 7" not in linked("ls").stdout


def test_a_damaged_record_is_said_and_merged_anew(linked, tmp_path):
    (tmp_path / "Drive" / "note").write_text("text")
    assert linked("sync", "--once").returncode == 0
    (record,) = (tmp_path / "home/.config/drive/roots").glob("*/trees.sqlite3")
    record.write_bytes(b"not a database" * 1000)

    document = check_document(linked("status", "--json").stdout)
    assert document["state"] == "attention"
    assert "damaged" in document["reason"]
    assert record.read_bytes().startswith(b"not a database"), "asking changes nothing"

    assert linked("sync", "--once").returncode == 0
    assert "note" in linked("ls").stdout
    assert check_document(linked("status", "--json").stdout)["state"] == "offline"


def test_asking_for_the_status_leaves_a_record_of_another_release_alone(linked, tmp_path):
    (tmp_path / "Drive" / "link").symlink_to("nowhere")
    assert linked("sync", "--once").returncode == 6
    (path,) = (tmp_path / "home/.config/drive/roots").glob("*/trees.sqlite3")
    record = sqlite3.connect(path)
    (version,) = record.execute("PRAGMA user_version").fetchone()
    record.execute("PRAGMA user_version = 99")
    assert check_document(linked("status", "--json").stdout)["problems"] == []
    record.execute(f"PRAGMA user_version = {version}")
    assert len(check_document(linked("status", "--json").stdout)["problems"]) == 1
    record.close()


def test_a_lost_token_is_like_being_signed_out(linked, server, account, tmp_path):
    token = tmp_path / "home/.config/drive/token"
    token.unlink()
    assert linked("sync", "--once").returncode == 3
    assert check_document(linked("status", "--json").stdout)["state"] == "needs_login"
    assert linked("start").returncode == 0
    assert linked("wait", "--timeout", "30").returncode == 3
    assert check_document(linked("status", "--json").stdout)["state"] == "needs_login"
    login = ("login", server.url, "--email", account, "--password-stdin")
    assert linked(*login, stdin=f"{PASSWORD}\n").returncode == 0
    assert linked("wait", "--timeout", "60").returncode == 0

    token.unlink()
    assert linked("logout").returncode == 0
    assert check_document(linked("status", "--json").stdout)["roots"] == []
    assert not list((tmp_path / "home/.config/drive/roots").iterdir())


def test_a_start_while_another_command_syncs_is_exit_5(linked, tmp_path):
    with only_one(tmp_path / "home/.config/drive"):
        for arguments in (("start",), ("start", "--foreground"), ("sync", "--once")):
            done = linked(*arguments)
            assert done.returncode == 5
            assert done.stderr.count("\n") == 1
            assert "already" in done.stderr


def test_the_same_server_under_another_name_keeps_the_links(linked, server, account):
    other_name = server.url.replace("127.0.0.1", "localhost")
    login = ("login", other_name, "--email", account, "--password-stdin")
    done = linked(*login, stdin=f"{PASSWORD}\n")
    assert done.returncode == 0, done.stderr
    assert "No longer" not in done.stdout
    assert linked("sync", "--once").returncode == 0


def test_another_account_says_which_links_end(linked, server, tmp_path):
    login = ("login", server.url, "--email", server.new_account(), "--password-stdin")
    done = linked(*login, stdin=f"{PASSWORD}\n")
    assert f"No longer linked, since this is another account: {tmp_path / 'Drive'}" in done.stdout
    assert linked("link", tmp_path / "Drive").returncode == 0


# The daemon


def test_the_daemon_starts_answers_waits_and_stops(linked, tmp_path):
    started = linked("start")
    assert started.returncode == 0, started.stderr
    assert linked("start").stdout.startswith("Running already")
    (tmp_path / "Drive" / "note").write_text("text")

    done = linked("wait", "--timeout", "90")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "note" in linked("ls").stdout
    status = linked("status", "--json")
    assert status.returncode == 0
    document = check_document(status.stdout)
    assert document["running"] is True
    assert document["state"] == "up_to_date"
    assert document["server"]["connected"] is True
    assert document["account"]["used_bytes"] == 4
    assert linked("sync", "--once").returncode == 0
    assert linked("stop").returncode == 0
    assert linked("stop").returncode == 4
    assert linked("wait").returncode == 4


def test_a_daemon_whose_login_was_revoked_waits_for_a_new_one(linked, server, account, tmp_path):
    assert linked("start").returncode == 0
    assert linked("wait", "--timeout", "60").returncode == 0
    api = HttpApi(server.url, (tmp_path / "home/.config/drive/token").read_text().strip())
    api.request("DELETE", "devices/this")
    api.close()

    assert linked("wait", "--timeout", "60").returncode == 3
    document = check_document(linked("status", "--json").stdout)
    assert document["state"] == "needs_login"

    (tmp_path / "Drive" / "note").write_text("text")
    linked("login", server.url, "--email", account, "--password-stdin", stdin=f"{PASSWORD}\n")
    assert linked("wait", "--timeout", "60").returncode == 0
    assert "note" in linked("ls").stdout


def test_a_killed_daemon_leaves_nothing_in_the_way(linked, tmp_path):
    linked("start")
    lock = (tmp_path / "home/.config/drive/daemon.lock").resolve()
    (pid,) = [
        int(process.name)
        for process in Path("/proc").iterdir()
        if process.name.isdigit() and holds(process, lock)
    ]
    os.kill(pid, signal.SIGKILL)

    assert linked("status").returncode == 4
    assert linked("start").stdout.startswith("Started")
    assert linked("wait", "--timeout", "60").returncode == 0


def holds(process, path):
    """Whether a process has a file open."""
    try:
        return any(descriptor.resolve() == path for descriptor in (process / "fd").iterdir())
    except OSError:
        return False


def test_two_daemons_keep_two_folders_the_same(linked, server, account, tmp_path):
    phone = command_of(tmp_path / "phone")
    phone(*("login", server.url, "--email", account, "--password-stdin"), stdin=f"{PASSWORD}\n")
    phone("link", tmp_path / "Phone")
    try:
        assert linked("start").returncode == phone("start").returncode == 0
        assert phone("wait", "--timeout", "60").returncode == 0

        (tmp_path / "Drive" / "note").write_text("from the laptop")
        deadline = time.monotonic() + 30
        while not (tmp_path / "Phone" / "note").exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)

        assert (tmp_path / "Phone" / "note").read_text() == "from the laptop"
    finally:
        phone("stop")


def test_a_wait_that_takes_too_long_is_exit_8(linked, tmp_path):
    settings = tmp_path / "home/.config/drive/config.json"
    document = json.loads(settings.read_text())
    document["login"]["server_url"] = f"http://127.0.0.1:{free_port()}"
    settings.write_text(json.dumps(document))
    assert linked("start").returncode == 0

    assert linked("wait", "--timeout", "2").returncode == 8
    assert linked("sync", "--once").returncode == 5

    document = check_document(linked("status", "--json").stdout)
    assert document["state"] == "offline"
    assert document["server"]["connected"] is False


def test_the_daemon_notices_a_new_link_and_a_folder_that_is_gone(signed_in, tmp_path):
    signed_in("link", tmp_path / "one", "--path", "/one")
    assert signed_in("start").returncode == 0
    signed_in("link", tmp_path / "two", "--path", "/two")
    (tmp_path / "two" / "note").write_text("text")

    assert signed_in("wait", "--timeout", "60").returncode == 0
    assert "note" in signed_in("ls", "/two").stdout

    (tmp_path / "one").rename(tmp_path / "away")
    assert signed_in("wait", "--timeout", "60").returncode == 7
    assert check_document(signed_in("status", "--json").stdout)["state"] == "attention"

    (tmp_path / "away").rename(tmp_path / "one")
    assert signed_in("wait", "--timeout", "60").returncode == 0


def test_the_log_names_no_file_and_no_token(linked, tmp_path):
    (tmp_path / "Drive" / "private diary").write_text("text")
    linked("start")
    linked("wait", "--timeout", "60")
    linked("stop")

    log = linked("log", "-n", "1000").stdout

    token = (tmp_path / "home/.config/drive/token").read_text().strip()
    assert "steps done" in log
    assert "diary" not in log
    assert token not in log
    assert "/blocks/" not in log
    assert linked("log", "-n", "1").stdout.count("\n") == 1


def test_signing_out_revokes_stops_and_keeps_the_files(linked, server, account, tmp_path):
    (tmp_path / "Drive" / "note").write_text("text")
    linked("start")
    linked("wait", "--timeout", "60")
    settings = tmp_path / "home/.config/drive"
    token = (settings / "token").read_text().strip()

    done = linked("logout")

    assert done.returncode == 0, done.stderr
    assert linked("status").returncode == 4
    assert linked("ls").returncode == 3
    assert (tmp_path / "Drive" / "note").read_text() == "text"
    assert not (settings / "token").exists()
    # Put back, the token is of no use any more.
    (settings / "token").write_text(token)
    login = {
        "server_url": server.url,
        "email": account,
        "user_id": "u",
        "device_id": "d",
        "device_name": "n",
    }
    (settings / "config.json").write_text(json.dumps({"schema": 1, "login": login, "roots": []}))
    assert linked("ls").returncode == 3


# What people see


def test_names_cannot_steer_the_terminal(linked, tmp_path):
    (tmp_path / "Drive" / "evil\x1b[2Jname\nsecond line").write_text("x")
    assert linked("sync", "--once").returncode == 0

    listing = linked("ls").stdout

    assert "\x1b" not in listing
    assert r"evil\x1b[2Jname\nsecond line" in listing


def test_a_listing_for_programs_keeps_names_as_they_are(linked, tmp_path):
    (tmp_path / "Drive" / "tab\there").write_text("x")
    (tmp_path / "Drive" / "folder").mkdir()
    linked("sync", "--once")
    document = json.loads(linked("ls", "--json").stdout)
    assert [item["name"] for item in document["items"]] == ["folder", "tab\there"]
    assert linked("ls", "/folder").stdout == ""
    assert linked("ls", "/tab\there").returncode == 0
    assert linked("ls", "/nowhere").returncode == 1


def test_without_a_terminal_there_are_no_colours(linked, tmp_path):
    (tmp_path / "Drive" / "note").write_text("x")
    done = linked("sync", "--once", FORCE_COLOR="1")
    assert "\x1b" not in done.stdout + done.stderr


def test_sizes_and_times_are_for_people(linked, tmp_path):
    (tmp_path / "Drive" / "note").write_bytes(bytes(1_500_000))
    linked("sync", "--once")
    assert re.search(r"1\.5 MB  \d{4}-\d\d-\d\d \d\d:\d\d  note", linked("ls").stdout)


def test_the_program_is_a_module_too(drive, tmp_path):
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "sync_client", "--version"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert Path(sys.executable).exists()
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", done.stdout)
