"""Signing in and out, being recognised, being revoked."""

import pytest
from django.test import Client

from drive_project.common.tokens import token_digest
from files import events
from files.models import DeviceKind, User, UserDevice
from files.services import devices
from tests.files.answers import names, problem
from tests.people import PASSWORD, new_device

pytestmark = pytest.mark.django_db

ALICE = {"email": "alice@example.com", "password": PASSWORD, "name": "desk"}


def sign_in(api, **changed):
    return api(None).post("/devices/sign-in", {**ALICE, **changed})


def account(token):
    return Client().get("/api/v1/account", headers={"authorization": f"Bearer {token}"})


def test_a_device_signs_in_and_is_known(api, alice):
    answer = sign_in(api, platform="linux", client_version="1.0", email="Alice@Example.com")

    assert answer.status_code == 201
    found = answer.json()
    assert (found["user_id"], found["email"]) == (str(alice.pk), "alice@example.com")
    device = UserDevice.objects.get()
    assert (device.name, device.platform, device.kind) == ("desk", "linux", DeviceKind.SYNC)
    # The token itself is kept by the device alone.
    assert device.token_digest == token_digest(found["token"])
    assert account(found["token"]).json()["device_id"] == found["device_id"]


def test_an_account_tells_quota_and_root(api, alice, laptop):
    alice.storage_account.limit_bytes = 100
    alice.storage_account.save()

    root = api(laptop).get("/folders/root").json()
    assert api(laptop).get("/account").json() == {
        "user_id": str(alice.pk),
        "email": "alice@example.com",
        "is_staff": False,
        "used_bytes": 0,
        "reserved_bytes": 0,
        "quota_bytes": 100,
        "keep_all_versions_days": 30,
        "keep_daily_versions_days": 365,
        "root_namespace_id": root["namespace_id"],
        "root_folder_id": root["folder_id"],
        "device_id": str(laptop.pk),
    }


@pytest.mark.parametrize("why", ["wrong password", "unknown", "switched off"])
def test_a_refused_sign_in_does_not_say_why(api, alice, why):
    if why == "switched off":
        alice.is_active = False
        alice.save()
    answer = sign_in(
        api,
        **({"password": "wrong"} if why == "wrong password" else {}),
        **({"email": "nobody@example.com"} if why == "unknown" else {}),
    )

    refused = problem(answer, 401, "not-authenticated")
    assert refused["detail"] == "The e-mail address or the password is wrong."
    assert answer["WWW-Authenticate"] == 'Bearer realm="drive"'


def test_an_unknown_address_costs_a_hash_too(api, alice, monkeypatch):
    hashed: list[str] = []
    monkeypatch.setattr("files.services.devices.make_password", hashed.append)
    sign_in(api, email="nobody@example.com", password="guess")

    assert hashed == ["guess"]


def test_a_guesser_is_stopped_before_the_password_is_looked_at(api, alice, bob, monkeypatch):
    for _ in range(9):
        problem(sign_in(api, password="guess"), 401, "not-authenticated")
    # Right ones do not count.
    for _ in range(3):
        assert sign_in(api).status_code == 201
    problem(sign_in(api, password="guess"), 401, "not-authenticated")

    monkeypatch.setattr(User, "check_password", None)  # must not be reached
    answer = sign_in(api)
    refused = problem(answer, 429, "too-many-requests")
    assert 0 < refused["retry_after_seconds"] <= devices.SIGN_IN_WINDOW_SECONDS
    assert answer["Retry-After"] == str(refused["retry_after_seconds"])
    problem(sign_in(api, email="ALICE@example.com"), 429, "too-many-requests")
    monkeypatch.undo()
    # Somebody else, and Alice from elsewhere, are not hindered.
    assert sign_in(api, email="bob@example.com").status_code == 201
    elsewhere = Client(REMOTE_ADDR="192.0.2.7").post(
        "/api/v1/devices/sign-in", ALICE, content_type="application/json"
    )
    assert elsewhere.status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": "a\0b@example.com"},
        {"password": None},
        {"name": "x" * 101},
        {"password": "x" * 1_001},
        {"name": "\ud800"},
    ],
)
def test_a_sign_in_has_a_shape(api, alice, body):
    answer = api(None).post("/devices/sign-in", {**ALICE, **body} if body else {})

    problem(answer, 400, "invalid-request")


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "Bearer x", "Basic YTpi", "Bearer " + "x" * 300, "x"]
)
def test_what_is_no_token_is_refused(laptop, header):
    answer = Client().get("/api/v1/account", headers={"authorization": header})

    problem(answer, 401, "not-authenticated")


def test_without_a_sign_in_there_is_nothing(api):
    answer = api(None).get("/account")

    problem(answer, 401, "not-authenticated")
    assert answer["WWW-Authenticate"] == 'Bearer realm="drive"'


def test_a_switched_off_person_is_signed_out(api, alice, laptop):
    alice.is_active = False
    alice.save()

    problem(api(laptop).get("/account"), 401, "not-authenticated")


