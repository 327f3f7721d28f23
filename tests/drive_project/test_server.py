"""The server below Django: bounded memory, and no thread that a client can keep."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from drive_project.server import MAX_BODY_BYTES
from tests.services import dies_with_parent, free_port
from tests.services.drive import CHECKOUT, wait_until

MIB = 1024 * 1024


class Served:
    """The application of served.py behind the real server."""

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self.pid = pid
        self.url = f"http://127.0.0.1:{port}"

    def memory_bytes(self) -> int:
        """The most memory that the server ever held."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmHWM")

    def begin(self, path: str) -> socket.socket:
        """Ask for a page and read nothing of it."""
        reader = socket.create_connection(("127.0.0.1", self.port))
        reader.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return reader

    def open_streams(self) -> int:
        return int(httpx.get(f"{self.url}/open-streams").text)


@pytest.fixture
def served() -> Iterator[Served]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.drive_project.served", str(port)],
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        preexec_fn=dies_with_parent(),
    )

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/").is_success
        except httpx.TransportError:
            return False

    try:
        wait_until(answers, seconds=20, what="an answer")
        yield Served(port, process.pid)
    finally:
        process.kill()
        process.wait()


def test_bodies_arrive_whole(served):
    body = os.urandom(3 * MIB + 1)
    assert httpx.post(f"{served.url}/echo", content=body).content == body
    assert httpx.post(f"{served.url}/length", content=iter([body] * 2)).text == str(2 * len(body))
    assert httpx.get(f"{served.url}/length").text == "0"


def test_the_largest_body_is_taken(served):
    answer = httpx.post(f"{served.url}/length", content=bytes(MAX_BODY_BYTES))
    assert answer.text == str(MAX_BODY_BYTES)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_larger_body_is_refused_and_not_kept(served, is_chunked):
    before = served.memory_bytes()
    body = bytes(40 * MIB)
    answer = httpx.post(f"{served.url}/length", content=iter([body]) if is_chunked else body)

    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "too-large"
    assert served.memory_bytes() - before < 12 * MIB


def test_a_body_without_end_is_cut_off(served):
    before = served.memory_bytes()
    with socket.create_connection(("127.0.0.1", served.port)) as sender:
        sender.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n")
        # Far more than the server and both kernels' buffers take.
        with pytest.raises(ConnectionError):
            sender.sendall(bytes(400 * MIB))
    assert served.memory_bytes() - before < 12 * MIB


def test_many_large_bodies_at_once_are_not_all_in_memory(served):
    before = served.memory_bytes()
    with ThreadPoolExecutor(30) as threads:
        answers = threads.map(
            lambda _: httpx.post(f"{served.url}/slow?0.2", content=bytes(8 * MIB), timeout=60),
            range(30),
        )
        assert all(answer.is_success for answer in answers)
    assert served.memory_bytes() - before < 48 * MIB


def test_a_stream_arrives_whole_in_bounded_memory(served):
    before = served.memory_bytes()
    with httpx.stream("GET", f"{served.url}/stream") as answer:
        total = 0
        for piece in answer.iter_raw():
            total += len(piece)
            if total < 2 * MIB:
                # A slow reader at first: everything else would be in the server's memory.
                time.sleep(0.02)
    assert total == 512 * MIB
    assert served.memory_bytes() - before < 24 * MIB


def test_slow_readers_do_not_hold_up_short_requests(served):
    with ExitStack() as readers:
        for _ in range(5):
            readers.enter_context(served.begin("/stream"))
        wait_until(lambda: served.open_streams() == 3, seconds=5, what="all stream threads busy")
        for _ in range(20):
            assert httpx.get(f"{served.url}/", timeout=2).is_success


def test_a_reader_who_leaves_gives_its_thread_back(served):
    for _ in range(10):
        with served.begin("/stream") as reader:
            reader.recv(100_000)
    wait_until(lambda: served.open_streams() == 0, seconds=10, what="all streams closed")
    with httpx.stream("GET", f"{served.url}/stream") as answer:
        assert answer.is_success


def test_callers_who_leave_give_their_threads_back(served):
    for _ in range(6):
        with served.begin("/slow?0.3"):
            time.sleep(0.01)
    assert httpx.get(f"{served.url}/", timeout=10).is_success
    with ThreadPoolExecutor(8) as threads:
        answers = threads.map(lambda _: httpx.get(f"{served.url}/", timeout=10), range(40))
        assert all(answer.is_success for answer in answers)


def test_a_stream_that_fails_is_broken_off_and_the_server_goes_on(served):
    with (
        pytest.raises(httpx.TransportError),
        httpx.stream("GET", f"{served.url}/failing-stream", timeout=10) as answer,
    ):
        answer.read()
    assert served.open_streams() == 0
    assert httpx.get(f"{served.url}/").is_success


def test_no_client_can_move_the_path_we_are_mounted_at(served):
    answer = httpx.get(f"{served.url}/a/b", headers={"Daphne-Root-Path": "/a"})
    assert answer.headers["x-path"] == "/a/b"
    assert answer.headers["x-script"] == ""


def test_a_connection_serves_many_requests(served):
    with httpx.Client() as client:
        for _ in range(5):
            assert client.get(f"{served.url}/").is_success
            assert client.post(f"{served.url}/echo", content=b"a" * 100_000).content[-1:] == b"a"
