"""Opaque texts that clients carry around: positions in journals, places in lists.

Signed, each for one purpose: what comes back is what was handed out for it, so nobody has
to check its parts again.
"""

from typing import Any

from django.core import signing

from drive_project.common.errors import InvalidCursor


def seal(value: Any, purpose: str) -> str:
    """A text that stands for the value (anything that JSON can say), fit for a query."""
    return signing.dumps(value, salt=purpose, compress=True)


def unseal(text: str, purpose: str) -> Any:
    """The value of a text that `seal` made for this purpose. Raises InvalidCursor."""
    try:
        return signing.loads(text, salt=purpose)
    except (signing.BadSignature, UnicodeEncodeError):
        raise InvalidCursor from None
