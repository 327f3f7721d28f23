"""fsck: is every byte where it should be, and does everything agree?

The Block Service's half is `blocks.reconcile`, the File Service's `files.integrity`. Here
their findings become problems that an operator can act on: with the path that people see,
and with what to do.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import IO
from uuid import UUID

from blocks import reconcile, repairs
from blocks.local import LocalBlockService
from blocks.service import Settlement
from blocks.storage import ObjectStore
from drive_project.common.findings import Finding
from drive_project.problems import Problem, could_run, places_hurt
from files import integrity
from files.integrity import Place
from files.models import FileVersion

# More unknown lists than that, and more than known ones, are another server's.
FEW_LISTS = 100

_SCRUB = "Run `manage.py scrub`: the block is marked, and a device that has it sends it again."
_BY_REPAIR = "`manage.py fsck --repair` puts it right."
_BACKUP = "Look into a backup for it, and report this."
REMEDIES = {
    "reference-count": _BY_REPAIR,
    "live-bytes": _BY_REPAIR,
    "location-in-two-places": _BY_REPAIR,
    "proof-of-unverified": _BY_REPAIR,
    "released-without-date": _BY_REPAIR,
    "object-unknown": _BY_REPAIR,
    "list-unknown": _BY_REPAIR,
    "list-not-told": _BY_REPAIR,
    "list-elsewhere": _BY_REPAIR,
    "list-not-released": _BY_REPAIR,
    "list-released-early": _BY_REPAIR,
    "list-committed-early": _BY_REPAIR,
    "account": _BY_REPAIR,
    "conflict-elsewhere": _BY_REPAIR,
    "upload-overdue": "Does the worker run? " + _BY_REPAIR,
    "message-overdue": "Does the worker run, does Redis? " + _BY_REPAIR,
    "block-damaged": "A device that has the file heals it by sending it again; else see a backup.",
    "object-lost": _SCRUB,
    "bytes-differ": _SCRUB,
    "block-beyond-object": _SCRUB,
    "committed-without-bytes": _BACKUP,
    "upload-lost": "Nothing to do: its device sends it again.",
}


@dataclass(slots=True)
class Report:
    """What a run looked at, and what it has put right."""

    checked: Counter[str] = field(default_factory=Counter)
    repaired: list[str] = field(default_factory=list)


def check(*, store: ObjectStore, report: Report, deep: bool = False) -> Iterator[Finding]:
    """The findings of both halves, while both databases are in use."""
    return chain(
        integrity.check(checked=report.checked),
        reconcile.check(store=store, checked=report.checked, deep=deep),
    )


def run(
    *, store: ObjectStore, report: Report, deep: bool = False, repair: bool = False
) -> Iterator[Problem]:
    """Every problem; with repair, what is left of them after what may be put right was.

    Raises CannotRun.
    """
    with could_run():
        if not repair:
            yield from problems_of(check(store=store, report=report, deep=deep))
            return
        # Written down before anything changes: a check reads while it finds.
        with tempfile.TemporaryFile("w+", encoding="utf-8") as spool:
            for finding in check(store=store, report=report, deep=deep):
                spool.write(json.dumps(asdict(finding), default=str) + "\n")
            _repair(spool, store, report)
            if not report.repaired:
                yield from problems_of(_read(spool))
                return
        report.checked.clear()
        yield from problems_of(check(store=store, report=report, deep=deep))


# --- Problems -------------------------------------------------------------------------------


def problems_of(findings: Iterable[Finding]) -> Iterator[Problem]:
    """One for each file that a finding hurts; one without a path where it hurts none."""
    for finding in findings:
        remedy = REMEDIES.get(finding.rule, "Please report this.")
        detail = f"{finding.rule}: {finding.detail or 'see docs/operations.md'}. {remedy}"
        is_hurting = False
        for words, place in _places(finding):
            is_hurting = True
            yield Problem(
                finding.invariant, finding.subject, place.path, f"{detail} ({words}{place.owner})"
            )
        if not is_hurting:
            yield Problem(finding.invariant, finding.subject, None, detail)


def _places(finding: Finding) -> Iterator[tuple[str, Place]]:
    if finding.block_hash:
        for _, version_id, place in places_hurt([finding.block_hash]):
            yield f"version {version_id} of ", place
    elif finding.file_version_id is not None:
        for place in integrity.places_of_versions([finding.file_version_id]).values():
            yield f"version {finding.file_version_id} of ", place
    elif finding.item_id is not None:
        for place in integrity.places_of_items([finding.item_id]).values():
            yield "of ", place


# --- Repairs --------------------------------------------------------------------------------


def _read(spool: IO[str]) -> Iterator[Finding]:
    spool.seek(0)
    for line in spool:
        fields = json.loads(line)
        for name in ("file_version_id", "item_id"):
            fields[name] = fields[name] and UUID(fields[name])
        yield Finding(**fields)


def _repair(spool: IO[str], store: ObjectStore, report: Report) -> None:
    unknown = sum(finding.rule == "list-unknown" for finding in _read(spool))
    for finding in _read(spool):
        match finding.rule:
            case "list-unknown":
                done = _release_unknown(finding, unknown, report)
            case "list-committed-early":
                reopened = repairs.reopen([UUID(finding.subject)])
                done = "its list is open again" if reopened else None
            case _:
                done = repairs.repair(finding, store=store) or integrity.repair(finding)
        if done is not None:
            report.repaired.append(f"{finding.rule} {finding.subject}: {done}")


def _release_unknown(finding: Finding, unknown: int, report: Report) -> str | None:
    """Release a list of which no version is known, unless that is so of most lists.

    Those are another server's: one of the two databases is not the right one, and releasing
    them would cost its owner everything.
    """
    if unknown > FEW_LISTS and unknown * 2 > report.checked["block_lists"]:
        return None
    version_id = UUID(finding.subject)
    if FileVersion.objects.filter(pk=version_id).exists():
        return None
    LocalBlockService().settle_versions(settlements=[Settlement(version_id, False)])
    return "released, since no version of that id exists"
