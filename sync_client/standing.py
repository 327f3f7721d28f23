"""How one path stands on this device, in the words of the status: a state, its reason, and
what to do."""

import os
import pathlib
from typing import Any

from sync_client.config import Store
from sync_client.control import NotRunning, ask
from sync_client.known import Known, known_at
from sync_client.linked import TREES
from sync_client.listing import pages
from sync_client.names import printable
from sync_client.ports import Api
from sync_client.running import resting_document
from sync_client.status import State
from sync_client.subject import Subject

# Then nothing moves, whatever is left to do.
_STANDSTILL = frozenset({"paused", "offline", "connecting", "needs_login"})


def standing_of(store: Store, subject: Subject) -> dict[str, Any]:
    """`{"local_path", "is_here", "state", "reason", "next", "waits_for", "error", "rule"}`.

    Without a linked folder for it, `local_path` and `state` are null.
    """
    if subject.root is None:
        return {
            "local_path": None, "is_here": False, "state": None, "reason": None, "next": None,
            "waits_for": None, "error": None, "rule": None,
        }  # fmt: skip
    try:
        whole = ask(store.folder, "status")["status"]
    except NotRunning:
        whole = resting_document(store)
    known = known_at(store.state_dir(subject.root) / TREES, subject.root, subject.path)
    here = pathlib.Path(subject.root.path).joinpath(*subject.path)
    state, reason, next_step = _state(whole, known)
    rule = None
    if known.rule is not None:
        rule = {
            "rule": known.rule.text,
            "file": None
            if known.rule.folder is None
            else printable((subject.root.path, *known.rule.folder, ".driveignore")),
            "line": known.rule.line,
        }
    return {
        "local_path": printable((os.fspath(here),)),
        "is_here": os.path.lexists(here),
        "state": state,
        "reason": reason,
        "next": next_step,
        "waits_for": known.waits_for,
        "error": {"code": known.code, "message": known.message} if known.code else None,
        "rule": rule,
    }


def _state(whole: dict[str, Any], known: Known) -> tuple[str, str | None, str | None]:
    if known.rule is not None:
        where = (
            "a rule of this device"
            if known.rule.folder is None
            else f"{printable((*known.rule.folder, '.driveignore'))}, line {known.rule.line}"
        )
        return State.UP_TO_DATE, f"Not synced: ignored by {known.rule.text!r} ({where}).", None
    if known.is_deselected:
        return State.UP_TO_DATE, "Not kept here: its folder is deselected on this device.", None
    if whole["state"] == "needs_login":
        return whole["state"], whole["reason"], whole["next"]
    if known.code is not None:
        return State.ATTENTION, known.message or known.waits_for, None
    if known.waits_for is None:
        return State.UP_TO_DATE, None, None
    if whole["state"] in _STANDSTILL:
        return whole["state"], f"{known.waits_for} {whole['reason'] or ''}".strip(), whole["next"]
    if whole["state"] == "attention":
        return whole["state"], f"{known.waits_for} {whole['reason'] or ''}".strip(), whole["next"]
    return State.SYNCING, known.waits_for, None


def devices_of(api: Api, file: dict[str, Any]) -> list[dict[str, Any]]:
    """What each of one's devices has of a file, as far as it has said so."""
    return list(pages(api, f"files/{file['file_id']}/devices"))
