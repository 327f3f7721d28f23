"""How it stands: the document of `drive status --json`, and the exit code that follows."""

import datetime
from collections.abc import Sequence
from enum import IntEnum, StrEnum
from typing import Any

from sync_client.config import Config
from sync_client.names import printable
from sync_client.pending import Status

SCHEMA = 1

# Problems that stop more than their own path: no room here, or none on the server.
FATAL_CODES = frozenset({"quota-exceeded", "disk-full"})


class State(StrEnum):
    """One word for the command line, programs and, later, the tray."""

    UP_TO_DATE = "up_to_date"
    SYNCING = "syncing"
    CONNECTING = "connecting"
    OFFLINE = "offline"
    NEEDS_LOGIN = "needs_login"
    ATTENTION = "attention"
    PAUSED = "paused"


class Exit(IntEnum):
    """Exit codes; part of the interface."""

    OK = 0
    OTHER = 1
    USAGE = 2
    NOT_LINKED = 3
    NOT_RUNNING = 4
    TEMPORARY = 5
    WITH_PROBLEMS = 6
    FATAL = 7
    TIMED_OUT = 8


def exit_code_of(statuses: Sequence[Status]) -> Exit:
    """How a finished sync went."""
    codes = {problem.code for status in statuses for problem in status.problems}
    if codes & FATAL_CODES:
        return Exit.FATAL
    if codes or any(status.conflicts or status.held_deletions for status in statuses):
        return Exit.WITH_PROBLEMS
    return Exit.OK


def paused(config: Config) -> tuple[str, str] | None:
    """Reason and next step, if somebody wants nothing to be synced now."""
    pause = config.pause_now()
    if pause is None:
        return None
    if pause.until is None:
        return "Paused until you resume.", "drive resume"
    return f"Paused until {_moment(pause.until)}.", "drive resume"


def _moment(seconds: float) -> str:
    """A moment of the near future, in the time of this place."""
    moment = datetime.datetime.fromtimestamp(seconds).astimezone()
    is_today = moment.date() == datetime.datetime.now().astimezone().date()
    return moment.strftime("%H:%M" if is_today else "%Y-%m-%d %H:%M")


def _iso(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")


def attention(statuses: Sequence[Status]) -> tuple[str, str] | None:
    """Reason and next step, if somebody has to decide or to make room."""
    if any(status.is_rebuilt for status in statuses):
        return (
            "The record of what was synced was damaged. Both sides are merged anew; "
            "nothing is deleted.",
            "drive log",
        )
    held = sum(status.held_deletions for status in statuses)
    if held:
        return f"{held} deletions are held until you confirm them.", "drive confirm-deletes"
    codes = {problem.code for status in statuses for problem in status.problems}
    if "disk-full" in codes:
        return "There is no space left on this disk.", "Free some space."
    if "quota-exceeded" in codes:
        return "The storage of this account is full.", "Delete something, or ask for more."
    return None


def document(
    config: Config,
    *,
    is_running: bool,
    state: State,
    reason: str | None,
    next_step: str | None,
    account: dict[str, Any],
    is_connected: bool,
    statuses: Sequence[Status],
    watched: Sequence[bool | None] = (),
) -> dict[str, Any]:
    """The status as programs read it. Schema 1 only grows.

    watched: of each folder, whether each change is noticed at once; None where none is.
    """
    login, pause = config.login, config.pause_now()
    problems = [
        {"path": problem.path, "code": problem.code, "message": problem.message}
        for status in statuses
        for problem in status.problems
    ]
    return {
        "schema": SCHEMA,
        "running": is_running,
        "state": state.value,
        "reason": reason,
        "next": next_step,
        "account": {
            "email": login.email if login else None,
            "used_bytes": account.get("used_bytes"),
            "quota_bytes": account.get("quota_bytes"),
        },
        "device": {
            "id": login.device_id if login else None,
            "name": login.device_name if login else None,
        },
        "server": {"url": login.server_url if login else None, "connected": is_connected},
        "roots": [
            {
                "path": printable((root.path,)),
                "remote_path": root.remote_path,
                "watched": watched[number] if number < len(watched) else None,
            }
            for number, root in enumerate(config.roots)
        ],
        "pending": {
            "up_files": sum(status.up_files for status in statuses),
            "up_bytes": sum(status.up_bytes for status in statuses),
            "down_files": sum(status.down_files for status in statuses),
            "down_bytes": sum(status.down_bytes for status in statuses),
        },
        "paused_until": None if pause is None or pause.until is None else _iso(pause.until),
        "limits": {
            "up_bytes_per_second": config.rates.up,
            "down_bytes_per_second": config.rates.down,
        },
        "conflicts": sum(status.conflicts for status in statuses),
        "problems": problems,
    }
