"""Devices: sign in, list, rename, revoke, sign out, and what each has of a file."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.urls import path
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from drive_project.common.errors import (
    IdempotencyKeyReused,
    InvalidCursor,
    NotFound,
    TooManyRequests,
)
from files import queries
from files.api import schemas
from files.api.items import (
    DEVICE_LIST,
    PageQuery,
    RequestSerializer,
    WriteSerializer,
    decode_place,
    device_of,
    encode_place,
    parsed,
    write_once,
)
from files.idempotency import Answer
from files.models import DeviceKind, UserDevice
from files.services import devices

DONE = OpenApiResponse(description="Done.")
_HOLDERS_LIST = "files.devices"
MAX_DEVICE_NAME = 100


class SignInRequest(RequestSerializer):
    email = serializers.CharField(max_length=254)
    password = serializers.CharField(max_length=1_000, trim_whitespace=False)
    name = serializers.CharField(max_length=MAX_DEVICE_NAME)
    platform = serializers.CharField(max_length=50, default="", allow_blank=True)
    client_version = serializers.CharField(max_length=50, default="", allow_blank=True)


class RenameDeviceRequest(WriteSerializer):
    name = serializers.CharField(max_length=MAX_DEVICE_NAME)


def device_json(
    device: UserDevice, *, this: UserDevice, online: Collection[UUID]
) -> dict[str, Any]:
    """A device as the protocol spells it."""
    return {
        "device_id": device.pk,
        "kind": device.kind,
        "name": device.name,
        "platform": device.platform,
        "client_version": device.client_version,
        "created_at": device.created_at,
        "last_sync_time": device.last_sync_time,
        "last_seen_at": device.last_seen_at,
        "is_this": device.pk == this.pk,
        "is_online": device.pk in online,
    }


class SignInView(APIView):
    """/devices/sign-in"""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(
        summary="Sign a device in by e-mail address and password",
        auth=[],
        request=SignInRequest,
        responses=schemas.answers(schemas.SignedInShape, TooManyRequests, status=201),
    )
    def post(self, request: Request) -> Response:
        body = parsed(SignInRequest, request.data)
        signed_in = devices.sign_in(**body, address=request.META.get("REMOTE_ADDR", ""))
        device = signed_in.device
        return Response(
            {
                "token": signed_in.token,
                "device_id": device.pk,
                "user_id": device.user.pk,
                "email": device.user.email,
            },
            status=201,
        )


class DevicesView(APIView):
    """/devices"""

    @extend_schema(
        summary="The caller's signed-in devices, the newest first",
        parameters=[PageQuery],
        responses=schemas.answers(schemas.DevicePage, InvalidCursor),
    )
    def get(self, request: Request) -> Response:
        query = parsed(PageQuery, request.query_params)
        this = device_of(request)
        found, next_place = devices.devices_of(
            this.user, after=decode_place(query["cursor"], DEVICE_LIST), limit=query["limit"]
        )
        online = devices.online_among(found)
        return Response(
            {
                "items": [device_json(device, this=this, online=online) for device in found],
                "next_cursor": encode_place(next_place, DEVICE_LIST),
            }
        )


class DeviceView(APIView):
    """/devices/{id}"""

    @extend_schema(
        summary="Rename a device",
        request=RenameDeviceRequest,
        responses=schemas.answers(schemas.DeviceShape, NotFound, IdempotencyKeyReused),
    )
    def patch(self, request: Request, device_id: UUID) -> Response:
        body = parsed(RenameDeviceRequest, request.data)
        this = device_of(request)

        def write() -> Answer:
            devices.rename_device(user=this.user, device_id=device_id, name=body["name"])
            return Answer(200, {})

        write_once(request, body, ["rename_device", device_id, body["name"]], write)
        device = devices.get_device(this.user, device_id)
        online = devices.online_among([device])
        return Response(device_json(device, this=this, online=online))

    @extend_schema(
        summary="Revoke a device",
        request=WriteSerializer,
        responses=schemas.answers(DONE, NotFound, IdempotencyKeyReused, status=204),
    )
    def delete(self, request: Request, device_id: UUID) -> Response:
        body = parsed(WriteSerializer, request.data)

        def write() -> Answer:
            devices.revoke_device(user=device_of(request).user, device_id=device_id)
            return Answer(204, {})

        answer = write_once(request, body, ["revoke_device", device_id], write)
        return Response(status=answer.status)


class ThisDeviceView(APIView):
    """/devices/this"""

    @extend_schema(
        summary="Sign out",
        request=WriteSerializer,
        responses=schemas.answers(DONE, status=204),
    )
    def delete(self, request: Request) -> Response:
        parsed(WriteSerializer, request.data)
        device = device_of(request)
        devices.revoke_device(user=device.user, device_id=device.pk)
        if device.kind == DeviceKind.BROWSER:
            request.session.flush()
        return Response(status=204)


class FileDevicesView(APIView):
    """/files/{id}/devices"""

    @extend_schema(
        summary="What each of the caller's sync devices has of a file",
        parameters=[PageQuery],
        responses=schemas.answers(schemas.HolderPage, InvalidCursor, NotFound),
    )
    def get(self, request: Request, file_id: UUID) -> Response:
        query = parsed(PageQuery, request.query_params)
        this = device_of(request)
        page = queries.holders_of(
            this.user,
            file_id,
            after=decode_place(query["cursor"], _HOLDERS_LIST),
            limit=query["limit"],
        )
        online = devices.online_among(holder.device for holder in page.items)
        return Response(
            {
                "items": [
                    {
                        "device_id": holder.device.pk,
                        "name": holder.device.name,
                        "last_sync_time": holder.device.last_sync_time,
                        "last_seen_at": holder.device.last_seen_at,
                        "is_this": holder.device.pk == this.pk,
                        "is_online": holder.device.pk in online,
                        "has": holder.holding,
                        "file_version_id": holder.file_version_id,
                    }
                    for holder in page.items
                ],
                "next_cursor": encode_place(page.next_place, _HOLDERS_LIST),
            }
        )


urlpatterns = [
    path("devices", DevicesView.as_view()),
    path("devices/sign-in", SignInView.as_view()),
    path("devices/this", ThisDeviceView.as_view()),
    path("devices/<uuid:device_id>", DeviceView.as_view()),
    path("files/<uuid:file_id>/devices", FileDevicesView.as_view()),
]
