"""`manage.py expire`: let old versions and old trash go now, or only say what would go.

With --json one object: {"dry_run", "version_count", "version_bytes", "trash_item_count",
"trash_bytes", "people": [{"user_id", "email", …the same four numbers}]}. `version_bytes` and
`trash_bytes` are what the people's used storage falls by; their blocks are collected
BLOCK_GRACE_SECONDS later. Exits 0, also where nothing is to go.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from files.models import User
from files.services import retention, trash
from files.services.retention import OldVersion


@dataclass(slots=True)
class Gone:
    """What goes, of one person or of all."""

    version_count: int = 0
    version_bytes: int = 0
    trash_item_count: int = 0
    trash_bytes: int = 0

    def add(self, other: "Gone") -> None:
        self.version_count += other.version_count
        self.version_bytes += other.version_bytes
        self.trash_item_count += other.trash_item_count
        self.trash_bytes += other.trash_bytes


class Command(BaseCommand):
    help = "Remove versions and trash whose time is over, by each person's settings."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="only say what would go (with -v 2 each version); nothing is changed",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        is_dry: bool = options["dry_run"]
        lists_each = options["verbosity"] > 1 and not options["json"]
        now = timezone.now()
        by_owner: defaultdict[UUID, Gone] = defaultdict(Gone)
        for old in trash.old_trash(now=now):
            by_owner[old.owner_id].add(
                Gone(trash_item_count=old.item_count, trash_bytes=old.size_bytes)
            )
        if not is_dry:
            trash.expire_trash(now=now)
        find = retention.old_versions if is_dry else retention.expire_versions
        for versions in find(now=now):
            for version in versions:
                by_owner[version.owner_id].add(
                    Gone(version_count=1, version_bytes=version.size_bytes)
                )
            if lists_each:
                self._list(versions)
        if options["json"]:
            self._print_json(by_owner, is_dry)
        else:
            self._print_lines(by_owner, is_dry)

    def _list(self, versions: Iterable[OldVersion]) -> None:
        for version in versions:
            self.stdout.write(
                f"version {version.version_id} of file {version.file_id}, "
                f"{version.committed_at:%Y-%m-%d %H:%M}, {version.size_bytes} bytes"
            )

    def _print_lines(self, by_owner: dict[UUID, Gone], is_dry: bool) -> None:
        verb = "would go" if is_dry else "gone"
        total = Gone()
        emails = _emails(by_owner)
        for owner_id in sorted(by_owner, key=emails.__getitem__):
            total.add(by_owner[owner_id])
            self.stdout.write(f"{emails[owner_id]}: {_words(by_owner[owner_id])}")
        self.stdout.write(f"{verb}: {_words(total)}")

    def _print_json(self, by_owner: dict[UUID, Gone], is_dry: bool) -> None:
        total = Gone()
        emails = _emails(by_owner)
        people = []
        for owner_id in sorted(by_owner, key=emails.__getitem__):
            total.add(by_owner[owner_id])
            people.append(
                {
                    "user_id": str(owner_id),
                    "email": emails[owner_id],
                    **asdict(by_owner[owner_id]),
                }
            )
        self.stdout.write(json.dumps({"dry_run": is_dry, **asdict(total), "people": people}))


def _emails(owner_ids: Iterable[UUID]) -> dict[UUID, str]:
    return dict(User.objects.filter(pk__in=list(owner_ids)).values_list("pk", "email"))


def _words(gone: Gone) -> str:
    return (
        f"{gone.version_count} versions ({gone.version_bytes} bytes), "
        f"{gone.trash_item_count} items of the trash ({gone.trash_bytes} bytes)"
    )
