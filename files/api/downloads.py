"""Downloads by blocks. See docs/protocol.md, "Download"."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.urls import path
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from blocks.service import MAX_BLOCKS_PER_CALL, MAX_URLS_PER_CALL, Source
from drive_project.common.errors import DriveError, NotFound
from files.api import content_schemas as shapes
from files.api import schemas
from files.api.items import (
    ItemsRequest,
    RequestSerializer,
    device_of,
    parsed,
    signed_request_json,
)
from files.api.many import results_of
from files.models import FileVersion
from files.services import downloads
from files.services.downloads import FileDownload, WantedFile

MAX_INDEX = 2**31 - 1


class DownloadQuery(serializers.Serializer[Any]):
    version = serializers.UUIDField(required=False, help_text="Default: the current one.")
    start_index = serializers.IntegerField(min_value=0, max_value=MAX_INDEX, default=0)
    limit = serializers.IntegerField(
        min_value=1, max_value=MAX_URLS_PER_CALL, default=MAX_URLS_PER_CALL
    )


class DownloadItem(RequestSerializer):
    file_id = serializers.UUIDField()
    version = serializers.UUIDField(required=False, allow_null=True)
    start_index = serializers.IntegerField(min_value=0, max_value=MAX_INDEX, default=0)
    limit = serializers.IntegerField(
        min_value=1, max_value=MAX_BLOCKS_PER_CALL, default=MAX_BLOCKS_PER_CALL
    )


class DownloadItems(schemas.Shape):
    items = DownloadItem(many=True)


class BatchDownloads(schemas.Shape):
    items = PolymorphicProxySerializer(
        component_name="DownloadResult",
        serializers=[shapes.BatchDownload, shapes.Refused],
        resource_type_field_name=None,
        many=True,
    )
    sources = shapes.SourceShape(many=True)


def _wanted(file_id: UUID, fields: dict[str, Any]) -> WantedFile:
    return WantedFile(
        file_id=file_id,
        version_id=fields.get("version"),
        start_index=fields["start_index"],
        limit=fields["limit"],
    )


def _content_json(version: FileVersion) -> dict[str, Any]:
    return {
        "file_id": str(version.file_id),
        "file_version_id": str(version.pk),
        "size_bytes": version.size_bytes,
        "content_hash": version.content_hash,
        "executable": version.executable,
        "client_modified_ns": version.client_modified_ns,
        "is_damaged": version.is_damaged,
    }


class FileDownloadView(APIView):
    """/files/download/{id}"""

    @extend_schema(
        summary="Where to read the blocks of a file",
        parameters=[DownloadQuery],
        responses=schemas.answers(shapes.DownloadShape, NotFound),
    )
    def get(self, request: Request, file_id: UUID) -> Response:
        query = parsed(DownloadQuery, request.query_params)
        found, blocks = downloads.download_file(
            user=device_of(request).user, wanted=_wanted(file_id, query)
        )
        return Response(
            {
                **_content_json(found.version),
                "blocks": [
                    {
                        "index": each.block.index,
                        "block_hash": each.block.block_hash,
                        "size_bytes": each.block.size_bytes,
                        **signed_request_json(request, each.source.request),
                    }
                    for each in blocks
                ],
                "next_index": found.next_index,
            }
        )


class DownloadView(APIView):
    """/files/download"""

    @extend_schema(
        summary="Where to read the blocks of many files",
        request=DownloadItems,
        responses=schemas.answers(BatchDownloads),
    )
    def post(self, request: Request) -> Response:
        sources: Sequence[Source] = ()

        def find(good: Mapping[int, dict[str, Any]]) -> Sequence[FileDownload | DriveError]:
            nonlocal sources
            found, sources = downloads.download_files(
                user=device_of(request).user,
                wanted=[_wanted(fields["file_id"], fields) for fields in good.values()],
            )
            return found

        def shown(_: Any, found: FileDownload) -> dict[str, Any]:
            return _download_json(found)

        items = parsed(ItemsRequest, request.data)["items"]
        answers = results_of(items, DownloadItem, find, shown)
        return Response(
            {
                "items": answers,
                "sources": [
                    {
                        **signed_request_json(request, source.request),
                        "size_bytes": source.size_bytes,
                    }
                    for source in sources
                ],
            }
        )


def _download_json(found: FileDownload) -> dict[str, Any]:
    return {
        "status": 200,
        **_content_json(found.version),
        "blocks": [
            {
                "index": block.index,
                "block_hash": block.block_hash,
                "size_bytes": block.size_bytes,
                "source": block.source,
                "offset": block.offset,
            }
            for block in found.blocks
        ],
        "next_index": found.next_index,
    }


urlpatterns = [
    path("files/download", DownloadView.as_view()),
    path("files/download/<uuid:file_id>", FileDownloadView.as_view()),
]
