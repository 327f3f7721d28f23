"""Share links: create, list, revoke. Visitors open them on the pages."""

from typing import Any
from uuid import UUID

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
from files.api import schemas
from files.api.items import (
    PageQuery,
    WriteSerializer,
    absolute_url,
    decode_place,
    device_of,
    encode_place,
    parsed,
    write_once,
)
from files.idempotency import Answer
from files.models import ShareLink
from files.services import links

_LIST = "links"


class LinkRequest(WriteSerializer):
    """One target: `file_id` or `folder_id`."""

    file_id = serializers.UUIDField(required=False)
    folder_id = serializers.UUIDField(required=False)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


def link_json(link: ShareLink) -> dict[str, Any]:
    """A link without its secret."""
    target = link.file or link.folder
    return {
        "link_id": str(link.pk),
        "file_id": link.file_id and str(link.file_id),
        "folder_id": link.folder_id and str(link.folder_id),
        "name": target.name if target else "",
        "created_at": rfc3339(link.created_at),
        "expires_at": link.expires_at and rfc3339(link.expires_at),
        "download_count": link.download_count,
    }


class LinksView(APIView):
    """/links"""

    @extend_schema(
        summary="The caller's links that still open, the newest first",
        parameters=[PageQuery],
        responses=schemas.answers(schemas.LinkPage, InvalidCursor),
    )
    def get(self, request: Request) -> Response:
        query = parsed(PageQuery, request.query_params)
        found, next_place = links.links_of(
            device_of(request).user,
            after=decode_place(query["cursor"], _LIST),
            limit=query["limit"],
        )
        return Response(
            {
                "items": [link_json(link) for link in found],
                "next_cursor": encode_place(next_place, _LIST),
            }
        )

    @extend_schema(
        summary="Make a link to a file or folder",
        request=LinkRequest,
        responses=schemas.answers(
            schemas.NewLinkShape, NotFound, PermissionDenied, IdempotencyKeyReused, status=201
        ),
    )
    def post(self, request: Request) -> Response:
        body = parsed(LinkRequest, request.data)
        fields = {name: value for name, value in body.items() if name != "op_id"}

        def write() -> Answer:
            link = links.create_link(user=device_of(request).user, **fields)
            return Answer(201, link_json(link))

        answer = write_once(request, body, ["create_link", fields], write)
        # Not remembered with the answer: the path is made again from the link's id.
        where = links.path_of(UUID(answer.body["link_id"]))
        return Response({**answer.body, "url": absolute_url(request, where)}, status=answer.status)


class LinkView(APIView):
    """/links/{id}"""

    @extend_schema(
        summary="Revoke a link",
        request=WriteSerializer,
        responses=schemas.answers(
            OpenApiResponse(description="Done."), NotFound, IdempotencyKeyReused, status=204
        ),
    )
    def delete(self, request: Request, link_id: UUID) -> Response:
        body = parsed(WriteSerializer, request.data)

        def write() -> Answer:
            links.revoke_link(user=device_of(request).user, link_id=link_id)
            return Answer(204, {})

        answer = write_once(request, body, ["revoke_link", link_id], write)
        return Response(status=answer.status)


urlpatterns = [
    path("links", LinksView.as_view()),
    path("links/<uuid:link_id>", LinkView.as_view()),
]
