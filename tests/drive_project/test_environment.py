"""`make` on a machine that lacks something says in one line what, and how to get it.

That the installation itself works is shown by whoever runs these tests: `make test` made
the environment that they run in.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.services.drive import CHECKOUT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What `make` reads before anything is installed."""
    folder = tmp_path / "checkout"
    (folder / "drive_project").mkdir(parents=True)
    (folder / "sync_client").mkdir()
    for name in (
        "Makefile",
        "requirements.txt",
        "requirements-dev.txt",
        "drive_project/__init__.py",
        "drive_project/environment.py",
        "sync_client/pyproject.toml",
    ):
        shutil.copy(CHECKOUT / name, folder / name)
    return folder


def make(checkout: Path, *arguments: str, path: str) -> "subprocess.CompletedProcess[str]":
    program = shutil.which("make")
    assert program
    return subprocess.run(
        [program, *arguments],
        cwd=checkout,
        env={"PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_a_new_enough_python(checkout, tmp_path):
    programs = tmp_path / "programs"
    programs.mkdir()
    old = programs / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)

    done = make(checkout, "up", path=str(programs))

    assert done.returncode != 0
    assert "Drive needs Python 3.11 or newer. Install it with" in done.stderr
    assert not (checkout / ".venv").exists()


def install(checkout: Path, *before: str) -> "subprocess.CompletedProcess[str]":
    """Run the installation with the base Python, after some statements."""
    script = "; ".join([*before, "from drive_project.environment import main", "main()"])
    return subprocess.run(
        [os.path.realpath(sys.executable), "-c", script],
        cwd=checkout,
        env={"PATH": os.environ["PATH"], "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_without_pythons_venv(checkout, module):
    done = install(checkout, "import sys", f"sys.modules[{module!r}] = None")

    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert f"no module {module}" in line
    assert f"apt-get install python3.{sys.version_info[1]}-venv" in line


def test_without_a_network_it_says_so_and_the_next_run_begins_again(checkout):
    done = install(checkout)

    assert done.returncode == 1
    assert "It needs the network" in done.stderr.splitlines()[-1]
    assert (checkout / ".venv" / "bin" / "python").exists()
    assert install(checkout).returncode == 1


def test_what_is_installed_already_is_left_alone(checkout):
    # What an installation leaves; its own words for what it holds.
    done = install(
        checkout,
        "from drive_project import environment as e",
        "e.VENV.mkdir()",
        "e.STAMP.write_text(e._fingerprint('requirements.txt') + '\\n')",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    began = time.monotonic()
    assert install(checkout).returncode == 0
    assert time.monotonic() - began < 5

    # Another set of packages, or another place, is installed anew.
    with (checkout / "requirements.txt").open("a") as file:
        file.write("# changed\n")
    assert install(checkout).returncode == 1


def test_several_at_once_wait_for_each_other(checkout):
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, time; lock = open('.venv.lock', 'w');"
            "fcntl.flock(lock, fcntl.LOCK_EX); print('held', flush=True); time.sleep(1)",
        ],
        cwd=checkout,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        began = time.monotonic()
        install(checkout, "import sys", "sys.modules['venv'] = None")
        assert time.monotonic() - began > 0.5


def test_help_lists_every_target_with_its_comment(checkout):
    done = make(checkout, "help", path=os.environ["PATH"])

    assert done.returncode == 0
    for target in ("up", "test", "check", "bench", "help", "format", "requirements"):
        assert f"make {target} " in done.stdout
