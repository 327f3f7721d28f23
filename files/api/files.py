"""Files: read, rename, move, set what their file system says, to the trash.

Their content has addresses of its own: uploads, downloads, versions.
"""

from uuid import UUID

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from drive_project.common.errors import (
    IdempotencyKeyReused,
    InvalidName,
    NameTaken,
    NotFound,
    PermissionDenied,
    PreconditionRequired,
    StalePrecondition,
)
from files import journal, queries
from files.api import schemas
from files.api.folders import run_single
from files.api.items import IF_MATCH, device_of, if_match, parsed, state_response
from files.api.operations import DeleteFile, UpdateFile


class FileView(APIView):
    """/files/{id}"""

    @extend_schema(
        summary="Read a file's metadata",
        responses=schemas.answers(schemas.FileDetail, NotFound),
    )
    def get(self, request: Request, file_id: UUID) -> Response:
        file = queries.get_file(device_of(request).user, file_id)
        version = file.current_version
        return state_response(
            {
                **journal.state_of(file),
                "block_count": 0 if version is None else version.block_count,
                "version_count": queries.version_count(file),
            }
        )

    @extend_schema(
        summary="Rename or move a file, or set its attributes",
        parameters=[IF_MATCH],
        request=UpdateFile,
        responses=schemas.answers(
            schemas.FileItem,
            InvalidName,
            NotFound,
            PermissionDenied,
            NameTaken,
            StalePrecondition,
            PreconditionRequired,
            IdempotencyKeyReused,
        ),
    )
    def patch(self, request: Request, file_id: UUID) -> Response:
        body = parsed(UpdateFile, request.data)
        return run_single(request, body, "update_file", file_id=file_id, if_match=if_match(request))

    @extend_schema(
        summary="Move a file to the trash",
        parameters=[IF_MATCH],
        request=DeleteFile,
        responses=schemas.answers(
            schemas.FileItem,
            NotFound,
            PermissionDenied,
            StalePrecondition,
            PreconditionRequired,
            IdempotencyKeyReused,
        ),
    )
    def delete(self, request: Request, file_id: UUID) -> Response:
        body = parsed(DeleteFile, request.data)
        return run_single(request, body, "delete_file", file_id=file_id, if_match=if_match(request))


urlpatterns = [path("files/<uuid:file_id>", FileView.as_view())]
