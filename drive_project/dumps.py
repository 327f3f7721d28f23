"""One database copied as it is at one moment, and put back; SQLite and PostgreSQL.

SQLite by its online backup. PostgreSQL table by table with COPY, from one snapshot: that needs
no program of PostgreSQL's on this machine, of which the version would have to fit the
server's. The tables themselves are made by the migrations that the copy had had.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

from drive_project.archive import Archive, Dump, NotUsable

PIECE_BYTES = 1024 * 1024
# The migrations of a database, which says of what shape its tables are.
_MIGRATIONS = "SELECT app, name FROM django_migrations ORDER BY app, name"

Rows = Callable[[str], Iterable[tuple[Any, ...]]]


def dump(
    alias: str,
    archive: Archive,
    folder: Path,
    *,
    renew: Callable[[], None],
    look: Callable[[Rows], None] = lambda rows: None,
) -> Dump:
    """Copy a database into the folder.

    renew: called now and then. look: called once, with a function that answers a query at
    the moment of the copy.
    """
    folder.mkdir()
    if connections[alias].vendor == "sqlite":
        return _dump_sqlite(alias, archive, folder, look)
    return _dump_postgres(alias, archive, folder, renew, look)


def _dump_sqlite(alias: str, archive: Archive, folder: Path, look: Callable[[Rows], None]) -> Dump:
    path = folder / "database.sqlite3"
    with closing(sqlite3.connect(path)) as copy:
        with closing(sqlite3.connect(connections[alias].settings_dict["NAME"])) as source:
            # In one step: a reader holds nobody up, while in several steps each write in
            # between would begin the copy anew.
            source.backup(copy)
        # One file, without a log beside it.
        copy.execute("PRAGMA journal_mode=DELETE")
        migrations = tuple(copy.execute(_MIGRATIONS).fetchall())
        look(copy.execute)
    return Dump("sqlite", (archive.part(path),), migrations)


def _dump_postgres(
    alias: str,
    archive: Archive,
    folder: Path,
    renew: Callable[[], None],
    look: Callable[[Rows], None],
) -> Dump:
    parts = []
    with _snapshot(alias) as cursor:

        def rows(query: str) -> Iterator[tuple[Any, ...]]:
            cursor.execute(f"DECLARE looking NO SCROLL CURSOR FOR {query}")
            while True:
                cursor.execute("FETCH 1000 FROM looking")
                page = cursor.fetchall()
                if not page:
                    break
                yield from page
            cursor.execute("CLOSE looking")

        migrations = tuple(rows(_MIGRATIONS))
        look(rows)
        for table, columns in _tables(cursor).items():
            path = folder / f"{table}.copy"
            names = ", ".join(f'"{column}"' for column in columns)
            # While it comes: to read a large table again would take longer than a hold lasts.
            digest = hashlib.sha256()
            with (
                path.open("wb") as file,
                cursor.copy(f'COPY "{table}" ({names}) TO STDOUT') as data,
            ):
                for piece in data:
                    file.write(piece)
                    digest.update(piece)
                    renew()
            parts.append(archive.part(path, table, columns, sha256=digest.hexdigest()))
    return Dump("postgresql", tuple(parts), migrations)


@contextmanager
def _snapshot(alias: str) -> Iterator[Any]:
    """A cursor whose queries see one moment, on a connection of its own: that of Django stays
    free to write meanwhile."""
    connection: BaseDatabaseWrapper = connections[alias].copy()
    try:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            # However large a table is, and however slow the disk that it goes to.
            cursor.execute("SET LOCAL statement_timeout = 0")
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            yield cursor
            cursor.execute("ROLLBACK")
    finally:
        connection.close()


def _tables(cursor: Any) -> dict[str, tuple[str, ...]]:
    """The columns of each table that can be written, by name."""
    cursor.execute(
        "SELECT c.table_name, c.column_name FROM information_schema.columns c "
        "JOIN information_schema.tables t USING (table_schema, table_name) "
        "WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE' "
        "AND c.is_generated = 'NEVER' ORDER BY c.table_name, c.ordinal_position"
    )
    tables: dict[str, tuple[str, ...]] = {}
    for table, column in cursor.fetchall():
        tables[table] = (*tables.get(table, ()), column)
    return tables


# --- Putting it back ------------------------------------------------------------------------


def check_fits(alias: str, dump: Dump) -> None:
    """Raises NotUsable unless the configured database is empty and of the kind of the dump."""
    connection = connections[alias]
    if connection.vendor != dump.vendor:
        raise NotUsable(
            f"The backup of the database {alias!r} is of {dump.vendor}, and the one that is "
            f"configured is {connection.vendor}. Configure one of the same kind."
        )
    known = MigrationExecutor(connection).loader.disk_migrations if dump.migrations else {}
    newer = [f"{app}.{name}" for app, name in dump.migrations if (app, name) not in known]
    if newer:
        raise NotUsable(
            f"The backup was made by a newer release (it has {newer[0]}). Use that one."
        )
    if connection.vendor == "postgresql":
        _check_empty(alias)


def _check_empty(alias: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        [others] = cursor.fetchone()
        if others:
            raise NotUsable(
                f"{others} other programs use the database {alias!r}. Stop every process of Drive."
            )
        for table in _tables(cursor):
            # What the migrations themselves write is no data.
            if table.startswith(("django_content_type", "django_migrations", "auth_")):
                continue
            cursor.execute(f'SELECT EXISTS (SELECT 1 FROM "{table}")')  # noqa: S608 - our own
            if cursor.fetchone()[0]:
                raise NotUsable(
                    f"The database {alias!r} is not empty (it has rows in {table}). "
                    "Restore into a new one."
                )


def load(alias: str, archive: Archive, dump: Dump) -> None:
    """Put a dump into the configured database, which `check_fits` found to be empty."""
    connection = connections[alias]
    connection.close()
    if dump.vendor == "sqlite":
        [part] = dump.parts
        with (
            closing(sqlite3.connect(archive.folder / part.path)) as source,
            closing(sqlite3.connect(connection.settings_dict["NAME"])) as copy,
        ):
            source.backup(copy)
        Path(connection.settings_dict["NAME"]).chmod(0o600)
        return
    _make_tables(alias, dump)
    with transaction.atomic(using=alias), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        names = ", ".join(f'"{part.table}"' for part in dump.parts)
        cursor.execute(f"TRUNCATE {names}")
        for part in dump.parts:
            columns = ", ".join(f'"{column}"' for column in part.columns)
            with (
                (archive.folder / part.path).open("rb") as file,
                cursor.copy(f'COPY "{part.table}" ({columns}) FROM STDIN') as data,
            ):
                while piece := file.read(PIECE_BYTES):
                    data.write(piece)
        for part in dump.parts:
            for sequence in connection.introspection.get_sequences(cursor, part.table):
                _set_sequence(cursor, sequence["table"], sequence["column"])


def _set_sequence(cursor: Any, table: str, column: str) -> None:
    cursor.execute(
        f"SELECT setval(pg_get_serial_sequence('\"{table}\"', '{column}'), "  # noqa: S608 - our own
        f'coalesce(max("{column}"), 1), max("{column}") IS NOT NULL) FROM "{table}"'
    )


def _make_tables(alias: str, dump: Dump) -> None:
    """Migrate to where the dump was: to the last of each app that it had had."""
    executor = MigrationExecutor(connections[alias])
    recorded = {node for node in dump.migrations if node in executor.loader.graph.nodes}
    executor.migrate(
        [
            node
            for node in sorted(recorded)
            if not any(
                child.key in recorded and child.key[0] == node[0]
                for child in executor.loader.graph.node_map[node].children
            )
        ]
    )
