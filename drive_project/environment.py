"""`python3 -m drive_project.environment`: the virtual environment `.venv`, made and kept.

Run by the system's Python before anything is installed, so standard library only. It does
nothing where `.venv` already holds what the requirements say, which takes milliseconds;
several at once wait for each other.
"""

import argparse
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
VENV = CHECKOUT / ".venv"
STAMP = VENV / "drive-installed"
CLIENT = CHECKOUT / "sync_client"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class CannotInstall(Exception):
    """One line for the user: what is missing, and the remedy."""


def main() -> None:
    """Install, or say in one line why not and exit 1."""
    options = argparse.ArgumentParser(prog="python3 -m drive_project.environment")
    options.add_argument("--dev", action="store_true", help="what tests and checks need, too")
    options.add_argument("--browser", action="store_true", help="a Chromium for browser tests")
    chosen = options.parse_args()
    try:
        install(is_dev=chosen.dev)
        if chosen.browser:
            install_browser()
    except CannotInstall as error:
        sys.exit(f"Drive cannot be installed: {error}")


def install(*, is_dev: bool) -> None:
    """Make `.venv` hold exactly the pinned packages, and the client's command `drive`."""
    with (CHECKOUT / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        present = STAMP.read_text(encoding="utf-8").splitlines() if STAMP.exists() else []
        wanted = [_fingerprint("requirements.txt")]
        # Once installed, the tools stay: a plain `make up` does not take them away.
        if is_dev or len(present) > 1:
            wanted.append(_fingerprint("requirements-dev.txt"))
        if present == wanted:
            return
        if not _is_usable():
            _create()
        STAMP.unlink(missing_ok=True)
        print("Installing what Drive needs into .venv (once; a minute or two) …", flush=True)
        files = ["requirements.txt", "requirements-dev.txt"][: len(wanted)]
        _pip(*(argument for file in files for argument in ("-r", file)))
        # What it depends on is in the requirements already.
        _pip("--no-deps", "--editable", str(CLIENT))
        STAMP.write_text("".join(f"{line}\n" for line in wanted), encoding="utf-8")


def _fingerprint(requirements: str) -> str:
    """Changes with the packages, the client's command, the Python, and the checkout's place.

    The last since a virtual environment knows its own path: a moved one is made anew.
    """
    digest = hashlib.sha256()
    for file in (CHECKOUT / requirements, CLIENT / "pyproject.toml"):
        digest.update(file.read_bytes())
    return f"{requirements} {digest.hexdigest()} {sys.version_info[:2]} {VENV}"


def _is_usable() -> bool:
    python = VENV / "bin" / "python"
    # Absent on the first run; a link to a Python that was removed does not "exist" either.
    if not python.exists():
        return False
    probe = subprocess.run(
        [python, "-c", "import pip, sys; print(sys.version_info[:2], sys.prefix)"],
        capture_output=True,
        text=True,
        check=False,
    )
    return probe.stdout.strip() == f"{sys.version_info[:2]} {VENV}"


def _create() -> None:
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            version = f"{sys.version_info[0]}.{sys.version_info[1]}"
            raise CannotInstall(
                f"this Python has no module {module}. "
                f"Install it with: apt-get install python{version}-venv"
            )
    made = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", VENV], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        lines = (made.stdout + made.stderr).strip().splitlines()
        raise CannotInstall(f"{VENV} cannot be made: {lines[-1] if lines else 'no reason given'}")


def _pip(*arguments: str) -> None:
    done = subprocess.run(
        [
            *(VENV / "bin" / "python", "-m", "pip", "install"),
            # Twice quiet: errors only, no warnings about somebody's mirrors.
            *("--quiet", "--quiet", "--disable-pip-version-check", "--no-input"),
            *arguments,
        ],
        cwd=CHECKOUT,
        check=False,
    )
    if done.returncode != 0:
        raise CannotInstall(
            "pip has failed (its own words stand above). It needs the network, or an index "
            "named in PIP_INDEX_URL; run the same command again afterwards."
        )


def install_browser() -> None:
    """A Chromium on PATH. As root it is installed where the system has packages for it."""
    if any(shutil.which(name) for name in BROWSERS):
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", "chromium"]
    if os.getuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(command, check=False)
        if any(shutil.which(name) for name in BROWSERS):
            return
    raise CannotInstall(
        f"the browser tests need Chromium. Install it with: sudo {' '.join(command)}"
    )


if __name__ == "__main__":
    main()
