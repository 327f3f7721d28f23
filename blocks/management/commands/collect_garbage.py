"""`manage.py collect_garbage`: run the collector now, or only say what it would do.

With --json one object: {"dry_run", "held", "deleted_block_count", "rewritten_pack_count",
"condemned_object_count", "deleted_object_count", "freed_bytes"}. "held": a backup is being
made, so nothing was done. Exit status: 0 done (or held), 2 it could not run or was ended by
a database or a store that does not answer; what it did before that is done.
"""

import json
import re
from argparse import ArgumentTypeError
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from blocks import gc, holds
from blocks.forecast import forecast
from blocks.storage import get_object_store
from drive_project.common.errors import DriveError


class Command(BaseCommand):
    help = "Delete blocks that no version names, and the objects that held them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--grace",
            type=_seconds,
            metavar="SECONDS",
            help="delete objects so long after they were condemned (default: when no signed "
            "URL for them can be in use any more)",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="only say what a run would find now"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        grace: timedelta | None = options["grace"]
        try:
            is_held = holds.is_held()
            if options["dry_run"]:
                done = forecast(grace=grace)
            else:
                done = gc.collect(store=get_object_store(), grace=grace)
        except (DriveError, DatabaseError, ImproperlyConfigured) as error:
            raise CommandError(f"The collection did not end: {error}", returncode=2) from error
        if options["json"]:
            told = {"dry_run": options["dry_run"], "held": is_held, **asdict(done)}
            self.stdout.write(json.dumps(told))
            return
        if is_held:
            self.stdout.write("A backup is being made; nothing is collected meanwhile.")
            return
        would = "would be " if options["dry_run"] else ""
        self.stdout.write(
            f"{done.deleted_block_count} blocks {would}removed, "
            f"{done.rewritten_pack_count} packs {would}rewritten, "
            f"{done.condemned_object_count} objects {would}condemned, "
            f"{done.deleted_object_count} objects {would}deleted: "
            f"{done.freed_bytes} bytes {would}freed."
        )


def _seconds(text: str) -> timedelta:
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise ArgumentTypeError(f"{text!r} is no whole number of seconds")
    return timedelta(seconds=int(text))
