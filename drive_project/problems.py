"""Problems as an operator reads them: what is wrong, in whose file, and what to do."""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any
from uuid import UUID

from django.db import DatabaseError, connections

from blocks import scrub
from drive_project.common.errors import DriveError
from drive_project.databases import missing_migrations
from files import integrity
from files.integrity import Place

AT_ONCE = 500


class CannotRun(Exception):
    """One line for the operator: what is missing, and the remedy."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that must not be. path: of the file that it hurts, in its namespace."""

    invariant: str
    id: str
    path: str | None
    detail: str


@contextmanager
def could_run() -> Iterator[None]:
    """Turns what keeps a check from running into CannotRun. Damage is not among it."""
    try:
        for alias in ("default", "blocks"):
            if missing_migrations(alias):
                raise CannotRun(
                    f"The database {alias!r} is not that of this release. Start Drive once, or "
                    "run: manage.py prepare"
                )
        with _without_time_limit("default"), _without_time_limit("blocks"):
            yield
    except DatabaseError as error:
        raise CannotRun(f"A database does not answer: {' '.join(str(error).split())}") from error
    except DriveError as error:
        raise CannotRun(str(error)) from error


@contextmanager
def _without_time_limit(alias: str) -> Iterator[None]:
    """Statements on this thread's connection may take as long as the database is large."""
    connection = connections[alias]
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
    try:
        yield
    finally:
        # The pool lends it to others afterwards. One that broke is not lent again.
        if connection.connection is not None and connection.is_usable():
            with connection.cursor() as cursor:
                cursor.execute("RESET statement_timeout")


def places_hurt(block_hashes: Iterable[str]) -> Iterator[tuple[str, UUID, Place]]:
    """Where people see these blocks: (block hash, version, the place of its file)."""
    page: list[tuple[str, UUID]] = []
    for pair in chain(scrub.versions_hurt(list(block_hashes)), [None]):
        if pair is not None:
            page.append(pair)
        if page and (pair is None or len(page) == AT_ONCE):
            found = integrity.places_of_versions({version_id for _, version_id in page})
            for block_hash, version_id in page:
                if version_id in found:
                    yield block_hash, version_id, found[version_id]
            page = []


def write(
    problems: Iterable[Problem],
    *,
    output: Callable[[str], object],
    checked: Callable[[], Mapping[str, int]],
    notes: Mapping[str, Sequence[str]],
    as_json: bool,
) -> int:
    """Print problems and what was checked, when all is known; how many problems there are.

    checked: asked at the end. notes: further lists by name (what was repaired). Any number of
    problems is printed in bounded memory, and nothing where the run breaks off.
    """
    count = 0
    with tempfile.TemporaryFile("w+", encoding="utf-8") as spool:
        for problem in problems:
            fields = asdict(problem)
            text = json.dumps(fields, ensure_ascii=False) if as_json else _line(fields)
            spool.write((", " if as_json and count else "") + text + "\n")
            count += 1
        spool.seek(0)
        if as_json:
            head = {"ok": not count, "checked": dict(checked()), **notes}
            output(json.dumps(head)[:-1] + ', "problems": [')
        else:
            for name, said in notes.items():
                for each in said:
                    output(f"{name}: {each}\n")
        for line in spool:
            output(line)
    if as_json:
        output("]}\n")
    else:
        looked_at = ", ".join(f"{number} {name}" for name, number in checked().items())
        output(f"{count or 'No'} problem{'s' * (count != 1)}. Checked: {looked_at}.\n")
    return count


def _line(fields: Mapping[str, Any]) -> str:
    where = f"{fields['path']} " if fields["path"] else ""
    return f"{fields['invariant']} {where}[{fields['id']}] {fields['detail']}"
