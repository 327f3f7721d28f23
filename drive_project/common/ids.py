"""Identifiers."""

import uuid

from uuid_utils.compat import uuid7


def new_id() -> uuid.UUID:
    """A UUIDv7: rows made one after another lie side by side in an index."""
    return uuid7()
