"""The trees that the caller can read."""

from uuid import UUID

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from drive_project.common.errors import NotFound
from files import queries
from files.api import schemas
from files.api.items import device_of


class NamespacesView(APIView):
    """/namespaces"""

    @extend_schema(
        summary="The caller's own tree and those shared with them",
        responses=schemas.answers(schemas.NamespaceList),
    )
    def get(self, request: Request) -> Response:
        return Response(
            {
                "items": [
                    {
                        "namespace_id": one.namespace.pk,
                        "root_folder_id": one.root_folder_id,
                        "is_root": one.namespace.is_root,
                        "role": one.role,
                        "head_seq": one.namespace.head_seq,
                    }
                    for one in queries.namespaces_of(device_of(request).user)
                ]
            }
        )


class DigestView(APIView):
    """/namespaces/{id}/digest"""

    @extend_schema(
        summary="A digest of all live items, to compare with one's own",
        responses=schemas.answers(schemas.DigestShape, NotFound),
    )
    def get(self, request: Request, namespace_id: UUID) -> Response:
        found = queries.tree_digest(device_of(request).user, namespace_id)
        return Response(
            {"namespace_id": namespace_id, "head_seq": found.head_seq, "digest": found.digest}
        )


urlpatterns = [
    path("namespaces", NamespacesView.as_view()),
    path("namespaces/<uuid:namespace_id>/digest", DigestView.as_view()),
]
