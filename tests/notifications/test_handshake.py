"""What a request shows, before anybody is asked about it."""

import pytest

from drive_project.common.errors import NotAuthenticated, PermissionDenied
from notifications.handshake import Credentials, credentials_of, is_own_origin


def scope(**headers):
    return {"headers": [(name.encode(), value.encode()) for name, value in headers.items()]}


@pytest.mark.parametrize(
    ("origin", "host", "is_own"),
    [
        ("http://localhost:8000", "localhost:8000", True),
        # A proxy in front ended TLS.
        ("https://localhost", "localhost", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("http://LOCALHOST:8000", "localhost:8000", True),
        ("http://localhost:8001", "localhost:8000", False),
        ("http://localhost", "localhost:8000", False),
        ("http://localhost.evil.example", "localhost", False),
        ("http://user@localhost", "localhost", False),
        ("ftp://localhost", "localhost", False),
        ("localhost", "localhost", False),
        ("null", "localhost", False),
        ("", "", False),
        ("http://[", "localhost", False),
        # The name of a host that is not ours, made to point at us: the two agree.
        ("http://rebound.example", "rebound.example", False),
    ],
)
def test_only_our_own_pages_are_of_our_origin(settings, origin, host, is_own):
    settings.ALLOWED_HOSTS = ["localhost", "[::1]"]
    assert is_own_origin(origin, host=host) is is_own


def test_the_public_address_is_ours_whatever_host_a_proxy_names(settings):
    settings.CSRF_TRUSTED_ORIGINS = ["https://drive.example"]
    assert is_own_origin("https://drive.example", host="10.0.0.1:8000")
    assert not is_own_origin("http://drive.example", host="10.0.0.1:8000")


def test_with_a_token_cookies_and_origins_are_not_looked_at():
    asked = scope(authorization="bearer abc", cookie="sessionid=xyz", origin="http://evil.example")
    assert credentials_of(asked, must_name_origin=True) == Credentials(token="abc")


def test_a_session_needs_our_origin(settings):
    settings.ALLOWED_HOSTS = ["localhost"]
    shown = {"cookie": "theme=dark; sessionid=xyz", "host": "localhost"}
    expected = Credentials(session_key="xyz")

    own = scope(**shown, origin="http://localhost")
    assert credentials_of(own, must_name_origin=True) == expected
    assert credentials_of(scope(**shown), must_name_origin=False) == expected
    with pytest.raises(PermissionDenied):
        credentials_of(scope(**shown), must_name_origin=True)
    with pytest.raises(PermissionDenied):
        credentials_of(scope(**shown, origin="http://evil.example"), must_name_origin=False)


@pytest.mark.parametrize(
    "headers",
    [{}, {"cookie": "sessionid="}, {"cookie": ";;="}, {"authorization": "Bearer"},
     {"authorization": "Bearer   "}, {"authorization": "Token abc"}],
)  # fmt: skip
def test_nothing_shown_is_no_sign_in(headers):
    with pytest.raises(NotAuthenticated):
        credentials_of(scope(**headers), must_name_origin=False)
