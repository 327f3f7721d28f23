"""`manage.py restore DIR`: a server from a backup."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from blocks.storage import get_object_store
from drive_project import fsck, problems, restore
from drive_project.archive import NotUsable


class Command(BaseCommand):
    help = (
        "Restore a backup into an empty data folder (or empty databases and store) of a server "
        "that is stopped, and check it. Exit status: 0 done, 1 done with problems, 2 not done."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", metavar="DIR", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        folder: Path = options["folder"].absolute()
        report = fsck.Report()
        try:
            count = problems.write(
                restore.restore(
                    folder, store=get_object_store(), report=report, say=self.stdout.write
                ),
                output=self.stdout.write,
                checked=lambda: report.checked,
                notes={"repaired": report.repaired},
                as_json=False,
            )
        except (NotUsable, problems.CannotRun) as error:
            raise CommandError(str(error), returncode=2) from error
        except OSError as error:
            raise CommandError(
                f"{error.filename or folder}: {error.strerror}.", returncode=2
            ) from error
        if count:
            sys.exit(1)
