"""Many operations on the tree in one request."""

from collections.abc import Mapping
from typing import Any

from django.urls import path
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from drive_project.common.errors import DriveError, InvalidRequest
from drive_project.common.problem import invalid_fields
from files.api import operations, schemas
from files.api.items import (
    BigIntegerField,
    ItemsRequest,
    device_of,
    item_keys,
    parsed,
    problem_result,
)
from files.api.operations import Operation
from files.services import batches
from files.services.batches import Step


class _Conditional(serializers.Serializer[Any]):
    if_match = BigIntegerField(required=False, min_value=0, help_text="Without it: 428.")


class CreateFolderItem(operations.CreateFolder):
    op = serializers.ChoiceField(["create_folder"])


class UpdateFolderItem(_Conditional, operations.UpdateFolder):
    op = serializers.ChoiceField(["update_folder"])
    folder_id = serializers.UUIDField()


class UpdateFileItem(_Conditional, operations.UpdateFile):
    op = serializers.ChoiceField(["update_file"])
    file_id = serializers.UUIDField()


class DeleteFolderItem(_Conditional, operations.DeleteFolder):
    op = serializers.ChoiceField(["delete_folder"])
    folder_id = serializers.UUIDField()


class DeleteFileItem(_Conditional, operations.DeleteFile):
    op = serializers.ChoiceField(["delete_file"])
    file_id = serializers.UUIDField()


class RestoreItem(operations.RestoreItem):
    op = serializers.ChoiceField(["restore"])
    item_id = serializers.UUIDField()


class DeleteForEverItem(operations.DeleteForEver):
    op = serializers.ChoiceField(["delete_for_ever"])
    item_id = serializers.UUIDField()


ITEMS: dict[str, type[serializers.Serializer[Any]]] = {
    "create_folder": CreateFolderItem,
    "update_folder": UpdateFolderItem,
    "update_file": UpdateFileItem,
    "delete_folder": DeleteFolderItem,
    "delete_file": DeleteFileItem,
    "restore": RestoreItem,
    "delete_for_ever": DeleteForEverItem,
}


class BatchShape(schemas.Shape):
    items = PolymorphicProxySerializer(
        component_name="BatchItem", serializers={**ITEMS}, resource_type_field_name="op", many=True
    )


class BatchView(APIView):
    """/batch"""

    @extend_schema(
        summary="Carry out operations on the tree, in order",
        request=BatchShape,
        responses=schemas.answers(schemas.BatchAnswer),
    )
    def post(self, request: Request) -> Response:
        body = parsed(ItemsRequest, request.data)
        default_key = item_keys(request)
        steps = [
            _step(request, item, default_key=default_key(index))
            for index, item in enumerate(body["items"])
        ]
        results = batches.run(device=device_of(request), steps=steps)
        return Response(
            {
                "items": [
                    problem_result(result)
                    if isinstance(result, DriveError)
                    else {"status": result.status, **result.body}
                    for result in results
                ]
            }
        )


def _step(request: Request, item: Any, *, default_key: str) -> Step | DriveError:
    name = item.get("op") if isinstance(item, Mapping) else None
    shape = ITEMS.get(name) if isinstance(name, str) else None
    if shape is None:
        known = ", ".join(ITEMS)
        return InvalidRequest(f"op is one of {known}.", errors={"op": [f"One of {known}."]})
    try:
        fields = parsed(shape, item)
    except serializers.ValidationError as error:
        return invalid_fields(error.detail)
    except DriveError as error:
        return error
    key = fields.pop("op_id", default_key)
    fields.pop("op")
    operation = Operation(str(name), fields)
    device = device_of(request)
    return Step(
        key=key,
        request=operation.identity,
        item_ids=operation.item_ids,
        write=lambda: operation.write(device),
        new_folder=operation.new_folder,
    )


urlpatterns = [path("batch", BatchView.as_view())]
