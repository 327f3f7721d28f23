"""What happened lately."""

from datetime import datetime
from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from drive_project.common.errors import InvalidCursor, NotFound
from drive_project.common.rendering import rfc3339
from files import queries
from files.api import schemas
from files.api.items import PageQuery, decode_page, device_of, encode_page, parsed
from files.queries import ActivityPlace, Event, What

_LIST = "activity"


class ActivityQuery(PageQuery):
    """At most one of a file and a folder."""

    file_id = serializers.UUIDField(required=False)
    folder_id = serializers.UUIDField(required=False)
    device_id = serializers.UUIDField(required=False)


class EventShape(schemas.Shape):
    namespace_id = serializers.UUIDField()
    seq = serializers.IntegerField()
    changed_at = serializers.DateTimeField()
    what = serializers.ChoiceField([what.value for what in What])
    item = schemas.any_item()
    path = serializers.CharField()
    old_path = serializers.CharField(allow_null=True)
    author = serializers.CharField(allow_null=True)
    device_id = serializers.UUIDField(allow_null=True)
    device = serializers.CharField(allow_null=True)


class ActivityPage(schemas.Shape):
    items = EventShape(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class ActivityView(APIView):
    """/activity"""

    @extend_schema(
        summary="What changed, the newest first",
        parameters=[ActivityQuery],
        responses=schemas.answers(ActivityPage, InvalidCursor, NotFound),
    )
    def get(self, request: Request) -> Response:
        query = parsed(ActivityQuery, request.query_params)
        page = queries.activity_of(
            device_of(request).user,
            file_id=query.get("file_id"),
            folder_id=query.get("folder_id"),
            device_id=query.get("device_id"),
            after=decode_activity(query["cursor"]),
            limit=query["limit"],
        )
        return Response(
            {
                "items": [_event_json(event) for event in page.items],
                "next_cursor": encode_activity(page.next_place),
            }
        )


def encode_activity(place: ActivityPlace | None) -> str | None:
    """The cursor for a place in the list; None where nothing follows."""
    return encode_page(place and [rfc3339(place.changed_at), place.change], _LIST)


def decode_activity(text: str) -> ActivityPlace | None:
    """The place that `encode_activity` wrote; None for "". Raises InvalidCursor."""
    position = decode_page(text, _LIST)
    if position is None:
        return None
    moment, change = position
    return ActivityPlace(datetime.fromisoformat(str(moment)), int(change))


def _event_json(event: Event) -> dict[str, Any]:
    change, device = event.change, event.device
    return {
        "namespace_id": str(change.namespace_id),
        "seq": change.seq,
        "changed_at": rfc3339(change.changed_at),
        "what": event.what.value,
        "item": change.item,
        "path": event.path,
        "old_path": event.old_path,
        "author": None if device is None else device.user.email,
        "device_id": None if change.device_id is None else str(change.device_id),
        "device": None if device is None else device.name,
    }


urlpatterns = [path("activity", ActivityView.as_view())]
