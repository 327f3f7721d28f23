"""Who is asking, and how much they may store."""

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from files import queries
from files.api import schemas
from files.api.items import device_of


class AccountView(APIView):
    """/account"""

    @extend_schema(summary="The caller's account", responses=schemas.answers(schemas.AccountShape))
    def get(self, request: Request) -> Response:
        device = device_of(request)
        user = device.user
        storage = queries.storage_of(user)
        root = queries.own_root(user)
        return Response(
            {
                "user_id": user.pk,
                "email": user.email,
                "is_staff": user.is_staff,
                "used_bytes": storage.used_bytes,
                "reserved_bytes": storage.reserved_bytes,
                "quota_bytes": storage.limit_bytes,
                "root_namespace_id": root.namespace_id,
                "root_folder_id": root.pk,
                "device_id": device.pk,
            }
        )


urlpatterns = [path("account", AccountView.as_view())]
