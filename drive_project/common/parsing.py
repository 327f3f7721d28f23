"""JSON as it enters the server: bounded in size and depth, and nothing that is not JSON."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import IO, Any, NoReturn

from django.conf import settings
from rest_framework.parsers import BaseParser

from drive_project.common.errors import InvalidRequest, TooLarge


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _children(value: Any) -> Iterator[Any]:
    inner = value.values() if isinstance(value, dict) else value
    return (child for child in inner if isinstance(child, dict | list))


def _is_deeper_than(value: Any, limit: int) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    depth = 0
    while level:
        depth += 1
        if depth > limit:
            return True
        level = [child for container in level for child in _children(container)]
    return False


def _has_bad_key(value: Any) -> bool:
    """Whether any key holds NUL or a lone surrogate. Depth is bounded by now."""
    if isinstance(value, list):
        return any(_has_bad_key(child) for child in _children(value))
    if not isinstance(value, dict):
        return False
    return any(
        "\0" in key or any("\ud800" <= character <= "\udfff" for character in key) for key in value
    ) or any(_has_bad_key(child) for child in _children(value))


def parse_json(raw: bytes) -> Any:
    """The value that the bytes spell. Raises InvalidRequest with the reason.

    Of a key that is given twice the last value counts. Text values may hold NUL and lone
    surrogates: which field may not, and why, is said where the field is checked.
    """
    try:
        value = json.loads(raw.decode(), parse_constant=_refuse_constant, parse_float=_finite)
    except UnicodeDecodeError:
        raise InvalidRequest("The body is not UTF-8.") from None
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.") from None
    except ValueError as error:
        # Also what Python says of an integer of thousands of digits.
        raise InvalidRequest(f"The body is not JSON: {error}.") from None
    if _is_deeper_than(value, settings.MAX_JSON_DEPTH):
        raise InvalidRequest(
            f"The body is nested too deeply; at most {settings.MAX_JSON_DEPTH} levels."
        )
    # Only an escape can spell them: the raw form was refused as UTF-8 or as JSON above.
    if b"\\u" in raw and _has_bad_key(value):
        raise InvalidRequest("A field's name holds characters that no text has.")
    return value


class JsonParser(BaseParser):
    """The only parser of the API. An absent body is an empty object."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        raw = stream.read(settings.MAX_JSON_BYTES + 1)
        if len(raw) > settings.MAX_JSON_BYTES:
            raise TooLarge(f"A body has at most {settings.MAX_JSON_BYTES} bytes.")
        return parse_json(raw) if raw.strip() else {}
