"""`manage.py run_block_service` as an operator starts and ends it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from blocks.rpc.client import RemoteBlockService
from drive_project.common.errors import ServiceUnavailable
from tests.services import dies_with_parent
from tests.services.drive import CHECKOUT, wait_until

TOKEN = "a token that nobody guesses, ever"
READY = "Block Service is ready at "
Start = Callable[..., "subprocess.Popen[str]"]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Nothing of this test run's but its Redis; databases in a folder of their own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BLOCK", "DATABASE", "GRPC"))
    }
    return kept | {"DRIVE_DATA_DIR": str(folder / "data"), **more}


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A data folder with the tables of the Block Service."""
    folder = tmp_path_factory.mktemp("migrated")
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--database", "blocks", "-v0"],
        cwd=CHECKOUT,
        env=environment(folder),
        check=True,
    )
    return str(folder / "data")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a Block Service with settings; all are ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def begin(**settings: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "manage.py", "run_block_service"],
            cwd=CHECKOUT,
            env=environment(tmp_path, **{"BLOCK_SERVICE_TOKEN": TOKEN, **settings}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=dies_with_parent(),
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def address_of(process: "subprocess.Popen[str]") -> str:
    """Where it says that it is ready."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith(READY), process.communicate()
    return line.removeprefix(READY).strip()


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Its exit code and what it complained of."""
    _, complaint = process.communicate(timeout=30)
    return process.returncode, complaint


def refusal() -> tuple[int, str]:
    """The exit code and the words with which the command refuses to serve, in this process."""
    with pytest.raises(CommandError) as refused:
        call_command("run_block_service")
    return refused.value.returncode, str(refused.value)


def test_it_serves_says_where_and_ends_when_told(migrated: str, start: Start) -> None:
    process = start(BLOCK_SERVICE_BIND="127.0.0.1:0", DRIVE_DATA_DIR=migrated)
    address = address_of(process)
    away = RemoteBlockService(address, token=TOKEN)
    wait_until(
        lambda: away.check_health(timeout_seconds=5), seconds=10, what="it says that it can work"
    )
    assert away.stats().block_count == 0

    process.send_signal(signal.SIGTERM)

    assert ended(process) == (0, "")
    with pytest.raises(ServiceUnavailable):
        away.check_health(timeout_seconds=2)
    away.close()


def test_without_its_tables_it_says_that_it_cannot_work(start: Start) -> None:
    process = start(BLOCK_SERVICE_BIND="127.0.0.1:0")
    away = RemoteBlockService(address_of(process), token=TOKEN)

    assert process.stderr is not None
    assert "no such table" in process.stderr.readline()
    assert not away.check_health(timeout_seconds=5)

    away.close()
    process.send_signal(signal.SIGINT)
    assert ended(process) == (0, "")


def test_a_port_in_use_is_told_in_one_line(settings: Any) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        settings.BLOCK_SERVICE_BIND = address
        assert refusal() == (1, f"BLOCK_SERVICE_BIND {address} is in use by another program.")


def test_a_socket_is_for_its_user_alone_and_taken_over_from_the_dead(
    tmp_path: Path, start: Start, settings: Any
) -> None:
    path = tmp_path / "blocks.sock"
    settings.BLOCK_SERVICE_BIND = f"unix:{path}"
    first = start(BLOCK_SERVICE_BIND=f"unix:{path}")
    assert address_of(first) == f"unix:{path}"
    assert path.stat().st_mode & 0o777 == 0o600

    assert refusal() == (1, f"BLOCK_SERVICE_BIND unix:{path} is in use by another program.")

    first.kill()
    first.communicate()
    assert path.is_socket()
    second = start(BLOCK_SERVICE_BIND=f"unix:{path}")
    assert address_of(second) == f"unix:{path}"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_in_the_place_of_the_socket_is_left_alone(tmp_path: Path, settings: Any) -> None:
    path = tmp_path / "precious"
    path.write_text("mine")
    settings.BLOCK_SERVICE_BIND = f"unix:{path}"

    code, words = refusal()

    assert code == 1
    assert "something else" in words
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"BLOCK_SERVICE_BIND": "0.0.0.0:0"}, "BLOCK_SERVICE_TOKEN is not set"),
        (
            {"BLOCK_SERVICE_TLS_CERT": "/none.crt", "BLOCK_SERVICE_TLS_KEY": "/none.key"},
            "BLOCK_SERVICE_TLS_CERT /none.crt cannot be read",
        ),
        ({"BLOCK_SERVICE_BIND": "127.0.0.1"}, "neither HOST:PORT nor unix:PATH"),
        ({"BLOCK_SERVICE_TOKEN": "short"}, "could be guessed"),
    ],
    ids=["no-token", "no-certificate", "no-port", "short-token"],
)
def test_wrong_settings_are_told_in_one_line(
    settings: Any, wrong: dict[str, str], words: str
) -> None:
    for name, value in wrong.items():
        setattr(settings, name, value)

    code, told = refusal()

    assert code == 2
    assert words in told
    assert len(told.splitlines()) == 1


FORKING = """
import os, sys
import django
django.setup()
from blocks.service import get_block_service
service = get_block_service()
def works():
    return service.stats().block_count == 0
def works_in_a_child():
    child = os.fork()
    if child == 0:
        os._exit(0 if works() else 1)
    return os.waitpid(child, 0)[1] == 0
assert works_in_a_child(), "before the first call"
assert works()
assert works_in_a_child(), "after the first call"
assert works()
"""


def test_a_client_works_on_both_sides_of_a_fork(
    tmp_path: Path, migrated: str, start: Start
) -> None:
    """As the children of Celery and of other servers have it from their parent."""
    address = address_of(start(BLOCK_SERVICE_BIND="127.0.0.1:0", DRIVE_DATA_DIR=migrated))

    done = subprocess.run(
        [sys.executable, "-c", FORKING],
        cwd=CHECKOUT,
        env=environment(
            tmp_path,
            BLOCK_SERVICE_ADDRESS=address,
            BLOCK_SERVICE_TOKEN=TOKEN,
            DJANGO_SETTINGS_MODULE="drive_project.settings",
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
