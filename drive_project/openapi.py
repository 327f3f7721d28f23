"""What the OpenAPI document says beyond the views of the API.

The long poll is a bare ASGI application (`notifications.longpoll`), which no generator sees.
"""

from typing import Any

from notifications.longpoll import DEFAULT_TIMEOUT_SECONDS, LONGEST_TIMEOUT_SECONDS
from notifications.routing import POLL_PATH

_MOMENT = "RFC 3339, in place of a cursor: up to which the device has applied everything."
_ANSWER = {
    "type": "object",
    "required": ["result", "action", "cursor"],
    "properties": {
        "result": {"type": "string", "enum": ["changes", "timeout"]},
        "action": {"type": "string", "enum": ["sync", "full_sync"]},
        "cursor": {"type": "string", "description": "From where to ask for changes."},
        "retry_after_seconds": {"type": "integer", "description": "Poll again not before."},
    },
}
_REFUSALS = {
    "400": "`invalid-cursor`, or `invalid-request`.",
    "401": "`not-authenticated`: Sign in first.",
    "429": "`too-many-requests`: too many connections.",
}


def _in_query(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"in": "query", "name": name, "schema": schema, "description": description}


def _long_poll() -> dict[str, Any]:
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        "operationId": "notifications_poll",
        "summary": "Wait until something is newer",
        "description": "Answered at once where something is, else when it becomes so or in time.",
        "tags": ["notifications"],
        "security": [{"deviceToken": []}, {"browserSession": []}],
        "parameters": [
            _in_query("cursor", {"type": "string"}, "Up to which the caller knows all changes."),
            _in_query("last_sync_time", {"type": "string", "format": "date-time"}, _MOMENT),
            _in_query(
                "timeout",
                {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": LONGEST_TIMEOUT_SECONDS,
                    "default": DEFAULT_TIMEOUT_SECONDS,
                },
                "Seconds to wait at the longest.",
            ),
        ],
        "responses": {
            "200": {
                "content": {"application/json": {"schema": _ANSWER}},
                "description": "What to do now.",
            },
            **{
                status: {"content": problem, "description": text}
                for status, text in _REFUSALS.items()
            },
        },
    }


def add_long_poll(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A hook of drf-spectacular: the document with the long poll in it."""
    result["paths"][POLL_PATH] = {"get": _long_poll()}
    result["paths"] = dict(sorted(result["paths"].items()))
    return result
