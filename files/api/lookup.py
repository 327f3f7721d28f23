"""Who has a name: for a program that wants to ask a person before it takes one."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from drive_project.common.errors import DriveError, InvalidName, NotFound
from files import journal
from files.api import schemas
from files.api.items import ItemsRequest, NameField, RequestSerializer, device_of, parsed
from files.api.many import results_of, results_shape
from files.queries.many import Place, items_at


class PlaceItem(RequestSerializer):
    """A name in a folder."""

    parent_folder_id = serializers.UUIDField()
    name = NameField()


class PlaceItems(schemas.Shape):
    items = PlaceItem(many=True)


class LookedUp(schemas.Shape):
    status = serializers.IntegerField()
    item = schemas.any_item(allow_null=True)


_LookedUp = results_shape("LookedUp", LookedUp)


class LookupView(APIView):
    """/nodes/lookup"""

    @extend_schema(
        summary="Which items have these names",
        request=PlaceItems,
        responses=schemas.answers(_LookedUp, InvalidName, NotFound),
    )
    def post(self, request: Request) -> Response:
        items = parsed(ItemsRequest, request.data)["items"]

        def look(good: Mapping[int, dict[str, Any]]) -> Sequence[dict[str, Any] | DriveError]:
            places = [Place(each["parent_folder_id"], each["name"]) for each in good.values()]
            found = items_at(device_of(request).user, places)
            return [
                each
                if isinstance(each, DriveError)
                else {"status": 200, "item": each and journal.state_of(each)}
                for each in found
            ]

        return Response({"items": results_of(items, PlaceItem, look, lambda _, found: found)})


urlpatterns = [path("nodes/lookup", LookupView.as_view())]
