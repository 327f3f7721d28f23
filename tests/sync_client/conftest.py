"""A running server for the client's outside: started once, with an account per test."""

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sync_client.cli import main
from tests.services.drive import PASSWORD, RunningDrive

DRIVE = Path(sys.executable).with_name("drive")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDrive]:
    drive = RunningDrive(tmp_path_factory.mktemp("server"))
    drive.start()
    yield drive
    drive.close()


@pytest.fixture
def account(server: RunningDrive) -> str:
    """The e-mail address of somebody new, with the password PASSWORD."""
    return server.new_account()


Command = Callable[..., "subprocess.CompletedProcess[str]"]


def command_of(home: Path) -> Command:
    """`drive` as a program, with settings and home of its own."""
    home.mkdir(exist_ok=True)

    def run(*arguments: str | Path, stdin: str = "", **environment: str):
        return subprocess.run(
            [DRIVE, *arguments],
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": str(home),
                "DRIVE_CONFIG_DIR": str(home / ".config" / "drive"),
                **environment,
            },
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=home,
        )

    return run


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Command]:
    """A device that nobody has signed in yet."""
    run = command_of(tmp_path / "home")
    yield run
    run("stop")


@pytest.fixture
def signed_in(drive: Command, server: RunningDrive, account: str) -> Command:
    done = drive(
        *("login", server.url, "--email", account, "--password-stdin", "--device", "laptop"),
        stdin=f"{PASSWORD}\n",
    )
    assert done.returncode == 0, done.stderr
    return drive


@pytest.fixture
def linked(signed_in: Command, tmp_path: Path) -> Command:
    """Signed in, with the folder `tmp_path / "Drive"` linked."""
    done = signed_in("link", tmp_path / "Drive")
    assert done.returncode == 0, done.stderr
    return signed_in


@pytest.fixture
def inside(
    server: RunningDrive,
    account: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """A signed-in device whose commands run in this process, which is quicker.

    Its home, and the folder it works in, is `tmp_path`.
    """
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DRIVE_CONFIG_DIR", str(tmp_path / "settings"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        monkeypatch.setattr(sys, "argv", ["drive", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        try:
            code = main()
        except SystemExit as end:
            code = int(end.code or 0)
        written = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code, written.out, written.err)

    login = ("login", server.url, "--email", account, "--password-stdin", "--device", "laptop")
    assert run(*login, stdin=f"{PASSWORD}\n").returncode == 0
    return run
