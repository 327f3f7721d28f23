"""The feed by which devices follow: changes since a cursor, the present cursor, snapshots."""

from typing import Any
from uuid import UUID

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from drive_project.common.errors import InvalidCursor, NotFound
from files import cursors, journal, queries
from files.api import schemas
from files.api.items import MAX_PAGE, RequestSerializer, device_of, parsed
from files.journal import Position
from files.models import ItemType
from files.queries import ChangesPage, SnapshotPlace

DEFAULT_CHANGES = 1_000
MAX_CHANGES = 5_000
MAX_CURSOR_LENGTH = 1_000_000
MAX_QUERY_CURSOR_LENGTH = 16_384
_PURPOSE = "files.snapshot"


class ChangesQuery(serializers.Serializer[Any]):
    cursor = serializers.CharField(default="", max_length=MAX_QUERY_CURSOR_LENGTH, allow_blank=True)
    limit = serializers.IntegerField(min_value=1, max_value=MAX_CHANGES, default=DEFAULT_CHANGES)


class ChangesRequest(RequestSerializer):
    cursor = serializers.CharField(default="", max_length=MAX_CURSOR_LENGTH, allow_blank=True)
    cursors = serializers.ListField(
        child=serializers.CharField(max_length=MAX_CURSOR_LENGTH),
        default=list,
        max_length=1_000,
        help_text="In place of `cursor`; where two name a namespace, the later counts.",
    )
    limit = serializers.IntegerField(min_value=1, max_value=MAX_CHANGES, default=DEFAULT_CHANGES)


class SnapshotQuery(serializers.Serializer[Any]):
    namespace = serializers.UUIDField()
    page = serializers.CharField(default="", max_length=1_000, allow_blank=True)
    limit = serializers.IntegerField(min_value=1, max_value=MAX_CHANGES, default=MAX_PAGE)


def changes_json(page: ChangesPage) -> dict[str, Any]:
    """A page of changes as the protocol spells it."""
    return {
        "entries": [
            {
                "namespace_id": change.namespace_id,
                "seq": change.seq,
                "change_id": change.change_id,
                "changed_at": change.changed_at,
                "device_id": change.device_id,
                "action": change.action,
                "item": change.item,
            }
            for change in page.entries
        ],
        "resets": [
            {"namespace_id": reset.namespace_id, "mode": "merge", "reason": reset.reason.value}
            for reset in page.resets
        ],
        "cursor": journal.encode_cursor(page.positions),
        "has_more": page.has_more,
    }


class ChangesView(APIView):
    """/changes"""

    @extend_schema(
        summary="What has happened since a cursor",
        parameters=[ChangesQuery],
        responses=schemas.answers(schemas.ChangesAnswer, InvalidCursor),
    )
    def get(self, request: Request) -> Response:
        query = parsed(ChangesQuery, request.query_params)
        positions = journal.decode_cursor(query["cursor"])
        page = queries.changes_since(device_of(request).user, positions, limit=query["limit"])
        return Response(changes_json(page))

    @extend_schema(
        summary="The same, for long or several cursors",
        request=ChangesRequest,
        responses=schemas.answers(schemas.ChangesAnswer, InvalidCursor),
    )
    def post(self, request: Request) -> Response:
        body = parsed(ChangesRequest, request.data)
        positions = journal.merge_cursors([body["cursor"], *body["cursors"]])
        page = queries.changes_since(device_of(request).user, positions, limit=body["limit"])
        return Response(changes_json(page))


class LatestView(APIView):
    """/changes/latest"""

    @extend_schema(summary="The cursor for now", responses=schemas.answers(schemas.LatestCursor))
    def get(self, request: Request) -> Response:
        positions = queries.latest_positions(device_of(request).user)
        return Response({"cursor": journal.encode_cursor(positions)})


class SnapshotView(APIView):
    """/changes/snapshot"""

    @extend_schema(
        summary="All live items of a namespace, by pages",
        parameters=[SnapshotQuery],
        responses=schemas.answers(schemas.SnapshotAnswer, InvalidCursor, NotFound),
    )
    def get(self, request: Request) -> Response:
        query = parsed(SnapshotQuery, request.query_params)
        namespace_id: UUID = query["namespace"]
        page = queries.snapshot(
            device_of(request).user,
            namespace_id,
            place=_decode_page(query["page"], namespace_id),
            limit=query["limit"],
        )
        return Response(
            {
                "items": [journal.state_of(item) for item in page.items],
                "next_page": page.next_place and _encode_page(page.next_place, namespace_id),
                "cursor": journal.encode_cursor({namespace_id: page.position}),
            }
        )


def _encode_page(place: SnapshotPlace, namespace_id: UUID) -> str:
    position = place.position
    return cursors.seal(
        [
            namespace_id.hex,
            position.seq,
            position.change_id and position.change_id.hex,
            place.item_type.value,
            place.last_id and place.last_id.hex,
        ],
        _PURPOSE,
    )


def _decode_page(text: str, namespace_id: UUID) -> SnapshotPlace | None:
    """The place that `_encode_page` wrote; None for "". Raises InvalidCursor."""
    if not text:
        return None
    of, seq, change_id, item_type, last_id = cursors.unseal(text, _PURPOSE)
    if of != namespace_id.hex:
        raise InvalidCursor("This page belongs to the snapshot of another namespace.")
    return SnapshotPlace(
        Position(seq, change_id and UUID(change_id)), ItemType(item_type), last_id and UUID(last_id)
    )


urlpatterns = [
    path("changes", ChangesView.as_view()),
    path("changes/latest", LatestView.as_view()),
    path("changes/snapshot", SnapshotView.as_view()),
]
