"""The versions of a file: list them, go back to one."""

from typing import Any
from uuid import UUID

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from drive_project.common.errors import (
    IdempotencyKeyReused,
    InvalidCursor,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
)
from drive_project.common.rendering import rfc3339
from files.api import content_schemas as shapes
from files.api import schemas
from files.api.items import (
    PageQuery,
    WriteSerializer,
    decode_place,
    device_of,
    encode_place,
    idempotency_key,
    item_response,
    parsed,
)
from files.models import File, FileVersion
from files.services import versions

_LIST = "versions"


class RestoreVersion(WriteSerializer):
    """Nothing but an op_id."""


def _version_json(version: FileVersion, file: File) -> dict[str, Any]:
    return {
        "file_version_id": str(version.pk),
        "size_bytes": version.size_bytes,
        "content_hash": version.content_hash,
        "block_count": version.block_count,
        "committed_at": None if version.committed_at is None else rfc3339(version.committed_at),
        "client_modified_ns": version.client_modified_ns,
        "executable": version.executable,
        "author": version.author.email,
        "device": None if version.device is None else version.device.name,
        "is_current": version.pk == file.current_version_id,
        "is_damaged": version.is_damaged,
    }


class VersionsView(APIView):
    """/files/{id}/versions"""

    @extend_schema(
        summary="The versions of a file, newest first",
        parameters=[PageQuery],
        responses=schemas.answers(shapes.VersionList, InvalidCursor, NotFound),
    )
    def get(self, request: Request, file_id: UUID) -> Response:
        query = parsed(PageQuery, request.query_params)
        page = versions.versions_of(
            user=device_of(request).user,
            file_id=file_id,
            limit=query["limit"],
            after=decode_place(query["cursor"], _LIST),
        )
        return Response(
            {
                "items": [_version_json(version, page.file) for version in page.versions],
                "next_cursor": encode_place(page.next_place, _LIST),
            }
        )


class RestoreVersionView(APIView):
    """/files/{id}/versions/{vid}/restore"""

    @extend_schema(
        summary="Make an old version's content the current one",
        request=RestoreVersion,
        responses=schemas.answers(
            schemas.FileItem, NotFound, PermissionDenied, QuotaExceeded, IdempotencyKeyReused
        ),
    )
    def post(self, request: Request, file_id: UUID, version_id: UUID) -> Response:
        body = parsed(RestoreVersion, request.data)
        restored = versions.restore_version(
            device=device_of(request),
            file_id=file_id,
            version_id=version_id,
            op_id=idempotency_key(request, body),
        )
        return item_response(restored.file)


urlpatterns = [
    path("files/<uuid:file_id>/versions", VersionsView.as_view()),
    path("files/<uuid:file_id>/versions/<uuid:version_id>/restore", RestoreVersionView.as_view()),
]
