"""Between the beginning of an upload and its commit: name more blocks, send them, report them."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from blocks.service import (
    MAX_PACK_BYTES,
    MAX_URLS_PER_CALL,
    NewPack,
    RefreshedUpload,
    SignedRequest,
    UploadReport,
)
from drive_project.common.errors import (
    DriveError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    TooManyRequests,
    UploadExpired,
)
from files.api import content_schemas as shapes
from files.api import schemas
from files.api.blocks import (
    BlockListField,
    HashField,
    PackedBlockListField,
    check_block_total,
    locations_json,
)
from files.api.items import (
    ItemsRequest,
    RequestSerializer,
    WriteSerializer,
    device_of,
    parsed,
    signed_request_json,
)
from files.api.many import results_of, results_shape
from files.services import progress


class MoreBlocks(WriteSerializer):
    start_index = serializers.IntegerField(min_value=0, max_value=2**31 - 1)
    blocks = BlockListField()


class UrlsRequest(WriteSerializer):
    done = serializers.ListField(child=HashField(), max_length=MAX_URLS_PER_CALL, default=list)
    want = serializers.ListField(child=HashField(), max_length=MAX_URLS_PER_CALL, default=list)


class UrlsItem(UrlsRequest):
    upload_id = serializers.UUIDField()


class UrlsItems(schemas.Shape):
    items = UrlsItem(many=True)


class PackItem(RequestSerializer):
    sha256 = HashField()
    size_bytes = serializers.IntegerField(min_value=1, max_value=MAX_PACK_BYTES)
    blocks = PackedBlockListField()


class PackItems(schemas.Shape):
    items = PackItem(many=True)


def _check_hash_totals(reports: Sequence[UploadReport]) -> None:
    for name in ("done", "want"):
        total = sum(len(getattr(report, name)) for report in reports)
        if total > MAX_URLS_PER_CALL:
            raise InvalidRequest(
                f"At most {MAX_URLS_PER_CALL} hashes a request in `{name}`; these are {total}."
            )


class UploadBlocksView(APIView):
    """/files/upload/{id}/blocks"""

    @extend_schema(
        summary="Name more blocks of a long list",
        request=MoreBlocks,
        responses=schemas.answers(shapes.BlocksToSend, NotFound, PermissionDenied, UploadExpired),
    )
    def post(self, request: Request, upload_id: UUID) -> Response:
        body = parsed(MoreBlocks, request.data)
        locations = progress.continue_upload(
            device=device_of(request),
            upload_id=upload_id,
            start_index=body["start_index"],
            blocks=body["blocks"],
        )
        return Response(locations_json(request, locations))


class UploadUrlsView(APIView):
    """/files/upload/{id}/urls"""

    @extend_schema(
        summary="Say what was sent, get fresh URLs",
        request=UrlsRequest,
        responses=schemas.answers(shapes.RefreshedShape, NotFound, PermissionDenied, UploadExpired),
    )
    def post(self, request: Request, upload_id: UUID) -> Response:
        report = _report(upload_id, parsed(UrlsRequest, request.data))
        refreshed = progress.refresh_upload(device=device_of(request), report=report)
        return Response(_refreshed_json(request, refreshed))


class UrlsView(APIView):
    """/files/upload/urls"""

    @extend_schema(
        operation_id="files_upload_urls_batch",
        summary="Say what was sent of many uploads, get fresh URLs",
        request=UrlsItems,
        responses=schemas.answers(results_shape("Refreshed", shapes.RefreshedItem)),
    )
    def post(self, request: Request) -> Response:
        items = parsed(ItemsRequest, request.data)["items"]

        def refresh(good: Mapping[int, dict[str, Any]]) -> list[RefreshedUpload | DriveError]:
            reports = [_report(fields["upload_id"], fields) for fields in good.values()]
            _check_hash_totals(reports)
            return progress.refresh_uploads(device=device_of(request), reports=reports)

        def shown(fields: dict[str, Any], refreshed: RefreshedUpload) -> dict[str, Any]:
            upload_id = str(fields["upload_id"])
            return {"status": 200, "upload_id": upload_id, **_refreshed_json(request, refreshed)}

        return Response({"items": results_of(items, UrlsItem, refresh, shown)})


def _report(upload_id: UUID, fields: Mapping[str, Any]) -> UploadReport:
    return UploadReport(upload_id, done=fields["done"], want=fields["want"])


def _refreshed_json(request: Request, refreshed: RefreshedUpload) -> dict[str, Any]:
    return {
        "verified": refreshed.verified,
        "missing": refreshed.missing,
        "uploads": [
            {"block_hash": block_hash, **signed_request_json(request, signed)}
            for block_hash, signed in refreshed.urls.items()
        ],
    }


class UploadPacksView(APIView):
    """/files/upload/packs"""

    @extend_schema(
        summary="Send small blocks together",
        request=PackItems,
        responses=schemas.answers(
            results_shape("Pack", shapes.PackUpload), PermissionDenied, TooManyRequests
        ),
    )
    def post(self, request: Request) -> Response:
        items = parsed(ItemsRequest, request.data)["items"]
        check_block_total(items)

        def sign(good: Mapping[int, dict[str, Any]]) -> list[SignedRequest | DriveError]:
            packs = [NewPack(**fields) for fields in good.values()]
            return progress.create_packs(device=device_of(request), packs=packs)

        def shown(fields: dict[str, Any], put: SignedRequest) -> dict[str, Any]:
            return {"status": 201, "sha256": fields["sha256"], **signed_request_json(request, put)}

        return Response({"items": results_of(items, PackItem, sign, shown)})


urlpatterns = [
    path("files/upload/urls", UrlsView.as_view()),
    path("files/upload/packs", UploadPacksView.as_view()),
    path("files/upload/<uuid:upload_id>/blocks", UploadBlocksView.as_view()),
    path("files/upload/<uuid:upload_id>/urls", UploadUrlsView.as_view()),
]
