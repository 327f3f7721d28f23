"""The trash: list, restore, delete for ever."""

from uuid import UUID

from django.conf import settings
from django.urls import path
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from drive_project.common.errors import (
    IdempotencyKeyReused,
    InvalidCursor,
    NotFound,
    PermissionDenied,
)
from drive_project.common.rendering import rfc3339
from files import journal, queries
from files.api import schemas
from files.api.items import (
    TRASH_LIST,
    PageQuery,
    WriteSerializer,
    decode_page,
    device_of,
    encode_page,
    parsed,
    state_response,
    write_once,
)
from files.idempotency import Answer
from files.services import trash

DONE = OpenApiResponse(description="Done.")


class RestoreRequest(WriteSerializer):
    parent_folder_id = serializers.UUIDField(
        required=False, help_text="Default: where it was, or the root where that is gone."
    )


class TrashView(APIView):
    """/trash"""

    @extend_schema(
        summary="List the trash, the latest first",
        parameters=[PageQuery],
        responses=schemas.answers(schemas.TrashPage, InvalidCursor),
    )
    def get(self, request: Request) -> Response:
        query = parsed(PageQuery, request.query_params)
        page = queries.trash(
            device_of(request).user,
            place=decode_page(query["cursor"], TRASH_LIST),
            limit=query["limit"],
        )
        return Response(
            {
                "items": [
                    {
                        **journal.state_of(item),
                        "original_path": original_path,
                        "is_parent_live": is_parent_live,
                        "expires_at": item.deleted_at
                        and rfc3339(item.deleted_at + settings.TRASH_RETENTION),
                    }
                    for item, original_path, is_parent_live in page.items
                ],
                "next_cursor": encode_page(page.next_place, TRASH_LIST),
            }
        )

    @extend_schema(
        operation_id="trash_empty",
        summary="Empty the trash for ever",
        request=WriteSerializer,
        responses=schemas.answers(DONE, IdempotencyKeyReused, status=204),
    )
    def delete(self, request: Request) -> Response:
        body = parsed(WriteSerializer, request.data)

        def write() -> Answer:
            trash.empty_trash(device=device_of(request))
            return Answer(204, {})

        return Response(status=write_once(request, body, ["empty_trash"], write).status)


class TrashedItemView(APIView):
    """/trash/{id}"""

    @extend_schema(
        summary="Delete an item of the trash for ever",
        request=WriteSerializer,
        responses=schemas.answers(
            DONE, NotFound, PermissionDenied, IdempotencyKeyReused, status=204
        ),
    )
    def delete(self, request: Request, item_id: UUID) -> Response:
        body = parsed(WriteSerializer, request.data)

        def write() -> Answer:
            trash.delete_for_ever(device=device_of(request), item_id=item_id)
            return Answer(204, {})

        answer = write_once(request, body, ["delete_for_ever", item_id], write)
        return Response(status=answer.status)


class RestoreView(APIView):
    """/trash/{id}/restore"""

    @extend_schema(
        summary="Restore an item of the trash",
        request=RestoreRequest,
        responses=schemas.answers(
            schemas.any_item(), NotFound, PermissionDenied, IdempotencyKeyReused
        ),
    )
    def post(self, request: Request, item_id: UUID) -> Response:
        body = parsed(RestoreRequest, request.data)
        parent_folder_id = body.get("parent_folder_id")

        def write() -> Answer:
            item = trash.restore(
                device=device_of(request), item_id=item_id, parent_folder_id=parent_folder_id
            )
            return Answer(200, journal.state_of(item))

        answer = write_once(request, body, ["restore", item_id, parent_folder_id], write)
        return state_response(answer.body, answer.status)


urlpatterns = [
    path("trash", TrashView.as_view()),
    path("trash/<uuid:item_id>", TrashedItemView.as_view()),
    path("trash/<uuid:item_id>/restore", RestoreView.as_view()),
]
