"""SHA-256 as names of blocks: lower-case hex, nothing else."""

import re
from typing import Any

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


def is_sha256(value: Any) -> bool:
    """Whether a value is a SHA-256 as it is spelled everywhere here."""
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None
