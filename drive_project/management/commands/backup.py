"""`manage.py backup DIR`: a copy of everything, while Drive runs."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from blocks.holds import HoldLost
from blocks.storage import get_object_store
from drive_project import backup
from drive_project.archive import NotUsable
from drive_project.problems import CannotRun, could_run


class Command(BaseCommand):
    help = (
        "Copy both databases, all objects and the secret key into DIR, while Drive runs. Into "
        "the same DIR only new objects are copied. Exit status: 0 done, 1 done, but some "
        "objects are damaged, 2 not done."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", metavar="DIR", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        folder: Path = options["folder"].absolute()
        try:
            with could_run():
                manifest = backup.make(folder, store=get_object_store(), say=self.stdout.write)
        except HoldLost as error:
            raise CommandError(
                "The backup was held up for so long that something may have been deleted "
                "meanwhile. Try again.",
                returncode=2,
            ) from error
        except (NotUsable, CannotRun) as error:
            raise CommandError(str(error), returncode=2) from error
        except OSError as error:
            raise CommandError(f"{folder}: {error.strerror}.", returncode=2) from error
        self.stdout.write(f"The backup in {folder} is complete, as of {manifest.started_at}.")
        if manifest.damaged:
            self.stdout.write(
                f"{len(manifest.damaged)} objects are damaged in the store. "
                "`manage.py scrub` names the files."
            )
            sys.exit(1)
