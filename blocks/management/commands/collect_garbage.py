"""`manage.py collect_garbage`: run the collector now."""

import json
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from blocks import gc
from blocks.storage import get_object_store


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
        if options["dry_run"]:
            done = gc.forecast(grace=grace)
        else:
            done = gc.collect(store=get_object_store(), grace=grace)
        if options["json"]:
            self.stdout.write(json.dumps({"dry_run": options["dry_run"], **asdict(done)}))
            return
        would = "would be " if options["dry_run"] else ""
        self.stdout.write(
            f"{done.deleted_block_count} blocks {would}removed, "
            f"{done.condemned_object_count} objects {would}condemned, "
            f"{done.deleted_object_count} objects {would}deleted: "
            f"{done.freed_bytes} bytes {would}freed."
        )


def _seconds(text: str) -> timedelta:
    value = timedelta(seconds=int(text))
    if value < timedelta():
        raise ValueError(text)
    return value
