"""What the resources share: items as JSON, preconditions, idempotency, pages, batches."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema_field
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from blocks.service import SignedRequest
from drive_project.common.errors import (
    DriveError,
    InvalidRequest,
    PreconditionRequired,
)
from drive_project.common.problem import invalid_fields, problem_of
from drive_project.common.rendering import rfc3339
from files import cursors, idempotency, journal, names
from files.idempotency import MAX_ITEM_KEY_LENGTH, MAX_KEY_LENGTH, Answer
from files.models import UserDevice
from files.queries import Sort
from files.queries.pages import Place

IF_MATCH = OpenApiParameter(
    "If-Match",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    required=True,
    description='The revision that was seen, `"REV"`; the ETag of the item.',
)
BIGGEST_INTEGER = 2**63 - 1
DEFAULT_PAGE = 200
MAX_PAGE = 1_000
MAX_BATCH = 1_000
# What a cursor into a list is good for.
TRASH_LIST = "trash"
DEVICE_LIST = "devices"


@extend_schema_field(OpenApiTypes.STR)
class NameField(serializers.Field[str, str, str, Any]):
    """A name by the rules of `files.names`; a bad one is `invalid-name`, not a field error."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("A name is a text.")
        return names.check_name(data)

    def to_representation(self, value: str) -> str:
        return value


class BigIntegerField(serializers.IntegerField):
    """An integer that a database column can hold."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            **{"min_value": -BIGGEST_INTEGER - 1, "max_value": BIGGEST_INTEGER, **kwargs}
        )


class RequestSerializer(serializers.Serializer[Any]):
    """The shape of a request's body. An unknown field is refused: it would be ignored in
    silence, and whoever misspells `expires_at` must learn of it."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            unknown = [key for key in data if key not in self.fields]
            if unknown:
                raise serializers.ValidationError({key: ["Unknown field."] for key in unknown})
        return super().to_internal_value(data)


class WriteSerializer(RequestSerializer):
    """The body of a write."""

    op_id = serializers.CharField(
        max_length=MAX_ITEM_KEY_LENGTH,
        required=False,
        help_text="The same as the Idempotency-Key header.",
    )


class _AnyField(serializers.Field[Any, Any, Any, Any]):
    """Whatever JSON says, null included."""

    def __init__(self) -> None:
        super().__init__(allow_null=True)

    def to_internal_value(self, data: Any) -> Any:
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class ItemsRequest(RequestSerializer):
    """A batch. Its items are checked one by one, since a bad one must not refuse the others."""

    items = serializers.ListField(child=_AnyField(), max_length=MAX_BATCH)


class PageQuery(serializers.Serializer[Any]):
    """The query of a list: `?limit=` and `?cursor=`."""

    limit = serializers.IntegerField(min_value=1, max_value=MAX_PAGE, default=DEFAULT_PAGE)
    cursor = serializers.CharField(default="", max_length=4096, allow_blank=True)


def parsed(serializer: type[serializers.Serializer[Any]], data: Any) -> dict[str, Any]:
    """The checked fields of a body or a query. Raises DRF's ValidationError."""
    checked = serializer(data=data)
    checked.is_valid(raise_exception=True)
    fields: dict[str, Any] = checked.validated_data
    return fields


def encode_page(position: Sequence[str | int] | None, of: str) -> str | None:
    """The cursor for a place in a list; None where nothing follows.

    of: the list with its order. A cursor is good for no other.
    """
    return None if position is None else cursors.seal(list(position), f"files.page.{of}")


def decode_page(text: str, of: str) -> list[str | int] | None:
    """The place that `encode_page` wrote; None for "". Raises InvalidCursor."""
    if not text:
        return None
    position: list[str | int] = cursors.unseal(text, f"files.page.{of}")
    return position


def encode_place(place: Place | None, of: str) -> str | None:
    """The same for a place in a list that begins with the newest."""
    return encode_page(place and [rfc3339(place.moment), place.item_id.hex], of)


