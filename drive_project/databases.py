"""Both databases brought to the models of this release."""

import fcntl
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.db.migrations.executor import MigrationExecutor


def migrate_all() -> None:
    """Apply every migration that is missing. Harmless to repeat, and beside a running server."""
    # Two who start at once would otherwise create the same tables.
    with (Path(settings.DATA_DIR) / "migrate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for alias in settings.DATABASES:
            if missing_migrations(alias):
                _lift_limits(alias)
                call_command("migrate", database=alias, interactive=False, verbosity=0)


def _lift_limits(alias: str) -> None:
    """A migration of many rows may take as long as it takes, and wait for its locks."""
    connection = connections[alias]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0; SET lock_timeout = 0")


def missing_migrations(alias: str) -> int:
    """How many migrations of this release a database has not had."""
    executor = MigrationExecutor(connections[alias])
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