def test_own_devices_are_listed_and_renamed(api, laptop, phone, stranger):
    answer = api(laptop).patch(f"/devices/{phone.pk}", {"name": "new phone"})

    assert answer.json()["name"] == "new phone"
    found = {item["name"]: item for item in api(laptop).get("/devices").json()["items"]}
    assert found.keys() == {"laptop", "new phone"}
    assert [found[name]["is_this"] for name in ("laptop", "new phone")] == [True, False]
    assert found["laptop"]["last_seen_at"] is not None
    assert found["laptop"]["is_online"] is False


def test_a_revoked_device_is_out_at_once(api, laptop, phone):
    assert api(laptop).delete(f"/devices/{phone.pk}").status_code == 204

    problem(api(phone).get("/account"), 401, "not-authenticated")
    assert names(api(laptop).get("/devices")) == ["laptop"]
    problem(api(laptop).delete(f"/devices/{phone.pk}"), 404, "not-found")


def test_devices_come_in_pages(api, alice, laptop, phone):
    new_device(alice, "tablet")
    whole = names(api(laptop).get("/devices"))
    seen, cursor = [], None
    while cursor is not None or not seen:
        answer = api(laptop).get("/devices", limit=2, cursor=cursor)
        seen += names(answer)
        cursor = answer.json()["next_cursor"]

    assert seen == whole == ["tablet", "phone", "laptop"]
    problem(api(laptop).get("/devices", cursor="x"), 400, "invalid-cursor")


@pytest.fixture
def without_redis(settings):
    settings.REDIS_URL = settings.EVENTS_REDIS_URL = "redis://127.0.0.1:1"
    events._client.cache_clear()
    yield
    events._client.cache_clear()


@pytest.mark.django_db(transaction=True)
def test_a_device_is_revoked_and_renamed_also_without_redis(api, laptop, phone, without_redis):
    """Its open connection is closed by the check that comes by; its next request at once."""
    renamed = api(laptop).patch(f"/devices/{laptop.pk}", {"name": "desk"})
    assert (renamed.status_code, renamed.json()["is_online"]) == (200, False)
    assert api(laptop).delete(f"/devices/{phone.pk}").status_code == 204

    problem(api(phone).get("/account"), 401, "not-authenticated")
    assert names(api(laptop).get("/devices")) == ["desk"]


def test_a_device_signs_out(api, laptop, phone):
    assert api(phone).delete("/devices/this").status_code == 204

    problem(api(phone).get("/account"), 401, "not-authenticated")
    assert api(laptop).get("/account").status_code == 200


def test_a_stranger_touches_no_device(api, laptop, stranger):
    problem(api(stranger).patch(f"/devices/{laptop.pk}", {"name": "x"}), 404, "not-found")
    problem(api(stranger).delete(f"/devices/{laptop.pk}"), 404, "not-found")
    assert api(laptop).get("/account").status_code == 200


def test_being_seen_costs_a_write_a_minute(api, laptop, django_assert_num_queries):
    api(laptop).get("/limits")

    # Only the look at the token.
    with django_assert_num_queries(1):
        api(laptop).get("/limits")


@pytest.fixture
def browser(alice):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def test_a_browser_session_is_a_device(browser, alice):
    first = browser.get("/api/v1/account").json()

    assert browser.get("/api/v1/account").json() == first
    device = UserDevice.objects.get()
    assert (str(device.pk), device.kind) == (first["device_id"], DeviceKind.BROWSER)


def test_a_browser_proves_each_write(browser, alice):
    body = {"parent_folder_id": "0" * 32, "name": "x"}
    for options in ({}, {"headers": {"x-csrftoken": "x" * 32}}):
        answer = browser.post("/api/v1/folders", body, "application/json", **options)
        problem(answer, 403, "permission-denied")

    token = "t" * 32
    browser.cookies["csrftoken"] = token
    answer = browser.post(
        "/api/v1/folders", body, "application/json", headers={"x-csrftoken": token}
    )
    problem(answer, 404, "not-found")
    answer = browser.post(
        "/api/v1/folders",
        body,
        "application/json",
        headers={"x-csrftoken": token, "origin": "https://evil.example"},
    )
    problem(answer, 403, "permission-denied")


def test_a_bad_token_is_not_rescued_by_a_session(browser):
    answer = browser.get("/api/v1/account", headers={"authorization": "Bearer x"})

    problem(answer, 401, "not-authenticated")


def test_a_revoked_browser_is_out_though_its_cookie_lives(api, browser, laptop):
    device_id = browser.get("/api/v1/account").json()["device_id"]
    api(laptop).delete(f"/devices/{device_id}")

    problem(browser.get("/api/v1/account"), 401, "not-authenticated")


def test_a_browser_signs_out_of_its_session(browser, alice):
    token = "t" * 32
    browser.cookies["csrftoken"] = token
    browser.get("/api/v1/account")
    answer = browser.delete("/api/v1/devices/this", headers={"x-csrftoken": token})

    assert answer.status_code == 204
    problem(browser.get("/api/v1/account"), 401, "not-authenticated")


def test_a_session_key_is_no_bearer_token(browser, alice):
    key = browser.session.session_key
    browser.get("/api/v1/account")

    for token in (key, f"session:{key}"):
        problem(account(token), 401, "not-authenticated")


def test_conflicting_names_of_devices_are_fine(api, alice):
    new_device(alice, "same")

    assert sign_in(api, name="same").status_code == 201
