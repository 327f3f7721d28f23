"""Requests about many things at once: a bad item leaves the others standing."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from drf_spectacular.utils import PolymorphicProxySerializer
from rest_framework import serializers
from rest_framework.request import Request

from drive_project.common.errors import DriveError
from files.api import content_schemas as shapes
from files.api import schemas
from files.api.items import ItemsRequest, parsed, problem_result

R = TypeVar("R")


def items_of(request: Request) -> list[Any] | None:
    """The items of a batch; None for a single one."""
    if isinstance(request.data, dict) and "items" in request.data:
        items: list[Any] = parsed(ItemsRequest, request.data)["items"]
        return items
    return None


def results_of(
    items: Sequence[Any],
    shape: type[serializers.Serializer[Any]],
    carry_out: Callable[[Mapping[int, dict[str, Any]]], Sequence[R | DriveError]],
    shown: Callable[[dict[str, Any], R], dict[str, Any]],
) -> list[dict[str, Any]]:
    """For each item of a batch its result, in order.

    carry_out: gets the checked fields of the items that have the right shape, by index, and
    answers in that order. shown: of an item's fields and its result the JSON.
    """
    serializer = shape()
    answers: list[dict[str, Any]] = [{}] * len(items)
    good: dict[int, dict[str, Any]] = {}
    for index, item in enumerate(items):
        try:
            good[index] = serializer.run_validation(item)
        except (serializers.ValidationError, DriveError) as error:
            answers[index] = problem_result(error)
    for index, result in zip(good, carry_out(good), strict=True):
        answers[index] = (
            problem_result(result) if isinstance(result, DriveError) else shown(good[index], result)
        )
    return answers


def one_or_many(name: str, one: Any, many: Any) -> PolymorphicProxySerializer:
    """In the OpenAPI document: a single one or a batch."""
    return PolymorphicProxySerializer(
        component_name=name, serializers=[one, many], resource_type_field_name=None
    )


def results_shape(name: str, shape: type[schemas.Shape]) -> Any:
    """In the OpenAPI document, the answer to a batch: for each item its result or its problem."""
    result = PolymorphicProxySerializer(
        component_name=f"{name}Result",
        serializers=[shape, shapes.Refused],
        resource_type_field_name=None,
        many=True,
    )
    return type(f"{name}Results", (schemas.Shape,), {"items": result})