def decode_place(text: str, of: str) -> Place | None:
    """The place that `encode_place` wrote; None for "". Raises InvalidCursor."""
    position = decode_page(text, of)
    if position is None:
        return None
    moment, item_id = position
    return Place(datetime.fromisoformat(str(moment)), UUID(hex=str(item_id)))


def children_list(sort: Sort = Sort.NAME, *, descending: bool = False) -> str:
    """What a cursor into the children of a folder is good for."""
    return f"children.{sort}.{'desc' if descending else 'asc'}"


def item_response(item: journal.Item, status: int = 200) -> Response:
    """An item with its ETag."""
    return state_response(journal.state_of(item), status)


def state_response(state: Mapping[str, Any], status: int = 200) -> Response:
    """The same for what `journal.state_of` made."""
    headers = {"ETag": f'"{state["rev"]}"'} if "rev" in state else None
    return Response(state, status=status, headers=headers)


def if_match(request: Request) -> int:
    """The revision in `If-Match: "REV"`. Raises PreconditionRequired or InvalidRequest."""
    value = request.headers.get("If-Match", "").strip()
    if not value:
        raise PreconditionRequired
    rev = value.removeprefix('"').removesuffix('"')
    if not (rev.isascii() and rev.isdigit() and len(rev) < 19):
        raise InvalidRequest('If-Match holds one revision in quotes, as in If-Match: "12".')
    return int(rev)


def idempotency_key(request: Request, body: Mapping[str, Any]) -> str:
    """The key of a write from its header or its body; "" for none."""
    header = _header_key(request, MAX_ITEM_KEY_LENGTH)
    op_id: str = body.get("op_id", "")
    if header and op_id and header != op_id:
        raise InvalidRequest("Idempotency-Key and op_id are the same thing; these differ.")
    return header or op_id


def item_keys(request: Request) -> Callable[[int], str]:
    """For the index of a batch's item the key that it has without one of its own; "" for none."""
    header = _header_key(request, MAX_KEY_LENGTH)
    return lambda index: f"{header}:{index}" if header else ""


def _header_key(request: Request, longest: int) -> str:
    header = request.headers.get("Idempotency-Key", "")
    if len(header) > longest or not header.isprintable():
        raise InvalidRequest(f"Idempotency-Key has up to {longest} visible characters.")
    return header


def write_once(
    request: Request, body: Mapping[str, Any], what: Any, write: Callable[[], Answer]
) -> Answer:
    """The answer of a write that is carried out once for its key.

    what: names the write and all that decides it, so that the same key with anything else
    is noticed.
    """
    return idempotency.once(
        device=device_of(request), key=idempotency_key(request, body), request=what, write=write
    )


def device_of(request: Request) -> UserDevice:
    """The device that `DeviceAuthentication` found."""
    device = request.auth
    if not isinstance(device, UserDevice):
        raise exceptions.NotAuthenticated
    return device


def problem_result(error: DriveError | exceptions.ValidationError) -> dict[str, Any]:
    """A refused item of a batch."""
    known = error if isinstance(error, DriveError) else invalid_fields(error.detail)
    return {"status": known.status, "problem": problem_of(known)}


def absolute_url(request: HttpRequest | Request, path: str) -> str:
    """A path of this server as a URL, under PUBLIC_URL or the address of the request."""
    if settings.PUBLIC_URL:
        return f"{settings.PUBLIC_URL}{path}"
    return request.build_absolute_uri(path)


def signed_request_json(request: HttpRequest | Request, signed: SignedRequest) -> dict[str, Any]:
    """A presigned request as the protocol spells it. A secret: never logged, never kept."""
    is_ours = not urlsplit(signed.url).netloc
    return {
        "method": signed.method,
        "url": absolute_url(request, signed.url) if is_ours else signed.url,
        "headers": signed.headers,
        "expires_at": rfc3339(signed.expires_at),
    }
