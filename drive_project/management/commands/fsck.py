"""`manage.py fsck`: does everything agree, and is every byte there?"""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from blocks.storage import get_object_store
from drive_project import fsck, problems


class Command(BaseCommand):
    help = (
        "Check both databases and the object store against each other, beside a running "
        "server. Exit status: 0 clean, 1 problems, 2 it could not run."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--deep", action="store_true", help="read every stored byte and hash it, too"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument(
            "--repair",
            action="store_true",
            help="put right what can be without losing anything: counts, lists, places",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        report = fsck.Report()
        try:
            count = problems.write(
                fsck.run(
                    store=get_object_store(),
                    report=report,
                    deep=options["deep"],
                    repair=options["repair"],
                ),
                output=self.stdout.write,
                checked=lambda: report.checked,
                notes={"repaired": report.repaired} if options["repair"] else {},
                as_json=options["json"],
            )
        except problems.CannotRun as error:
            raise CommandError(str(error), returncode=2) from error
        if count:
            sys.exit(1)
