"""Who is asking: a device with its bearer token, or a browser with its session cookie."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import parse_cookie
from django.http.request import split_domain_port, validate_host

from drive_project.common.errors import NotAuthenticated, PermissionDenied
from files import public
from files.public import Session
from notifications.dispatch import Dispatcher

Scope = dict[str, Any]


def headers_of(scope: Scope) -> dict[str, str]:
    """The request's headers by lower-case name; the first of several counts."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return headers


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a connection has shown; asked again from time to time while it lasts."""

    token: str = ""
    session_key: str = ""

    async def sign_in(self, dispatcher: Dispatcher) -> Session | None:
        """The device that holds them now; None when it is signed out."""
        if self.token:
            return await dispatcher.sign_in_with_token(self.token)
        return await dispatcher.ask(public.sign_in_with_browser, self.session_key)


def credentials_of(scope: Scope, *, must_name_origin: bool) -> Credentials:
    """The credentials of a request. With a token, cookies are not looked at.

    Cookies are sent by a browser whoever's page asks, so they count only when the page's
    origin is ours. must_name_origin: a missing one is refused too (browsers name it for
    every WebSocket, but not for a request to a page's own site). Raises NotAuthenticated,
    PermissionDenied for a wrong origin.
    """
    headers = headers_of(scope)
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme:
        if scheme.lower() != "bearer" or not token.strip():
            raise NotAuthenticated("Send Authorization: Bearer TOKEN.")
        return Credentials(token=token.strip())
    session_key = parse_cookie(headers.get("cookie", "")).get(settings.SESSION_COOKIE_NAME, "")
    if not session_key:
        raise NotAuthenticated
    origin = headers.get("origin")
    if origin is None and must_name_origin:
        raise PermissionDenied("A browser has to name its origin.")
    if origin is not None and not is_own_origin(origin, host=headers.get("host", "")):
        raise PermissionDenied("This origin is not that of the server.")
    return Credentials(session_key=session_key)


def is_own_origin(origin: str, *, host: str) -> bool:
    """Whether a page of this origin is one of ours, given the Host that the request names."""
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    domain, _ = split_domain_port(host)
    # Either scheme: a proxy in front may have ended TLS. The host must be ours besides: a
    # name that somebody pointed at us agrees with itself.
    return origin.lower() in {
        f"http://{host}".lower(),
        f"https://{host}".lower(),
    } and validate_host(domain, settings.ALLOWED_HOSTS)
