"""The whole content of a file in one answer, for browsers and curl."""

from typing import Any
from uuid import UUID

from django.http import HttpResponseBase
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.views import APIView

from drive_project.common.errors import NotFound
from files import content
from files.api import schemas
from files.api.items import device_of, parsed
from files.services.downloads import get_version


class ContentQuery(serializers.Serializer[Any]):
    version = serializers.UUIDField(required=False, help_text="Default: the current one.")


class ContentView(APIView):
    """/files/{id}/content"""

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        # Whatever kind of content the caller would like best, this one is what there is.
        return super().perform_content_negotiation(request, force=True)

    @extend_schema(
        summary="The content of a file",
        parameters=[
            ContentQuery,
            OpenApiParameter("Range", str, OpenApiParameter.HEADER),
            OpenApiParameter("If-Range", str, OpenApiParameter.HEADER),
            OpenApiParameter("If-None-Match", str, OpenApiParameter.HEADER),
        ],
        responses={
            # 304: what the caller has is still current.
            **schemas.answers(None, NotFound, status=304),
            (200, "application/octet-stream"): OpenApiTypes.BINARY,
            (206, "application/octet-stream"): OpenApiTypes.BINARY,
            416: OpenApiResponse(description="The range begins behind the end."),
        },
    )
    def get(self, request: Request, file_id: UUID) -> HttpResponseBase:
        query = parsed(ContentQuery, request.query_params)
        version = get_version(
            user=device_of(request).user, file_id=file_id, version_id=query.get("version")
        )
        return content.content_response(request._request, version.file, version)


urlpatterns = [path("files/<uuid:file_id>/content", ContentView.as_view())]
