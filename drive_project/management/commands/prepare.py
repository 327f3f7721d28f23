"""`manage.py prepare`: what has to be done once before the server starts."""

import json
from typing import Any

from django.core.management.base import BaseCommand

from drive_project import setup_code
from drive_project.databases import migrate_all


class Command(BaseCommand):
    help = (
        "Migrate both databases and print, as JSON, the code of the link that makes the "
        "first administrator (null where one exists). `make up` runs it."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        migrate_all()
        if setup_code.has_administrator():
            setup_code.close()
            code = None
        else:
            code = setup_code.issue()
        self.stdout.write(json.dumps({"setup_code": code}))
