"""PostgreSQL as production uses it: pooled connections, and an end to what is stuck."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, connections, transaction
from django.db.utils import ConnectionHandler

from blocks.local import LocalBlockService
from drive_project import dumps
from drive_project import settings as module
from drive_project.archive import Archive
from drive_project.problems import CannotRun, could_run
from tests.blocks.devices import Device, Door
from tests.files.test_soak import at_once


def pooled(monkeypatch: pytest.MonkeyPatch, size: int, query: str = "") -> dict[str, Any]:
    """The settings of the test's own database, with a pool of so many connections."""
    monkeypatch.setattr(module, "DATABASE_POOL_SIZE", size)
    monkeypatch.setattr(module, "_POOL", {**module._POOL, "max_size": size, "timeout": 5})
    settings = module._database(os.environ["DATABASE_URL"] + query, "unused")
    return {**settings, "NAME": connections["default"].settings_dict["NAME"]}


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_many_threads_share_a_few_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = ConnectionHandler({"default": pooled(monkeypatch, 3)})
    seen: set[int] = set()
    start = threading.Barrier(12)

    def ask(_: int) -> None:
        start.wait()
        for _ in range(5):
            with closing(handler["default"]) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid(), pg_sleep(0.01)")
                seen.add(cursor.fetchone()[0])

    try:
        with ThreadPoolExecutor(12) as threads:
            list(threads.map(ask, range(12)))
    finally:
        handler["default"].close_pool()  # type: ignore[attr-defined]  # PostgreSQL's alone

    assert 1 <= len(seen) <= 3


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_what_is_stuck_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with connections["default"].cursor() as cursor:
        cursor.execute(
            "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(module.PG_LIMITS)]
        )
        assert dict(cursor.fetchall()) == {
            "statement_timeout": "600000",
            "lock_timeout": "30000",
            "idle_in_transaction_session_timeout": "300000",
        }
    monkeypatch.setitem(module.PG_LIMITS, "lock_timeout", "100ms")
    handler = ConnectionHandler({"default": pooled(monkeypatch, 0, "?application_name=drive")})
    with transaction.atomic(), connections["default"].cursor() as cursor:
        cursor.execute("LOCK TABLE files_user IN ACCESS EXCLUSIVE MODE")
        with closing(handler["default"]) as other, other.cursor() as waiting:
            waiting.execute("SHOW application_name")
            assert waiting.fetchone() == ("drive",)
            with pytest.raises(OperationalError, match="lock timeout"):
                waiting.execute("SELECT count(*) FROM files_user")


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_only_checks_and_copies_may_take_long(tmp_path: Path) -> None:
    """A table of a billion rows is read for hours, by one statement."""

    def limits() -> dict[str, str]:
        found = {}
        for alias in ("default", "blocks"):
            with connections[alias].cursor() as cursor:
                cursor.execute("SHOW statement_timeout")
                [found[alias]] = cursor.fetchone()
        return found

    usual = limits()
    assert usual == {"default": "10min", "blocks": "10min"}
    with could_run():
        assert limits() == {"default": "0", "blocks": "0"}
    assert limits() == usual
    with pytest.raises(CannotRun, match="does not answer"), could_run():
        raise OperationalError("gone")
    assert limits() == usual

    seen: list[tuple[str, ...]] = []
    query = (
        "SELECT current_setting('statement_timeout'), "
        "current_setting('idle_in_transaction_session_timeout')"
    )
    dumps.dump(
        *("default", Archive(tmp_path), tmp_path / "dump"),
        renew=lambda: None,
        look=lambda rows: seen.extend(rows(query)),
    )
    assert seen == [("0", "0")]
    assert limits() == usual


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_both_databases_may_live_on_one_server() -> None:
    files, blocks = (connections[alias].settings_dict for alias in ("default", "blocks"))

    assert (files["HOST"], files["PORT"]) == (blocks["HOST"], blocks["PORT"])
    assert files["NAME"] != blocks["NAME"]
    call_command("check", databases=["default", "blocks"])


@pytest.mark.django_db(transaction=True)
def test_who_reads_slowly_holds_no_connection() -> None:
    device = Device(LocalBlockService(), Door())
    data = [b"x" * 300_000, b"y" * 300_000]
    version = device.upload(data)

    def read() -> None:
        stream = device.service.read_version(
            file_version_id=version.file_version_id, start=0, length=600_000
        )
        connections["blocks"].ensure_connection()
        # As a pooled connection is: due back as soon as nobody uses it.
        connections["blocks"].close_at = 0
        first = next(stream)
        assert connections["blocks"].connection is None
        assert first + b"".join(stream) == b"".join(data)

    at_once([read])
