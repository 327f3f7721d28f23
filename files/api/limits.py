"""Every limit, so that no client has to find one by running into it."""

from django.conf import settings
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from blocks import service as block_service
from files import idempotency, journal, names
from files.api import changes, items, schemas
from files.services import devices


class LimitsView(APIView):
    """/limits"""

    @extend_schema(summary="All limits", responses=schemas.answers(schemas.LimitsShape))
    def get(self, request: Request) -> Response:
        return Response(
            {
                "max_name_bytes": names.MAX_NAME_BYTES,
                "max_json_bytes": settings.MAX_JSON_BYTES,
                "max_json_depth": settings.MAX_JSON_DEPTH,
                "max_batch_items": items.MAX_BATCH,
                "default_page_items": items.DEFAULT_PAGE,
                "max_page_items": items.MAX_PAGE,
                "max_changes": changes.MAX_CHANGES,
                "min_block_bytes": block_service.MIN_BLOCK_BYTES,
                "max_block_bytes": block_service.MAX_BLOCK_BYTES,
                "max_pack_bytes": block_service.MAX_PACK_BYTES,
                "pack_below_bytes": block_service.PACK_BELOW_BYTES,
                "max_blocks_per_request": block_service.MAX_BLOCKS_PER_CALL,
                "max_urls_per_request": block_service.MAX_URLS_PER_CALL,
                "upload_seconds": int(settings.UPLOAD_LIFETIME.total_seconds()),
                "trash_seconds": int(settings.TRASH_RETENTION.total_seconds()),
                "journal_seconds": int(journal.KEPT_FOR.total_seconds()),
                "idempotency_seconds": int(idempotency.KEPT_FOR.total_seconds()),
                "max_wrong_sign_ins": devices.MAX_WRONG_SIGN_INS,
                "sign_in_window_seconds": devices.SIGN_IN_WINDOW_SECONDS,
            }
        )


urlpatterns = [path("limits", LimitsView.as_view())]
