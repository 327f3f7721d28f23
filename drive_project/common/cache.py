"""The cache carries JSON only: a pickle in Redis would be code that anyone there can plant."""

import json
from typing import Any


class JsonSerializer:
    """Django's Redis cache calls these two."""

    def dumps(self, obj: Any) -> bytes | int:
        # Integers stay plain, so that INCR works on them.
        if type(obj) is int:
            return obj
        return json.dumps(obj, separators=(",", ":")).encode()

    def loads(self, data: bytes) -> Any:
        return json.loads(data)
