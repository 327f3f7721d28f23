"""JSON as it leaves the server: UTF-8, compact, moments in RFC 3339 with a Z."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from rest_framework.renderers import BaseRenderer


def rfc3339(moment: datetime) -> str:
    """An aware moment in UTC, to the microsecond."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _plain(value: object) -> str:
    match value:
        case UUID():
            return str(value)
        case datetime():
            return rfc3339(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def to_json(data: object) -> bytes:
    """Compact UTF-8. Raises ValueError for NaN and Infinity, which JSON does not have."""
    text = json.dumps(
        data, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain
    )
    # A lone surrogate can come back only in what somebody sent us just now.
    return text.encode(errors="replace")


class JsonRenderer(BaseRenderer):
    """Renders answers that consist of dicts, lists, texts, numbers, UUIDs and datetimes."""

    media_type = "application/json"
    format = "json"
    # JSON is always UTF-8; the media type takes no charset.
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        return b"" if data is None else to_json(data)
