"""Who is asking: a device with a bearer token, or a browser with a session."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from drive_project.common.errors import NotAuthenticated, PermissionDenied
from files.models import User, UserDevice
from files.services import devices

MAX_TOKEN_LENGTH = 200


class _CsrfCheck(CsrfViewMiddleware):
    """Django's check of the token and the origin, answering with the reason."""

    def _reject(self, request: HttpRequest, reason: str) -> HttpResponse:
        raise PermissionDenied(f"CSRF check failed: {reason}")


def _check_csrf(request: HttpRequest) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    check = _CsrfCheck(view)
    check.process_request(request)
    check.process_view(request, view, (), {})


class DeviceAuthentication(BaseAuthentication):
    """`request.user` is the person and `request.auth` their device.

    A bearer token is used alone: a browser that sends both is judged by the token, so a
    cookie cannot lend its rights to somebody else's header.
    """

    def authenticate(self, request: Request) -> tuple[User, UserDevice] | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme:
            token = token.strip()
            if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN_LENGTH:
                raise NotAuthenticated("Send Authorization: Bearer TOKEN.")
            device = devices.device_of_token(token)
            return device.user, device
        http_request = request._request
        user = http_request.user
        session_key = http_request.session.session_key
        if not isinstance(user, User) or not user.is_active or session_key is None:
            return None
        _check_csrf(http_request)
        return user, devices.browser_device(user, session_key)

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="drive"'


class DeviceAuthenticationScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the OpenAPI document names the two ways."""

    target_class = "files.api.authentication.DeviceAuthentication"
    name = ["deviceToken", "browserSession"]

    def get_security_requirement(self, auto_schema: Any) -> list[dict[str, list[str]]]:
        # A list: one of them is enough.
        return [{name: []} for name in self.name]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:
        return [
            {"type": "http", "scheme": "bearer", "description": "The token of a device."},
            {
                "type": "apiKey",
                "in": "cookie",
                "name": "sessionid",
                "description": "A signed-in browser; writes also send X-CSRFToken.",
            },
        ]
