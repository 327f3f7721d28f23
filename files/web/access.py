"""Who may see a page: every view that shows something of a person goes through here."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, cast
from uuid import UUID

from django.contrib.auth import logout
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase

from drive_project.common.errors import InvalidRequest, NotAuthenticated, NotFound
from files.models import User, UserDevice
from files.services import devices


def id_in(text: str) -> UUID:
    """The id that an address names. Raises NotFound: what is none leads nowhere."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFound from None


class DeviceRequest(HttpRequest):
    """A request of a signed-in person; `device` is their browser."""

    user: User
    device: UserDevice


Page = Callable[Concatenate[DeviceRequest, ...], HttpResponseBase]


def signed_in(page: Page) -> Callable[..., HttpResponseBase]:
    """The page for a signed-in person; the sign-in page for everybody else.

    A browser whose device was revoked is signed out. What is not the person's is 404, what cannot
    be meant is 400.
    """

    @wraps(page)
    def checked(request: HttpRequest, **arguments: Any) -> HttpResponseBase:
        user = request.user
        session_key = request.session.session_key
        if not isinstance(user, User) or session_key is None:
            return redirect_to_login(request.get_full_path())
        known = cast(DeviceRequest, request)
        try:
            known.device = devices.browser_device(user, session_key)
        except NotAuthenticated:
            logout(request)
            return redirect_to_login(request.get_full_path())
        try:
            answer = page(known, **arguments)
        except NotFound:
            raise Http404 from None
        except InvalidRequest as error:
            raise BadRequest(str(error)) from None
        if isinstance(answer, HttpResponse):
            # A page holds names and revisions: after signing out, "back" must not show them.
            answer.headers.setdefault("Cache-Control", "private, no-store")
        return answer

    return checked
