"""Uploads: begin, continue, send, commit, give up. See docs/protocol.md, "Upload"."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.urls import path
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from blocks.service import (
    MAX_BLOCKS_PER_CALL,
    MAX_PACK_BYTES,
    MAX_URLS_PER_CALL,
    NewPack,
    RefreshedUploads,
)
from drive_project.common.errors import (
    DriveError,
    IdempotencyKeyReused,
    IncompleteList,
    InvalidName,
    InvalidRequest,
    MissingBlocks,
    NameTaken,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
    TooManyRequests,
    UploadExpired,
    VerifyFirst,
    VersionConflict,
)
from drive_project.common.rendering import rfc3339
from files import journal
from files.api import content_schemas as shapes
from files.api import schemas
from files.api.blocks import (
    BlockListField,
    HashField,
    PackedBlockListField,
    locations_json,
)
from files.api.items import (
    BigIntegerField,
    ItemsRequest,
    NameField,
    RequestSerializer,
    WriteSerializer,
    device_of,
    idempotency_key,
    item_keys,
    parsed,
    problem_result,
    signed_request_json,
)
from files.models import OnConflict
from files.services import aborts, commits, progress, uploads
from files.services.outcomes import Committed
from files.services.progress import UploadReport
from files.services.uploads import NewUpload, OpenUpload

# Larger than any file system has; small enough that sums of many stay exact.
MAX_FILE_BYTES = 2**50


class UploadItem(WriteSerializer):
    """One content. See docs/protocol.md for what goes together."""

    name = NameField(required=False, allow_null=True)
    parent_folder_id = serializers.UUIDField(required=False, allow_null=True)
    file_id = serializers.UUIDField(required=False, allow_null=True)
    size_bytes = BigIntegerField(min_value=0, max_value=MAX_FILE_BYTES)
    content_hash = HashField()
    client_modified_ns = BigIntegerField(default=0)
    executable = serializers.BooleanField(default=False)
    base_version_id = serializers.UUIDField(required=False, allow_null=True)
    on_conflict = serializers.ChoiceField(OnConflict.choices, required=False, allow_null=True)
    block_count = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=2**31 - 1,
        help_text="Default: the length of `blocks`.",
    )
    blocks = BlockListField(default=list)


class UploadItems(schemas.Shape):
    items = UploadItem(many=True)


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


class CommitItem(WriteSerializer):
    upload_id = serializers.UUIDField()


class CommitItems(schemas.Shape):
    items = CommitItem(many=True)


def _one_or_many(name: str, one: Any, many: Any) -> PolymorphicProxySerializer:
    return PolymorphicProxySerializer(
        component_name=name, serializers=[one, many], resource_type_field_name=None
    )


def _results(name: str, shape: type[schemas.Shape]) -> Any:
    """The answer to a batch: for each item its result or its problem."""
    result = PolymorphicProxySerializer(
        component_name=f"{name}Result",
        serializers=[shape, shapes.Refused],
        resource_type_field_name=None,
        many=True,
    )
    return type(f"{name}Results", (schemas.Shape,), {"items": result})


_BegunUploads = _results("Begun", shapes.BegunUpload)
_CommittedUploads = _results("Committed", shapes.CommittedShape)
_RefreshedUploads = _results("Refreshed", shapes.RefreshedItem)
_Packs = _results("Pack", shapes.PackUpload)


def _items_of(request: Request) -> list[Any] | None:
    """The items of a batch; None for a single one."""
    if isinstance(request.data, dict) and "items" in request.data:
        items: list[Any] = parsed(ItemsRequest, request.data)["items"]
        return items
    return None


def _checked(serializer: serializers.Serializer[Any], data: Any) -> Any:
    """The fields of one item of a batch, or why it is refused."""
    try:
        return serializer.run_validation(data)
    except serializers.ValidationError as error:
        return problem_result(error)
    except DriveError as error:
        return problem_result(error)


def _check_block_total(items: Sequence[Any]) -> None:
    total = sum(
        len(item["blocks"])
        for item in items
        if isinstance(item, dict) and isinstance(item.get("blocks"), list)
    )
    if total > MAX_BLOCKS_PER_CALL:
        raise InvalidRequest(f"At most {MAX_BLOCKS_PER_CALL} blocks a request; these are {total}.")


def _check_hash_totals(reports: Sequence[UploadReport]) -> None:
    for name in ("done", "want"):
        total = sum(len(getattr(report, name)) for report in reports)
        if total > MAX_URLS_PER_CALL:
            raise InvalidRequest(
                f"At most {MAX_URLS_PER_CALL} hashes a request in `{name}`; these are {total}."
            )


def _is_refused(checked: dict[str, Any]) -> bool:
    return "problem" in checked


def _new_upload(fields: dict[str, Any], op_id: str) -> NewUpload:
    known = {**fields, "op_id": op_id}
    known.setdefault("block_count", len(known["blocks"]))
    if known.get("on_conflict") is not None:
        known["on_conflict"] = OnConflict(known["on_conflict"])
    return NewUpload(**known)


class UploadInitView(APIView):
    """/files/upload/init"""

    @extend_schema(
        summary="Begin uploads",
        request=_one_or_many("InitRequest", UploadItem, UploadItems),
        responses={
            **schemas.answers(
                shapes.BegunUpload,
                InvalidName,
                NotFound,
                PermissionDenied,
                QuotaExceeded,
                UploadExpired,
                IdempotencyKeyReused,
                status=201,
            ),
            200: _BegunUploads,
        },
    )
    def post(self, request: Request) -> Response:
        device = device_of(request)
        items = _items_of(request)
        if items is None:
            fields = parsed(UploadItem, request.data)
            upload = _new_upload(fields, idempotency_key(request, fields))
            [result] = uploads.begin_uploads(device=device, uploads=[upload])
            if isinstance(result, DriveError):
                raise result
            return Response(_begun_json(request, result), status=201)
        _check_block_total(items)
        default_key = item_keys(request)
        serializer = UploadItem()
        answers = [_checked(serializer, item) for item in items]
        places = [index for index, each in enumerate(answers) if not _is_refused(each)]
        begun = uploads.begin_uploads(
            device=device,
            uploads=[
                _new_upload(answers[index], answers[index].get("op_id") or default_key(index))
                for index in places
            ],
        )
        for index, result in zip(places, begun, strict=True):
            answers[index] = (
                problem_result(result)
                if isinstance(result, DriveError)
                else _begun_json(request, result)
            )
        return Response({"items": answers})


def _begun_json(request: Request, begun: OpenUpload) -> dict[str, Any]:
    version = begun.version
    return {
        "status": 201,
        "upload_id": str(version.pk),
        "file_id": str(version.file_id),
        "file_version_id": str(version.pk),
        "expires_at": rfc3339(version.expires_at),
        **locations_json(request, begun.locations),
    }


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
        body = parsed(UrlsRequest, request.data)
        refreshed = progress.refresh_urls(
            device=device_of(request),
            upload_id=upload_id,
            done=body["done"],
            want=body["want"],
        )
        return Response(_refreshed_json(request, refreshed))


class UrlsView(APIView):
    """/files/upload/urls"""

    @extend_schema(
        summary="Say what was sent of many uploads, get fresh URLs",
        request=UrlsItems,
        responses=schemas.answers(_RefreshedUploads),
    )
    def post(self, request: Request) -> Response:
        serializer = UrlsItem()
        items = parsed(ItemsRequest, request.data)["items"]
        answers = [_checked(serializer, item) for item in items]
        places = [index for index, each in enumerate(answers) if not _is_refused(each)]
        reports = [
            UploadReport(
                answers[index]["upload_id"], answers[index]["done"], answers[index]["want"]
            )
            for index in places
        ]
        _check_hash_totals(reports)
        refreshed = progress.refresh_uploads(device=device_of(request), reports=reports)
        for index, report, result in zip(places, reports, refreshed, strict=True):
            answers[index] = (
                problem_result(result)
                if isinstance(result, DriveError)
                else {
                    "status": 200,
                    "upload_id": str(report.upload_id),
                    **_refreshed_json(request, result),
                }
            )
        return Response({"items": answers})


def _refreshed_json(request: Request, refreshed: RefreshedUploads) -> dict[str, Any]:
    return {
        "verified": refreshed.verified,
        "missing": refreshed.missing,
        "uploads": [
            {"block_hash": block_hash, **signed_request_json(request, signed)}
            for block_hash, signed in refreshed.uploads.items()
        ],
    }


class UploadPacksView(APIView):
    """/files/upload/packs"""

    @extend_schema(
        summary="Send small blocks together",
        request=PackItems,
        responses=schemas.answers(_Packs, PermissionDenied, TooManyRequests),
    )
    def post(self, request: Request) -> Response:
        items = parsed(ItemsRequest, request.data)["items"]
        _check_block_total(items)
        serializer = PackItem()
        answers = [_checked(serializer, item) for item in items]
        places = [index for index, each in enumerate(answers) if not _is_refused(each)]
        signed = progress.create_packs(
            device=device_of(request), packs=[NewPack(**answers[index]) for index in places]
        )
        for index, result in zip(places, signed, strict=True):
            answers[index] = (
                problem_result(result)
                if isinstance(result, DriveError)
                else {
                    "status": 201,
                    "sha256": answers[index]["sha256"],
                    **signed_request_json(request, result),
                }
            )
        return Response({"items": answers})


class UploadCommitView(APIView):
    """/files/upload/commit"""

    @extend_schema(
        summary="Make uploaded versions current",
        request=_one_or_many("CommitRequest", CommitItem, CommitItems),
        responses=schemas.answers(
            _one_or_many("CommitAnswer", shapes.CommittedShape, _CommittedUploads),
            NotFound,
            PermissionDenied,
            MissingBlocks,
            VerifyFirst,
            IncompleteList,
            VersionConflict,
            NameTaken,
            UploadExpired,
        ),
    )
    def post(self, request: Request) -> Response:
        device = device_of(request)
        items = _items_of(request)
        if items is None:
            upload_id = parsed(CommitItem, request.data)["upload_id"]
            committed = commits.commit_upload(device=device, upload_id=upload_id)
            return Response(_committed_json(committed))
        serializer = CommitItem()
        answers = [_checked(serializer, item) for item in items]
        places = [index for index, each in enumerate(answers) if not _is_refused(each)]
        results = commits.commit_uploads(
            device=device, upload_ids=[answers[index]["upload_id"] for index in places]
        )
        for index, result in zip(places, results, strict=True):
            answers[index] = (
                problem_result(result)
                if isinstance(result, DriveError)
                else _committed_json(result)
            )
        return Response({"items": answers})


def _committed_json(committed: Committed) -> dict[str, Any]:
    original_id = committed.original_file_id
    return {
        "status": 200,
        "outcome": committed.outcome.value,
        "file_id": str(committed.file.pk),
        "file_version_id": str(committed.file_version_id),
        "is_conflict_copy": committed.is_conflict_copy,
        "original_file_id": None if original_id is None else str(original_id),
        "file": journal.state_of(committed.file),
    }


class UploadView(APIView):
    """/files/upload/{id}"""

    @extend_schema(
        summary="How far an upload is", responses=schemas.answers(shapes.UploadShape, NotFound)
    )
    def get(self, request: Request, upload_id: UUID) -> Response:
        state = progress.upload_state(device=device_of(request), upload_id=upload_id)
        version = state.version
        return Response(
            {
                "upload_id": str(version.pk),
                "file_id": str(version.file_id),
                "status": version.status,
                "size_bytes": version.size_bytes,
                "expires_at": rfc3339(version.expires_at),
                "missing": state.missing,
            }
        )

    @extend_schema(
        summary="Give an upload up", responses={**schemas.answers(None, NotFound, status=204)}
    )
    def delete(self, request: Request, upload_id: UUID) -> Response:
        aborts.abort_upload(device=device_of(request), upload_id=upload_id)
        return Response(status=204)


urlpatterns = [
    path("files/upload/init", UploadInitView.as_view()),
    path("files/upload/urls", UrlsView.as_view()),
    path("files/upload/packs", UploadPacksView.as_view()),
    path("files/upload/commit", UploadCommitView.as_view()),
    path("files/upload/<uuid:upload_id>", UploadView.as_view()),
    path("files/upload/<uuid:upload_id>/blocks", UploadBlocksView.as_view()),
    path("files/upload/<uuid:upload_id>/urls", UploadUrlsView.as_view()),
]
