"""What must be there before Django reads its settings: a data folder, Redis, databases.

Loaded by `-p tests.plugin` (pyproject.toml), ahead of pytest-django.

    DRIVE_TEST_DATABASE=postgres   run on a private PostgreSQL in place of SQLite files
    DRIVE_TEST_DATABASE_URL        postgresql://… of a server on which databases may be made
    DRIVE_TEST_REDIS_URL           a Redis that is EMPTIED before each test; one worker only

Tests marked `postgres` are about concurrency that SQLite does not have; on SQLite they are
left out, and the end of the run says how many and how to run them.
"""

import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.services import ServiceMissing
from tests.services.postgres import PrivatePostgres
from tests.services.redis import PrivateRedis

DATABASES = ["default", "blocks"]
_services = pytest.StashKey[ExitStack]()
_left_out = pytest.StashKey[int]()

# What a developer's shell may carry and the tests must not see.
_NOT_OURS = (
    "ALLOWED_HOSTS",
    "BLOCKS_DATABASE_URL",
    "BLOCK_SERVICE_ADDRESS",
    "BLOCK_SERVICE_BIND",
    "BLOCK_SERVICE_TOKEN",
    "DATABASE_POOL_SIZE",
    "DATABASE_URL",
    "DEBUG",
    "DEFAULT_QUOTA_BYTES",
    "DRIVE_BIND",
    "PUBLIC_URL",
    "REDIS_URL",
    "S3_BUCKET",
    "SECRET_KEY",
)


def runs_on_postgres() -> bool:
    """Whether this run uses PostgreSQL."""
    return bool(os.environ.get("DATABASE_URL"))


@contextmanager
def _private_data_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="drive-tests-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _database_url(server: str, name: str) -> str:
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    services = early_config.stash[_services] = ExitStack()
    early_config.add_cleanup(services.close)
    for name in _NOT_OURS:
        os.environ.pop(name, None)
    # Where gRPC runs in this process it would take part in every fork for a child process, and
    # abort the child when that closes what it does not know.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    os.environ["DRIVE_DATA_DIR"] = str(services.enter_context(_private_data_folder()))
    try:
        os.environ["REDIS_URL"] = (
            os.environ.get("DRIVE_TEST_REDIS_URL")
            # Each worker of a parallel run has its own, since tests empty it.
            or services.enter_context(PrivateRedis()).url
        )
        match os.environ.get("DRIVE_TEST_DATABASE", "sqlite"):
            case "sqlite":
                pass
            case "postgres":
                server = os.environ.get("DRIVE_TEST_DATABASE_URL")
                if not server:
                    server = services.enter_context(PrivatePostgres()).url
                    # The workers of a parallel run inherit this and share the server; their
                    # databases have names of their own.
                    os.environ["DRIVE_TEST_DATABASE_URL"] = server
                # Threads of a test keep their connections, and wait for each other with them.
                os.environ["DATABASE_POOL_SIZE"] = "0"
                os.environ["DATABASE_URL"] = _database_url(server, "drive_files")
                os.environ["BLOCKS_DATABASE_URL"] = _database_url(server, "drive_blocks")
            case other:
                raise pytest.UsageError(f"DRIVE_TEST_DATABASE={other}: use sqlite or postgres")
    except ServiceMissing as missing:
        raise pytest.UsageError(str(missing)) from missing
    return (yield)


def pytest_report_header() -> str:
    database = (
        "PostgreSQL" if runs_on_postgres() else "SQLite files (tests marked postgres left out)"
    )
    return f"drive: {database}, Redis at {os.environ['REDIS_URL']}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        marker = item.get_closest_marker("django_db")
        fixtures = getattr(item, "fixturenames", ())
        if marker or "db" in fixtures or "transactional_db" in fixtures:
            # Both databases unless the test says otherwise: hardly a test has one alone.
            arguments = {"databases": DATABASES, **(marker.kwargs if marker else {})}
            item.add_marker(
                pytest.mark.django_db(*(marker.args if marker else ()), **arguments),
                append=False,
            )
    if not runs_on_postgres():
        left_out = [item for item in items if item.get_closest_marker("postgres")]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if not item.get_closest_marker("postgres")]
        config.stash[_left_out] = len(left_out)
    # What starts the whole product comes first, so that no worker of a parallel run is left
    # with it at the end. (xdist hands files out in this order: --no-loadscope-reorder.)
    items.sort(key=_starts_late)


def _starts_late(item: pytest.Item) -> int:
    if item.get_closest_marker("journey") or item.get_closest_marker("browser"):
        return 0
    return 1 if item.path.parent.name == "drive_project" else 2


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    count = terminalreporter.config.stash.get(_left_out, 0)
    if count:
        terminalreporter.write_line(
            f"{count} tests need PostgreSQL and were left out; "
            "to run them: DRIVE_TEST_DATABASE=postgres .venv/bin/python -m pytest -m postgres",
            yellow=True,
        )
