"""Uploads: begin, commit, look at, give up. See docs/protocol.md, "Upload"."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from drive_project.common.errors import (
    DriveError,
    IdempotencyKeyReused,
    IncompleteList,
    InvalidName,
    MissingBlocks,
    NameTaken,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
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
    check_block_total,
    locations_json,
)
from files.api.items import (
    BigIntegerField,
    NameField,
    WriteSerializer,
    device_of,
    idempotency_key,
    item_keys,
    parsed,
)
from files.api.many import items_of, one_or_many, results_of, results_shape
from files.models import ConflictKind, OnConflict
from files.services import aborts, commits, progress, uploads
from files.services.outcomes import Committed
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
    conflict_of_file_id = serializers.UUIDField(
        required=False,
        allow_null=True,
        help_text="Of a new file that the client had made as a conflict copy: of which file.",
    )
    conflict_kind = serializers.ChoiceField(ConflictKind.choices, required=False, allow_null=True)
    block_count = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=2**31 - 1,
        help_text="Default: the length of `blocks`.",
    )
    blocks = BlockListField(default=list)


class UploadItems(schemas.Shape):
    items = UploadItem(many=True)


class CommitItem(WriteSerializer):
    upload_id = serializers.UUIDField()


class CommitItems(schemas.Shape):
    items = CommitItem(many=True)


_BegunUploads = results_shape("Begun", shapes.BegunUpload)
_CommittedUploads = results_shape("Committed", shapes.CommittedShape)


def _new_upload(fields: dict[str, Any], op_id: str) -> NewUpload:
    known = {**fields, "op_id": op_id}
    known.setdefault("block_count", len(known["blocks"]))
    if known.get("on_conflict") is not None:
        known["on_conflict"] = OnConflict(known["on_conflict"])
    if known.get("conflict_kind") is not None:
        known["conflict_kind"] = ConflictKind(known["conflict_kind"])
    return NewUpload(**known)


class UploadInitView(APIView):
    """/files/upload/init"""

    @extend_schema(
        summary="Begin uploads",
        request=one_or_many("InitRequest", UploadItem, UploadItems),
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
        items = items_of(request)
        if items is None:
            fields = parsed(UploadItem, request.data)
            upload = _new_upload(fields, idempotency_key(request, fields))
            [result] = uploads.begin_uploads(device=device, uploads=[upload])
            if isinstance(result, DriveError):
                raise result
            return Response(_begun_json(request, result), status=201)
        check_block_total(items)
        default_key = item_keys(request)

        def begin(good: Mapping[int, dict[str, Any]]) -> Sequence[OpenUpload | DriveError]:
            return uploads.begin_uploads(
                device=device,
                uploads=[
                    _new_upload(fields, fields.get("op_id") or default_key(index))
                    for index, fields in good.items()
                ],
            )

        def shown(_: Any, begun: OpenUpload) -> dict[str, Any]:
            return _begun_json(request, begun)

        return Response({"items": results_of(items, UploadItem, begin, shown)})


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


class UploadCommitView(APIView):
    """/files/upload/commit"""

    @extend_schema(
        summary="Make uploaded versions current",
        request=one_or_many("CommitRequest", CommitItem, CommitItems),
        responses=schemas.answers(
            one_or_many("CommitAnswer", shapes.CommittedShape, _CommittedUploads),
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
        items = items_of(request)
        if items is None:
            upload_id = parsed(CommitItem, request.data)["upload_id"]
            committed = commits.commit_upload(device=device, upload_id=upload_id)
            return Response(_committed_json(committed))

        def commit(good: Mapping[int, dict[str, Any]]) -> Sequence[Committed | DriveError]:
            upload_ids = [fields["upload_id"] for fields in good.values()]
            return commits.commit_uploads(device=device, upload_ids=upload_ids)

        def shown(_: Any, committed: Committed) -> dict[str, Any]:
            return _committed_json(committed)

        return Response({"items": results_of(items, CommitItem, commit, shown)})


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
    path("files/upload/commit", UploadCommitView.as_view()),
    path("files/upload/<uuid:upload_id>", UploadView.as_view()),
]
