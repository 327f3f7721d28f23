"""Transactions of the Block Service: on its own database, and never inside another one.

A bare `atomic()` would open the other database and protect nothing here. And a call into
this service from inside somebody's transaction would hold their locks while it talks to
the object store, and keep its references even if they roll back.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from itertools import islice
from typing import ParamSpec, TypeVar

from django.db import connections, transaction
from django.db.transaction import Atomic

ALIAS = "blocks"
# How many values one statement carries. SQLite stops at 32,766 parameters.
CHUNK = 5_000

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def block_transaction() -> Atomic:
    """A transaction on the block metadata; an error where one is open already."""
    return transaction.atomic(using=ALIAS, durable=True)


def outside_transactions(function: Callable[P, R]) -> Callable[P, R]:
    """Refuse to run inside an open transaction of the File Service or of this one.

    The transaction that Django's TestCase wraps around a whole test does not count, by the
    same mark by which `atomic(durable=True)` overlooks it.
    """

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        for alias in ("default", ALIAS):
            open_blocks = connections[alias].atomic_blocks
            if open_blocks and not getattr(open_blocks[-1], "_from_testcase", False):
                raise RuntimeError(
                    f"{function.__name__} was called inside a transaction on {alias!r}; "
                    "call the Block Service before or after it."
                )
        return function(*args, **kwargs)

    return checked


def lend_connection() -> None:
    """Give a pooled connection to others while this thread needs none; without a pool it stays."""
    connection = connections[ALIAS]
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()


def chunks(values: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """The values in their order, `size` at a time."""
    rest = iter(values)
    while batch := list(islice(rest, size)):
        yield batch
