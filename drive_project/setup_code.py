"""The one-time link that makes the first administrator: no default password exists.

The launcher prints a new code at each start for as long as there is no administrator; the
data folder keeps only its digest, readable by the server alone.
"""

import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model


def _path() -> Path:
    return Path(settings.DATA_DIR) / "setup-code"


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


def has_administrator() -> bool:
    """Whether somebody can sign in to run this server."""
    return get_user_model().objects.filter(is_staff=True, is_active=True).exists()


def issue() -> str:
    """A new code, good until an administrator exists. It replaces the one before."""
    code = secrets.token_urlsafe(24)
    draft = _path().with_suffix(f".{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(_digest(code))
    draft.replace(_path())
    return code


def is_valid(code: str) -> bool:
    """Whether the link with this code may be used now."""
    try:
        kept = _path().read_text()
    except FileNotFoundError:
        return False
    return hmac.compare_digest(kept, _digest(code)) and not has_administrator()


@contextmanager
def claimed(code: str) -> Iterator[bool]:
    """Hold the link while the administrator is made: two who use it at once get one account.

    Gives whether the code is valid. Leaving the block closes the link once an administrator
    exists, and leaves it open where making one failed.
    """
    with (Path(settings.DATA_DIR) / "setup-code.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield is_valid(code)
        if has_administrator():
            close()


def close() -> None:
    """End the link. An administrator exists, or is about to be made by other means."""
    _path().unlink(missing_ok=True)
