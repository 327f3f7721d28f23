"""What a check finds, from whichever app, and reads that see one moment."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from django.db import connections, transaction


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be: against which invariant and rule, about what, in numbers.

    The last three say where people notice it: in the files that have this block, in the
    file of this version, or in this file or folder.
    """

    invariant: str
    rule: str
    subject: str
    detail: str = ""
    block_hash: str = ""
    file_version_id: UUID | None = None
    item_id: UUID | None = None


@contextmanager
def one_moment(alias: str) -> Iterator[None]:
    """Reads of this database within see one moment and hold nobody up. No writes.

    Inside a transaction that is open already it adds nothing.
    """
    connection = connections[alias]
    if connection.in_atomic_block:
        yield
    elif connection.vendor == "postgresql":
        with transaction.atomic(using=alias):
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield
    else:
        # Not `atomic`: its immediate transaction would keep every writer out.
        with connection.cursor() as cursor:
            cursor.execute("BEGIN DEFERRED")
        try:
            yield
        finally:
            with connection.cursor() as cursor:
                cursor.execute("ROLLBACK")
