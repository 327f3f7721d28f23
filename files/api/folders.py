"""Folders: create, read, list, rename, move, to the trash."""

from typing import Any
from uuid import UUID

from django.urls import path, register_converter
from django.urls.converters import UUIDConverter
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from drive_project.common.errors import (
    IdempotencyKeyReused,
    InvalidCursor,
    InvalidName,
    MoveIntoItself,
    NameTaken,
    NotFound,
    PermissionDenied,
    PreconditionRequired,
    StalePrecondition,
)
from files import journal, queries
from files.api import schemas
from files.api.items import (
    IF_MATCH,
    PageQuery,
    children_list,
    decode_page,
    device_of,
    encode_page,
    if_match,
    item_response,
    parsed,
    state_response,
    write_once,
)
from files.api.operations import CreateFolder, DeleteFolder, Operation, UpdateFolder
from files.models import Folder
from files.queries import Sort

ROOT = "root"
FOLDER_ID = OpenApiParameter(
    "folder_id", OpenApiTypes.STR, OpenApiParameter.PATH, description="A UUID, or `root`."
)


class FolderConverter(UUIDConverter):
    """A folder's id, or `root` for the caller's own root (None in the view)."""

    regex = f"{UUIDConverter.regex}|{ROOT}"

    def to_python(self, value: str) -> UUID | None:  # type: ignore[override]
        return None if value == ROOT else UUID(value)

    def to_url(self, value: Any) -> str:
        return ROOT if value is None else str(value)


register_converter(FolderConverter, "folder")


class ChildrenQuery(PageQuery):
    sort = serializers.ChoiceField([sort.value for sort in Sort], default=Sort.NAME.value)
    order = serializers.ChoiceField(["asc", "desc"], default="asc")


def folder_for(request: Request, folder_id: UUID | None) -> Folder:
    """The folder that an address names, on behalf of the caller."""
    user = device_of(request).user
    return queries.own_root(user) if folder_id is None else queries.get_folder(user, folder_id)


class FoldersView(APIView):
    """/folders"""

    @extend_schema(
        summary="Create a folder",
        request=CreateFolder,
        responses=schemas.answers(
            schemas.FolderItem,
            InvalidName,
            NotFound,
            PermissionDenied,
            NameTaken,
            IdempotencyKeyReused,
            status=201,
            also=200,
        ),
    )
    def post(self, request: Request) -> Response:
        body = parsed(CreateFolder, request.data)
        return run_single(request, body, "create_folder")


class FolderView(APIView):
    """/folders/{id}"""

    @extend_schema(
        summary="Read a folder",
        parameters=[FOLDER_ID],
        responses=schemas.answers(schemas.FolderItem, NotFound),
    )
    def get(self, request: Request, folder_id: UUID | None) -> Response:
        return item_response(folder_for(request, folder_id))

    @extend_schema(
        summary="Rename or move a folder",
        parameters=[FOLDER_ID, IF_MATCH],
        request=UpdateFolder,
        responses=schemas.answers(
            schemas.FolderItem,
            InvalidName,
            NotFound,
            PermissionDenied,
            NameTaken,
            MoveIntoItself,
            StalePrecondition,
            PreconditionRequired,
            IdempotencyKeyReused,
        ),
    )
    def patch(self, request: Request, folder_id: UUID | None) -> Response:
        body = parsed(UpdateFolder, request.data)
        known = folder_for(request, folder_id).pk if folder_id is None else folder_id
        return run_single(
            request, body, "update_folder", folder_id=known, if_match=if_match(request)
        )

    @extend_schema(
        summary="Move a folder to the trash",
        parameters=[FOLDER_ID, IF_MATCH],
        request=DeleteFolder,
        responses=schemas.answers(
            schemas.DeletedFolderAnswer,
            NotFound,
            PermissionDenied,
            StalePrecondition,
            PreconditionRequired,
            IdempotencyKeyReused,
        ),
    )
    def delete(self, request: Request, folder_id: UUID | None) -> Response:
        body = parsed(DeleteFolder, request.data)
        known = folder_for(request, folder_id).pk if folder_id is None else folder_id
        operation = Operation(
            "delete_folder",
            {**_without_key(body), "folder_id": known, "if_match": if_match(request)},
        )
        answer = write_once(
            request, body, operation.identity, lambda: operation.write(device_of(request))
        )
        item = answer.body["item"]
        return Response(
            {
                "folder_id": item["folder_id"],
                "rev": item["rev"],
                "survivors": answer.body["survivors"],
            }
        )


class ChildrenView(APIView):
    """/folders/{id}/children"""

    @extend_schema(
        summary="List a folder",
        parameters=[FOLDER_ID, ChildrenQuery],
        responses=schemas.answers(schemas.ItemPage, InvalidCursor, NotFound),
    )
    def get(self, request: Request, folder_id: UUID | None) -> Response:
        query = parsed(ChildrenQuery, request.query_params)
        sort, descending = Sort(query["sort"]), query["order"] == "desc"
        of = children_list(sort, descending=descending)
        page = queries.children(
            folder_for(request, folder_id),
            sort=sort,
            descending=descending,
            place=decode_page(query["cursor"], of),
            limit=query["limit"],
        )
        return Response(
            {
                "items": [journal.state_of(item) for item in page.items],
                "next_cursor": encode_page(page.next_place, of),
            }
        )


class PathView(APIView):
    """/folders/{id}/path"""

    @extend_schema(
        summary="The folders from the root down to this one",
        parameters=[FOLDER_ID],
        responses=schemas.answers(schemas.FolderPath, NotFound),
    )
    def get(self, request: Request, folder_id: UUID | None) -> Response:
        line = queries.path_of(folder_for(request, folder_id))
        return Response({"items": [journal.state_of(folder) for folder in line]})


def _without_key(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "op_id"}


def run_single(request: Request, body: dict[str, Any], name: str, **more: Any) -> Response:
    """Carry out one operation on the tree and answer with its item."""
    operation = Operation(name, {**_without_key(body), **more})
    answer = write_once(
        request, body, operation.identity, lambda: operation.write(device_of(request))
    )
    return state_response(answer.body["item"], answer.status)


urlpatterns = [
    path("folders", FoldersView.as_view()),
    path("folders/<folder:folder_id>", FolderView.as_view()),
    path("folders/<folder:folder_id>/children", ChildrenView.as_view()),
    path("folders/<folder:folder_id>/path", PathView.as_view()),
]
