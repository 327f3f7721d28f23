"""The socket between the commands and the daemon."""

import os
import socket
import stat
import threading
import time
from pathlib import Path

import pytest

from sync_client.control import ControlServer, NotRunning, ask, has_hung_up
from sync_client.daemon_work import AlreadyRunning, only_one


@pytest.fixture
def serve(tmp_path):
    servers = []

    def serve(handle, folder=tmp_path):
        server = ControlServer(folder, handle)
        server.start()
        servers.append(server)
        return server

    yield serve
    for server in servers:
        server.close()


def test_a_command_gets_its_answer(serve, tmp_path):
    serve(lambda request, connection: {"heard": request})
    assert ask(tmp_path, "status", a=1) == {"heard": {"command": "status", "a": 1}}


def test_without_a_daemon_nobody_answers(tmp_path):
    with pytest.raises(NotRunning):
        ask(tmp_path, "status")


def test_the_socket_of_a_killed_daemon_is_nobody_and_the_next_one_replaces_it(serve, tmp_path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(tmp_path / "daemon.sock"))
    with pytest.raises(NotRunning):
        ask(tmp_path, "status")
    serve(lambda request, connection: {"ok": True})
    assert ask(tmp_path, "status") == {"ok": True}


def test_only_the_owner_can_connect(serve, tmp_path):
    serve(lambda request, connection: {})
    assert stat.S_IMODE((tmp_path / "daemon.sock").stat().st_mode) == 0o600


def test_a_path_too_long_for_a_socket_moves_to_a_private_folder(serve, tmp_path):
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    server = serve(lambda request, connection: {"ok": True}, folder)

    assert ask(folder, "status") == {"ok": True}

    moved = Path((folder / "daemon.socket-path").read_text())
    assert stat.S_IMODE(moved.parent.stat().st_mode) == 0o700
    server.close()
    assert not moved.parent.exists()
    with pytest.raises(NotRunning):
        ask(folder, "status")


def test_many_may_ask_at_once(serve, tmp_path):
    arrived = threading.Barrier(5, timeout=10)

    def wait_for_all(request, connection):
        arrived.wait()
        return {"ok": True}

    serve(wait_for_all)
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(ask(tmp_path, "wait"))) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [{"ok": True}] * 5


def test_a_daemon_notices_that_the_asker_has_gone(serve, tmp_path):
    gone = threading.Event()

    def watch(request, connection):
        while not has_hung_up(connection):
            time.sleep(0.01)
        gone.set()
        return {}

    serve(watch)
    with socket.socket(socket.AF_UNIX) as asker:
        asker.connect(os.fspath(tmp_path / "daemon.sock"))
        asker.sendall(b'{"command": "wait"}\n')
        assert not gone.wait(0.2)
    assert gone.wait(5)


def test_nonsense_is_ignored(serve, tmp_path):
    serve(lambda request, connection: {"ok": True})
    with socket.socket(socket.AF_UNIX) as asker:
        asker.connect(os.fspath(tmp_path / "daemon.sock"))
        asker.sendall(b"what?\n")
        assert asker.recv(100) == b""
    assert ask(tmp_path, "status") == {"ok": True}


def test_two_processes_never_work_on_the_same_folders(tmp_path):
    with only_one(tmp_path), pytest.raises(AlreadyRunning), only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass
