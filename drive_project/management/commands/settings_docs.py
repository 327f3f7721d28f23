"""`manage.py settings_docs`: docs/settings.md, from the declarations in the settings."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from drive_project.env import DECLARED

INTRODUCTION = """\
<!-- Written by `make settings-docs` from drive_project/settings.py: change it there. -->
# Settings

Drive is configured by environment variables. Nothing has to be set: without any, `make up`
runs on SQLite, a private Redis and local disk. What is set decides; there is no mode switch.
A setting with a value that cannot be read, or one that contradicts another, stops the start
with a sentence that says so.

| variable | kind | default | meaning |
|---|---|---|---|
"""


def page() -> str:
    """The whole document."""
    rows = [
        f"| `{one.name}` | {one.kind} | {_cell(one.default)} | {_cell(one.meaning)} |\n"
        for one in sorted(DECLARED.values(), key=lambda one: one.name)
    ]
    return INTRODUCTION + "".join(rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|") or "empty"


class Command(BaseCommand):
    help = "Write docs/settings.md; with --check, fail where it is not up to date."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="write nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        path = settings.BASE_DIR / "docs" / "settings.md"
        if not options["check"]:
            path.write_text(page(), encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != page():
            raise CommandError("docs/settings.md is not up to date: run make settings-docs.")
