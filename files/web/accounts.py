"""How people sign in to the pages: allauth with our own rules."""

import re

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest, HttpResponseBase

from files.models import User
from files.services import devices

# As browsers call themselves, the more special first: Edge says that it is Chrome, too.
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("Firefox", "Firefox"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone|iPad", "iOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """Registration is closed: an administrator makes the accounts."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def post_login(self, request: HttpRequest, user: User, **details: object) -> HttpResponseBase:
        """Give the browser a name, so that people know it again among their devices."""
        name_browser(request, user)
        answer: HttpResponseBase = super().post_login(request, user, **details)
        return answer


def name_browser(request: HttpRequest, user: User) -> None:
    """Call a signed-in browser by what it says of itself: "Firefox on Linux"."""
    session_key = request.session.session_key
    if session_key is None:
        return
    device = devices.browser_device(user, session_key)
    name = browser_name(request.headers.get("User-Agent", ""))
    devices.rename_device(user=user, device_id=device.pk, name=name)


def browser_name(user_agent: str) -> str:
    """A name for a browser out of its User-Agent header; "Browser" where that says nothing."""
    browser = next((name for mark, name in _BROWSERS if f"{mark}/" in user_agent), "Browser")
    system = next((name for mark, name in _SYSTEMS if re.search(mark, user_agent)), "")
    return f"{browser} on {system}" if system else browser
