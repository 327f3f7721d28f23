"""The running daemon when things go wrong around it: it goes on, says so, and mends itself."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.drive import wait_until
from tests.sync_client.conftest import Command
from tests.sync_client.proxy import Proxy
from tests.sync_client.web import Answer, problem

HTML = {"Content-Type": "text/html"}


@pytest.fixture
def proxy(signed_in: Command, server, tmp_path: Path) -> Iterator[Proxy]:
    """Between the device and its server."""
    between = Proxy(server.url)
    settings = tmp_path / "home/.config/drive/config.json"
    document = json.loads(settings.read_text())
    document["login"]["server_url"] = between.url
    settings.write_text(json.dumps(document))
    yield between
    signed_in("stop")
    between.close()


def status(drive: Command):
    return json.loads(drive("status", "--json").stdout)


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (Answer(404, b"<html>no such host</html>", HTML), "offline"),
        (Answer(302, b"", {"Location": "http://portal.example/"}), "offline"),
        (Answer(200, b"<html>Welcome!</html>", HTML), "offline"),
        (problem(403, "forbidden", "No."), "attention"),
        (problem(400, "invalid-request"), "attention"),
        (Answer(200, b"{}", {"Content-Type": "application/json"}), "attention"),
    ],
    ids=["proxy", "portal", "page", "forbidden", "invalid", "nonsense"],
)
def test_an_odd_answer_ends_no_daemon(proxy, linked, tmp_path, answer, state):
    assert linked("start").returncode == 0
    assert linked("wait", "--timeout", "60").returncode == 0

    proxy.answer = lambda path, body: answer if "/changes" in path else None
    (tmp_path / "Drive" / "note").write_text("text")
    assert linked("sync", "--once").returncode == (5 if state == "offline" else 1)
    document = status(linked)
    assert document["running"] is True
    assert document["state"] == state
    assert document["reason"]

    proxy.answer = lambda path, body: None
    assert linked("wait", "--timeout", "60").returncode == 0
    assert "note" in linked("ls").stdout
    assert status(linked)["state"] == "up_to_date"
    assert "note" not in linked("log", "-n", "1000").stdout


def test_one_folder_in_trouble_leaves_the_other_alone(proxy, signed_in, tmp_path):
    for name in ("one", "two"):
        assert signed_in("link", tmp_path / name, "--path", f"/{name}").returncode == 0
    assert signed_in("start").returncode == 0
    assert signed_in("wait", "--timeout", "60").returncode == 0

    busy = problem(503, "busy", "Later.")
    proxy.answer = lambda path, body: busy if b"stuck" in body else None
    (tmp_path / "one" / "stuck").write_text("text")
    (tmp_path / "two" / "goes on").write_text("text")
    assert signed_in("sync", "--once").returncode == 5
    assert "goes on" in signed_in("ls", "/two").stdout
    assert status(signed_in)["state"] == "offline"

    proxy.answer = lambda path, body: None
    assert signed_in("wait", "--timeout", "60").returncode == 0
    assert "stuck" in signed_in("ls", "/one").stdout


def test_a_folder_that_came_back_is_watched_again(linked, tmp_path):
    folder, away = tmp_path / "Drive", tmp_path / "unplugged"
    assert linked("start").returncode == 0
    assert linked("wait", "--timeout", "60").returncode == 0
    folder.rename(away)
    assert linked("wait", "--timeout", "60").returncode == 7

    # Another disk with the same content, as after mounting it again.
    shutil.copytree(away, folder)
    assert linked("wait", "--timeout", "60").returncode == 0
    (folder / "note").write_text("text")
    wait_until(lambda: "note" in linked("ls").stdout, seconds=30, what="a change is noticed")
