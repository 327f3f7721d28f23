"""`manage.py create_user`: an account, from a script or by hand."""

import logging
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getpass
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError

from drive_project import setup_code
from drive_project.common.errors import InvalidRequest
from drive_project.databases import migrate_all


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no number of bytes")
    return int(text)


class Command(BaseCommand):
    help = (
        "Make an account and print its id and e-mail address. Works before the first start "
        "(the databases are made) and beside a running server."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email", metavar="EMAIL")
        parser.add_argument(
            "--password-stdin",
            action="store_true",
            help="read the password from standard input, less one final newline; else ask",
        )
        parser.add_argument("--admin", action="store_true", help="may run this server")
        parser.add_argument("--quota", metavar="BYTES", type=_positive, help="at most this much")

    def handle(self, *args: Any, **options: Any) -> None:
        password = _read_password() if options["password_stdin"] else _ask_for_password()
        migrate_all()
        # After the migration: on a new data folder there are no tables before it.
        from files.services.accounts import create_user

        quota = {} if options["quota"] is None else {"quota_bytes": options["quota"]}
        try:
            with _quiet_outbox():
                user = create_user(
                    email=options["email"], password=password, is_staff=options["admin"], **quota
                )
        except InvalidRequest as error:
            raise CommandError(" ".join(error.detail.split())) from error
        except IntegrityError as error:
            # Somebody made the same account in the same moment.
            raise CommandError(f"{options['email']} has an account already.") from error
        if options["admin"]:
            setup_code.close()
        self.stdout.write(f"{user.pk} {user.email}")


@contextmanager
def _quiet_outbox() -> Iterator[None]:
    """Before the first start there is nobody to tell of the new root folder, and later the
    server tells what was left: no reason to alarm who reads this command's output.
    """
    log = logging.getLogger("files.outbox")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _read_password() -> str:
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise CommandError("The password is not UTF-8.") from error
    return text.removesuffix("\n").removesuffix("\r")


def _ask_for_password() -> str:
    if not sys.stdin.isatty():
        raise CommandError("Without a terminal, give the password with --password-stdin.")
    password = getpass()
    if getpass("Password (again): ") != password:
        raise CommandError("These are two different passwords.")
    return password
