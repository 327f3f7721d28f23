"""Conflicts: list them, read one, settle one."""

from uuid import UUID

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from drive_project.common.errors import (
    IdempotencyKeyReused,
    InvalidCursor,
    NotFound,
    PermissionDenied,
    PreconditionRequired,
    QuotaExceeded,
    StalePrecondition,
)
from files import queries
from files.api import schemas
from files.api.items import (
    IF_MATCH,
    PageQuery,
    WriteSerializer,
    decode_place,
    device_of,
    encode_place,
    idempotency_key,
    if_match,
    parsed,
    state_response,
)
from files.models import Settled
from files.queries import ConflictState
from files.services.conflicts import settle_conflict


class ConflictQuery(PageQuery):
    state = serializers.ChoiceField([state.value for state in ConflictState], required=False)


class SettleRequest(WriteSerializer):
    """`mine`: the copy's content. `theirs`: the file's own. `both`: the copy is renamed."""

    keep = serializers.ChoiceField([Settled.MINE, Settled.THEIRS, Settled.BOTH])


class ConflictsView(APIView):
    """/conflicts"""

    @extend_schema(
        operation_id="conflicts_list",
        summary="Conflicts, the newest first",
        description="A page may hold fewer items than `limit` though `next_cursor` is not null.",
        parameters=[ConflictQuery],
        responses=schemas.answers(schemas.ConflictPage, InvalidCursor),
    )
    def get(self, request: Request) -> Response:
        query = parsed(ConflictQuery, request.query_params)
        state = query.get("state")
        which = f"conflicts.{state or 'all'}"
        page = queries.conflicts_of(
            device_of(request).user,
            state=ConflictState(state) if state else None,
            after=decode_place(query["cursor"], which),
            limit=query["limit"],
        )
        return Response(
            {
                "items": [queries.state_of_conflict(found) for found in page.items],
                "next_cursor": encode_place(page.next_place, which),
            }
        )


class ConflictView(APIView):
    """/conflicts/{id}"""

    @extend_schema(
        summary="Read a conflict", responses=schemas.answers(schemas.ConflictShape, NotFound)
    )
    def get(self, request: Request, conflict_id: UUID) -> Response:
        found = queries.get_conflict(device_of(request).user, conflict_id)
        return state_response(queries.state_of_conflict(found))


class SettleView(APIView):
    """/conflicts/{id}/settle"""

    @extend_schema(
        summary="Settle a conflict",
        parameters=[IF_MATCH],
        request=SettleRequest,
        responses=schemas.answers(
            schemas.ConflictShape,
            NotFound,
            PermissionDenied,
            PreconditionRequired,
            StalePrecondition,
            QuotaExceeded,
            IdempotencyKeyReused,
        ),
    )
    def post(self, request: Request, conflict_id: UUID) -> Response:
        body = parsed(SettleRequest, request.data)
        answer = settle_conflict(
            device=device_of(request),
            conflict_id=conflict_id,
            keep=Settled(body["keep"]),
            rev=if_match(request),
            op_id=idempotency_key(request, body),
        )
        return state_response(answer.body, answer.status)


urlpatterns = [
    path("conflicts", ConflictsView.as_view()),
    path("conflicts/<uuid:conflict_id>", ConflictView.as_view()),
    path("conflicts/<uuid:conflict_id>/settle", SettleView.as_view()),
]
