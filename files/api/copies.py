"""Copies on the server, without moving a block."""

from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from drive_project.common.errors import (
    ContentDamaged,
    IdempotencyKeyReused,
    InvalidName,
    MoveIntoItself,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
)
from files.api import schemas
from files.api.items import (
    MAX_BATCH,
    NameField,
    WriteSerializer,
    device_of,
    idempotency_key,
    parsed,
)
from files.services.copies import copy_items


class CopyRequest(WriteSerializer):
    item_ids = serializers.ListField(
        child=serializers.UUIDField(),
        min_length=1,
        max_length=MAX_BATCH,
        help_text="Files and folders; a folder with all that is live below it.",
    )
    parent_folder_id = serializers.UUIDField()
    name = NameField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "name" in attrs and len(attrs["item_ids"]) > 1:
            raise serializers.ValidationError({"name": ["Only for a single item."]})
        return attrs


class CopyView(APIView):
    """/nodes/copy"""

    @extend_schema(
        summary="Copy files and folders into a folder: all or none",
        request=CopyRequest,
        responses=schemas.answers(
            schemas.CopiedItems,
            InvalidName,
            NotFound,
            PermissionDenied,
            MoveIntoItself,
            QuotaExceeded,
            ContentDamaged,
            IdempotencyKeyReused,
            status=201,
        ),
    )
    def post(self, request: Request) -> Response:
        body = parsed(CopyRequest, request.data)
        answer = copy_items(
            device=device_of(request),
            item_ids=body["item_ids"],
            parent_folder_id=body["parent_folder_id"],
            name=body.get("name"),
            op_id=idempotency_key(request, body),
        )
        return Response(answer.body, answer.status)


urlpatterns = [path("nodes/copy", CopyView.as_view())]
