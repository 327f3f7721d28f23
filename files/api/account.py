"""Who is asking, how much they may store, and how long old versions stay."""

from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from drive_project.common.errors import IdempotencyKeyReused
from files import queries, retention
from files.api import schemas
from files.api.items import WriteSerializer, device_of, parsed, write_once
from files.idempotency import Answer
from files.models import UserDevice
from files.services import accounts


class UpdateAccount(WriteSerializer):
    keep_all_versions_days = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=retention.MIN_KEEP_ALL_DAYS,
        max_value=retention.MAX_DAYS,
        help_text="Days for which every replaced version is kept; null: as this server does.",
    )
    keep_daily_versions_days = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=0,
        max_value=retention.MAX_DAYS,
        help_text="Days for which one version of each day is kept; null: as this server does.",
    )


class AccountView(APIView):
    """/account"""

    @extend_schema(summary="The caller's account", responses=schemas.answers(schemas.AccountShape))
    def get(self, request: Request) -> Response:
        return Response(account_json(device_of(request)))

    @extend_schema(
        summary="Choose how long old versions are kept",
        request=UpdateAccount,
        responses=schemas.answers(schemas.AccountShape, IdempotencyKeyReused),
    )
    def patch(self, request: Request) -> Response:
        body = parsed(UpdateAccount, request.data)
        device = device_of(request)
        chosen = {name: body[name] for name in accounts.RETENTION_FIELDS if name in body}

        def write() -> Answer:
            accounts.set_retention(user=device.user, chosen=chosen)
            return Answer(200, {})

        write_once(request, body, ["update_account", chosen], write)
        return Response(account_json(device))


def account_json(device: UserDevice) -> dict[str, Any]:
    """A person's account as one of their devices sees it."""
    user = device.user
    storage = queries.storage_of(user)
    root = queries.own_root(user)
    return {
        "user_id": user.pk,
        "email": user.email,
        "is_staff": user.is_staff,
        "used_bytes": storage.used_bytes,
        "reserved_bytes": storage.reserved_bytes,
        "quota_bytes": storage.limit_bytes,
        "keep_all_versions_days": storage.retention.keep_all.days,
        "keep_daily_versions_days": storage.retention.keep_daily.days,
        "root_namespace_id": root.namespace_id,
        "root_folder_id": root.pk,
        "device_id": device.pk,
    }


urlpatterns = [path("account", AccountView.as_view())]
