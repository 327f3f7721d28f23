"""`manage.py scrub`: read everything that is stored, and say what is damaged."""

import re
import sys
from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from blocks.scrub import Scrubbed, Subset
from blocks.storage import get_object_store
from drive_project import problems, scrub

BYTES_PER_MB = 1_000_000


def _subset(text: str) -> Subset:
    found = re.fullmatch(r"([1-9]\d{0,8})/([1-9]\d{0,8})", text, re.ASCII)
    if found is None or int(found[1]) > int(found[2]):
        raise ArgumentTypeError(f"{text!r} is not of the form n/t, with n from 1 to t")
    return Subset(int(found[1]), int(found[2]))


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise ArgumentTypeError(f"{text!r} is no number of megabytes per second")
    return rate * BYTES_PER_MB


class Command(BaseCommand):
    help = (
        "Read every stored object once, the least recently read first, and mark blocks whose "
        "bytes are not right; beside a running server. Exit status: 0 all is right, 1 damage, "
        "2 it could not run."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--subset", type=_subset, metavar="n/t", help="only the n-th of t parts of all objects"
        )
        parser.add_argument(
            "--rate", type=_rate, metavar="MB/S", help="read at most so many megabytes a second"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        done = Scrubbed()
        try:
            count = problems.write(
                scrub.run(
                    store=get_object_store(),
                    done=done,
                    bytes_per_second=options["rate"],
                    subset=options["subset"],
                ),
                output=self.stdout.write,
                checked=lambda: {
                    "objects": done.object_count,
                    "blocks": done.block_count,
                    "bytes": done.size_bytes,
                    "damaged": done.damaged_count,
                    "healed": done.healed_count,
                },
                notes={},
                as_json=options["json"],
            )
        except problems.CannotRun as error:
            raise CommandError(str(error), returncode=2) from error
        if count:
            sys.exit(1)
