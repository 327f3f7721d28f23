"""The client's own records outlive an update of the client."""

import pathlib
import sqlite3

from sync_client import database
from sync_client.database import Database
from sync_client.nodes import RemoteItem, RemoteRoot
from sync_client.trees import Trees

ROOT = RemoteRoot("namespace", "root")
FILE = RemoteItem("file", "root", "a", False, 7, "v7", "hash", 3, 4, True)


def test_records_of_the_first_schema_are_kept(tmp_path: pathlib.Path):
    path = tmp_path / "trees.sqlite3"
    trees = Trees(path, root=ROOT)
    with trees.transaction():
        trees.put_remote(FILE)
    trees.close()
    with sqlite3.connect(path) as old:
        old.execute("ALTER TABLE remote DROP COLUMN is_damaged")
        old.execute("DROP INDEX local_rules")
        old.execute("DROP INDEX local_marked")
        old.execute("DROP TABLE copies")
        old.execute("PRAGMA user_version = 1")
    old.close()

    trees = Trees(path, root=ROOT)

    assert not trees.database.is_new
    assert trees.remote("file") == FILE
    trees.close()


def test_an_upgraded_record_is_as_a_new_one(tmp_path: pathlib.Path):
    path = tmp_path / "trees.sqlite3"
    new = Database(None)
    Database(path).close()
    with sqlite3.connect(path) as old:
        old.execute("ALTER TABLE remote DROP COLUMN is_damaged")
        old.execute("DROP INDEX local_rules")
        old.execute("DROP INDEX local_marked")
        old.execute("DROP TABLE copies")
        old.execute("PRAGMA user_version = 1")
    old.close()
    upgraded = Database(path)

    def columns(record: Database) -> list[tuple[str, ...]]:
        return [
            (name, kind)
            for _, name, kind, *_ in record.connection.execute("PRAGMA table_info(remote)")
        ]

    def indexes(record: Database) -> set[tuple[str, str]]:
        found = record.connection.execute("SELECT name, sql FROM sqlite_master WHERE sql NOT NULL")
        return {(name, sql) for name, sql in found if name.startswith("local_")}

    assert columns(upgraded) == columns(new)
    assert indexes(upgraded) == indexes(new)
    assert database.SCHEMA_VERSION == 5
    upgraded.close()
    new.close()
