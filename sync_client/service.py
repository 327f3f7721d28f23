"""The sync client as a service of the user's own systemd: started at login, and after a crash."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
from typing import Any

from sync_client.config import Store
from sync_client.linking import Refused
from sync_client.status import Exit

# Starting again does not help against these.
_FINAL = (Exit.USAGE, Exit.NOT_LINKED, Exit.FATAL)


def install(store: Store) -> pathlib.Path:
    """Write the unit, and have systemd start it now and at every login; its path.

    Raises Refused where there is no systemd for users.
    """
    check_systemd()
    path = unit_path(store)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(unit_text(store), encoding="utf-8")
    _systemctl("daemon-reload")
    _systemctl("enable", "--now", path.name)
    return path


def uninstall(store: Store) -> bool:
    """Stop it and take the unit away; False where none was installed."""
    path = unit_path(store)
    if not path.exists():
        return False
    check_systemd()
    _systemctl("disable", "--now", path.name)
    path.unlink()
    _systemctl("daemon-reload")
    return True


def state(store: Store) -> dict[str, Any]:
    """`{"unit", "path", "is_installed", "is_enabled", "is_active"}`."""
    path = unit_path(store)
    is_installed = path.exists()
    if is_installed:
        check_systemd()
    return {
        "unit": path.name,
        "path": os.fspath(path),
        "is_installed": is_installed,
        "is_enabled": is_installed and _run("is-enabled", path.name).returncode == 0,
        "is_active": is_installed and _run("is-active", path.name).returncode == 0,
    }


def unit_path(store: Store) -> pathlib.Path:
    """Where the unit of a device is: each configuration folder has one of its own."""
    from platformdirs import user_config_path

    name = "drive"
    if store.folder != user_config_path("drive"):
        name += f"-{hashlib.sha256(os.fsencode(store.folder)).hexdigest()[:8]}"
    home = pathlib.Path(os.environ.get("XDG_CONFIG_HOME") or pathlib.Path.home() / ".config")
    return home / "systemd" / "user" / f"{name}.service"


def unit_text(store: Store) -> str:
    final = " ".join(str(int(code)) for code in _FINAL)
    return f"""\
[Unit]
Description=Drive: keep folders the same on all devices
Documentation=man:systemd.service(5)

[Service]
Environment={_quoted(f"DRIVE_CONFIG_DIR={store.folder}")}
ExecStart={_quoted(sys.executable)} -m sync_client start --foreground
Restart=on-failure
RestartSec=10
RestartPreventExitStatus={final}

[Install]
WantedBy=default.target
"""


def _quoted(text: str) -> str:
    """One word of a unit, in which neither spaces nor specifiers mean anything."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return '"' + escaped.replace("$", "$$") + '"'


def check_systemd() -> None:
    """Raises Refused where there is no systemd for users."""
    otherwise = (
        "Start the client another way, such as `drive start` in the autostart of your desktop, "
        "or the line `@reboot drive start` in crontab -e."
    )
    if shutil.which("systemctl") is None:
        raise Refused(f"This system has no systemd. {otherwise}")
    found = _run("show-environment")
    if found.returncode:
        raise Refused(
            f"The systemd of your user does not answer ({_reason(found)}): it runs only where you "
            f"have logged in yourself, not in a container or after su. {otherwise}"
        )


def _systemctl(*arguments: str) -> None:
    done = _run(*arguments)
    if done.returncode:
        raise Refused(f"systemctl --user {' '.join(arguments)} failed: {_reason(done)}.")


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["systemctl", "--user", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def _reason(done: "subprocess.CompletedProcess[str]") -> str:
    lines = (done.stderr or done.stdout).strip().splitlines()
    return lines[-1].rstrip(".") if lines else f"exit {done.returncode}"
