"""Both databases brought to the models of this release."""

import fcntl
from pathlib import Path

from django.conf import settings
from django.core.management import call_command


def migrate_all() -> None:
    """Apply every migration that is missing. Harmless to repeat, and beside a running server."""
    # Two who start at once would otherwise create the same tables.
    with (Path(settings.DATA_DIR) / "migrate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for alias in settings.DATABASES:
            call_command("migrate", database=alias, interactive=False, verbosity=0)
