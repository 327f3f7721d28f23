"""Errors as `application/problem+json` (RFC 9457), from one closed registry of codes.

`exception_handler` is DRF's; the functions at the end are Django's handlers for what fails
before a view is reached or while it runs.
"""

import logging
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.views import defaults
from redis.exceptions import RedisError
from rest_framework import exceptions
from rest_framework.response import Response

from drive_project.common.errors import (
    DriveError,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotAcceptable,
    NotAuthenticated,
    NotFound,
    PermissionDenied,
    ServiceUnavailable,
    TooLarge,
    TooManyRequests,
    UnsupportedMediaType,
    all_errors,
)
from drive_project.common.rendering import to_json

MEDIA_TYPE = "application/problem+json"
# More would help nobody: whoever sends a thousand wrong fields has one mistake.
MAX_FIELD_ERRORS = 50
RETRY_AFTER_FAULT_SECONDS = 2

logger = logging.getLogger(__name__)


def problem_of(error: DriveError) -> dict[str, Any]:
    """The problem document of an error, also for one item of a batch."""
    return {
        "type": f"/problems/{error.code}",
        "title": error.title,
        "status": error.status,
        "code": error.code,
        "detail": error.detail,
        **error.extra,
    }


def _leaves(detail: Any, path: str) -> Iterator[tuple[str, str]]:
    match detail:
        case dict():
            for key, inner in detail.items():
                is_general = key == "non_field_errors"
                yield from _leaves(inner, path if is_general else f"{path}.{key}".lstrip("."))
        case list():
            for index, inner in enumerate(detail):
                # A list of texts belongs to its field; other lists are items by number.
                is_text = isinstance(inner, str)
                yield from _leaves(inner, path if is_text else f"{path}.{index}".lstrip("."))
        case _:
            yield path, str(detail)


def invalid_fields(detail: Any) -> InvalidRequest:
    """DRF's validation errors, flat: {"blocks.3.size_bytes": ["…"]}; "" is the whole body."""
    errors: dict[str, list[str]] = {}
    for path, message in _leaves(detail, ""):
        if path not in errors and len(errors) == MAX_FIELD_ERRORS:
            break
        errors.setdefault(path, []).append(message)
    named = ", ".join(path for path in errors if path)
    return InvalidRequest(
        f"Not valid: {named}." if named else " ".join(errors.get("", [])), errors=errors
    )


def drive_error_of(error: Exception) -> DriveError | None:
    """The error of the registry that says the same; None for one nobody foresaw."""
    match error:
        case DriveError():
            return error
        case exceptions.ValidationError():
            return invalid_fields(error.detail)
        case exceptions.ParseError():
            return InvalidRequest(str(error.detail))
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return NotAuthenticated(str(error.detail))
        case exceptions.PermissionDenied():
            return PermissionDenied(str(error.detail))
        case exceptions.MethodNotAllowed():
            return MethodNotAllowed(str(error.detail))
        case exceptions.NotAcceptable():
            return NotAcceptable(str(error.detail))
        case exceptions.UnsupportedMediaType():
            return UnsupportedMediaType(str(error.detail))
        case exceptions.Throttled():
            return TooManyRequests(retry_after_seconds=int(getattr(error, "wait", None) or 1))
        case Http404() | exceptions.NotFound():
            return NotFound()
        case DjangoPermissionDenied():
            return PermissionDenied()
        case RequestDataTooBig():
            return TooLarge()
        case SuspiciousOperation():
            return InvalidRequest("The request is malformed.")
        case OperationalError() | RedisError():
            # The database is busy, restarting, or chose us to end a deadlock: the
            # transaction is gone whole, so the same request may simply come again.
            logger.error("a part of the service failed", exc_info=error)
            return ServiceUnavailable(retry_after_seconds=RETRY_AFTER_FAULT_SECONDS)
    return None


def _headers(error: DriveError) -> dict[str, str]:
    headers: dict[str, str] = {}
    if isinstance(error, NotAuthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="drive"'
    if "retry_after_seconds" in error.extra:
        headers["Retry-After"] = str(error.extra["retry_after_seconds"])
    return headers


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's handler: what is no known error rises, is logged with its traceback, and is a 500."""
    known = drive_error_of(error)
    if known is None:
        return None
    headers = _headers(known)
    if isinstance(known, MethodNotAllowed):
        headers["Allow"] = ", ".join(context["view"].allowed_methods)
    return Response(
        problem_of(known), status=known.status, headers=headers, content_type=MEDIA_TYPE
    )


def problem_response(error: DriveError) -> HttpResponse:
    """The same document outside DRF."""
    return HttpResponse(
        to_json(problem_of(error)),
        status=error.status,
        headers=_headers(error),
        content_type=MEDIA_TYPE,
    )


def _is_for_programs(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """handler400: a problem document under /api/, Django's page elsewhere."""
    if _is_for_programs(request):
        known = drive_error_of(exception) or InvalidRequest()
        return problem_response(known)
    return defaults.bad_request(request, exception)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """handler403."""
    if _is_for_programs(request):
        return problem_response(PermissionDenied())
    return defaults.permission_denied(request, exception)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """handler404."""
    if _is_for_programs(request):
        return problem_response(NotFound("There is no such address."))
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponseBase:
    """handler500. Django has logged the traceback by now."""
    if _is_for_programs(request):
        return problem_response(InternalError())
    return defaults.server_error(request)


def problem_page(request: HttpRequest, code: str) -> HttpResponse:
    """GET /problems/CODE: what a code means, for the person who follows the `type` of a problem."""
    for error in all_errors():
        if error.code == code:
            return HttpResponse(
                f"{error.title}\n\nstatus {error.status}, code {error.code}\n",
                content_type="text/plain; charset=utf-8",
            )
    raise Http404
