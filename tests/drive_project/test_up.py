"""`make up`: one command starts everything, and one signal ends it."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import django
import httpx
import pytest

from tests.services.drive import RunningDrive, is_running, wait_until

pytestmark = pytest.mark.journey


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[RunningDrive]:
    server = RunningDrive(tmp_path / "data")
    yield server
    server.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDrive]:
    """One that runs, for tests that leave it so."""
    with RunningDrive(tmp_path_factory.mktemp("running") / "data") as server:
        yield server


def refusal(server: RunningDrive) -> str:
    """What a launcher that cannot start says: one line, exit 1, nothing left behind."""
    assert server.launch().wait(30) == 1
    assert not server.is_ready
    [line] = server.errors
    server.close()
    return line


def test_it_says_when_it_is_ready_and_all_parts_work(running):
    assert httpx.get(f"{running.url}/healthz").json() == {"status": "ok"}
    ready = httpx.get(f"{running.url}/readyz")
    assert ready.status_code == 200
    assert set(ready.json()["checks"]) == {"default", "blocks", "redis", "store", "worker"}
    assert set(running.parts()) == {"redis", "worker", "web"}
    assert running.setup_link is not None
    assert running.setup_link.startswith(f"{running.url}/setup/")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_in_time(drive, number):
    drive.start()
    pids = drive.all_pids()

    assert drive.stop(number) == 0
    assert [pid for pid in pids if is_running(pid)] == []


def test_a_half_sent_request_does_not_hold_up_the_end(drive):
    drive.start()
    pids = drive.all_pids()
    with socket.create_connection(("127.0.0.1", drive.port)) as half:
        half.sendall(
            b"POST /api/v1/folders HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"
        )
        assert drive.stop() == 0
    assert [pid for pid in pids if is_running(pid)] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_what_ends_make_ends_everything(tmp_path, number):
    makefile = tmp_path / "Makefile"
    # The recipe of `make up` without the installation.
    makefile.write_text(f"up:\n\t@exec {sys.executable} -m drive_project.up\n")
    with RunningDrive(tmp_path / "data", command=["make", "-f", str(makefile), "up"]) as drive:
        pids = drive.all_pids()
        assert len(set(pids)) == 5

        drive.stop(number)
        wait_until(
            lambda: not any(is_running(pid) for pid in pids), seconds=10, what="the end of all"
        )


def test_after_the_launcher_is_killed_the_next_start_works(drive):
    drive.start()
    drive.create_user("alice@example.com", "--admin")
    pids = drive.all_pids()

    drive.stop(signal.SIGKILL)
    wait_until(lambda: not any(is_running(pid) for pid in pids), seconds=5, what="no orphans")
    drive.start()

    # It found its data: there is an administrator.
    assert drive.setup_link is None


@pytest.mark.parametrize("part", ["web", "worker", "redis"])
def test_a_part_that_is_killed_is_started_again(running, part):
    before = running.parts()

    os.kill(before[part], signal.SIGKILL)

    wait_until(
        lambda: running.parts().get(part) not in (None, before[part]), seconds=10, what="a new one"
    )
    wait_until(
        lambda: httpx.get(f"{running.url}/readyz", timeout=10).status_code == 200,
        seconds=60,
        what="readiness",
    )


def test_a_request_during_the_restart_of_web_waits_instead_of_failing(running):
    os.kill(running.parts()["web"], signal.SIGKILL)

    assert httpx.get(f"{running.url}/healthz", timeout=30).status_code == 200


def test_two_instances_run_side_by_side(tmp_path):
    with (
        RunningDrive(tmp_path / "one") as one,
        RunningDrive(tmp_path / "two") as two,
    ):
        one.create_user("alice@example.com")
        assert httpx.get(f"{one.url}/readyz").status_code == 200
        assert httpx.get(f"{two.url}/readyz").status_code == 200
        listed = two.manage(
            "shell", "-c", "from files.models import User; print(User.objects.count())"
        )
        assert listed.stdout.split()[-1] == "0"


def test_a_long_or_odd_data_folder_works_and_its_socket_moves(tmp_path):
    folder = tmp_path / "data of Zoë & Co 100% #1?" / ("x" * 120)
    with RunningDrive(folder) as drive:
        socket_path = Path((folder / "redis.socket-path").read_text().strip())
        assert len(str(socket_path)) < 100
        assert socket_path.parent.stat().st_mode & 0o777 == 0o700
        assert socket_path.stat().st_mode & 0o777 == 0o600
        drive.create_user("alice@example.com")
        assert drive.stop(signal.SIGKILL) == -signal.SIGKILL
        drive.start()
        assert Path((folder / "redis.socket-path").read_text().strip()) == socket_path


def test_the_data_is_for_its_user_alone(running):
    assert running.data_dir.stat().st_mode & 0o777 == 0o700
    for path in running.data_dir.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_redis_data_that_cannot_be_read_does_not_stop_the_start(drive):
    drive.start()
    drive.stop()
    kept = [path for path in (drive.data_dir / "redis").rglob("*") if path.is_file()]
    assert kept
    for path in kept:
        path.write_bytes(b"no such thing")

    drive.start()

    assert list(drive.data_dir.glob("redis.unreadable-*"))


def test_a_busy_port_is_refused_with_a_remedy(drive):
    with socket.create_server(("127.0.0.1", drive.port)):
        line = refusal(drive)
    assert f"127.0.0.1:{drive.port} is in use" in line
    assert "DRIVE_BIND=" in line


def test_a_second_launcher_of_the_same_data_is_refused(running):
    line = refusal(RunningDrive(running.data_dir))

    assert f"running already on the data folder {running.data_dir}" in line
    assert httpx.get(f"{running.url}/readyz").status_code == 200


def test_a_start_right_after_the_stop_waits_for_its_end(drive):
    drive.start()
    first = drive.process
    assert first is not None
    first.send_signal(signal.SIGTERM)

    drive.start()

    assert first.wait(1) == 0


@pytest.mark.parametrize("place", ["a file", "below a file", "not writable"])
def test_a_data_folder_that_cannot_be_used_is_refused_with_a_remedy(tmp_path, place):
    (tmp_path / "file").touch()
    # As root everything is writable, except what is no real disk.
    folder = {
        "a file": tmp_path / "file",
        "below a file": tmp_path / "file" / "data",
        "not writable": Path("/proc/drive-data"),
    }[place]
    line = refusal(RunningDrive(folder))
    assert str(folder) in line
    assert "DRIVE_DATA_DIR=" in line


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"DRIVE_BIND": "8000"}, "DRIVE_BIND is not HOST:PORT"),
        ({"DRIVE_BIND": "10.255.255.1:8000"}, "no address of this machine"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY has 5 characters"),
        ({"BLOCK_SERVICE_TOKEN": "short"}, "BLOCK_SERVICE_TOKEN is not 32 or more"),
        ({"TRASH_DAYS": "soon"}, "TRASH_DAYS is not a whole number"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_one_line(tmp_path, settings, reason):
    assert reason in refusal(RunningDrive(tmp_path / "data", **settings))


def test_without_any_redis_it_says_which_to_install(tmp_path):
    # No installed packages but the one that the launcher needs, and nothing on PATH.
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "django").symlink_to(Path(django.__file__).parent)
    server = RunningDrive(
        tmp_path / "data",
        command=[sys.executable, "-S", "-m", "drive_project.up"],
        PATH=str(tmp_path),
        PYTHONPATH=str(packages),
    )
    assert "apt-get install redis-server" in refusal(server)
