"""The API over real HTTP: what each answer means, and what is tried again."""

import logging
import socket

import pytest

from sync_client.api import HttpApi, pause_before
from sync_client.errors import ApiProblem, LoginRevoked, NotDrive, Transient
from tests.sync_client.web import Answer, Web, problem

TOKEN = "token-that-nobody-may-see"


@pytest.fixture
def web():
    web = Web()
    yield web
    web.close()


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def api(web, pauses):
    api = HttpApi(web.url, TOKEN, sleep=pauses.append)
    yield api
    api.close()


def test_a_request_goes_below_the_api_with_the_token(web, api):
    web.answers[0] = Answer(body=b'{"used_bytes": 1}')

    assert api.request("GET", "/account", params={"a": "b c"}) == {"used_bytes": 1}

    (asked,) = web.asked
    assert asked.path == "/api/v1/account?a=b+c" or asked.path == "/api/v1/account?a=b%20c"
    assert asked.headers["Authorization"] == f"Bearer {TOKEN}"


def test_an_empty_answer_is_an_empty_document(web, api):
    web.answers[0] = Answer(204, b"")
    assert api.request("DELETE", "devices/this") == {}


def test_a_problem_document_becomes_its_code_with_its_data(web, api):
    web.answers[0] = problem(409, "missing-blocks", "2 of 3", block_hashes=["aa", "bb"])

    with pytest.raises(ApiProblem) as caught:
        api.request("POST", "files/upload/commit", json={"upload_id": "x"})

    assert (caught.value.status, caught.value.code) == (409, "missing-blocks")
    assert caught.value.detail == "2 of 3"
    assert caught.value.extra == {"block_hashes": ["aa", "bb"]}


def test_a_full_account_is_a_problem_and_not_worth_repeating(web, api):
    web.answers[0] = problem(507, "quota-exceeded", over_by_bytes=5)
    with pytest.raises(ApiProblem) as caught:
        api.request("GET", "account")
    assert caught.value.code == "quota-exceeded"
    assert len(web.asked) == 1


def test_a_revoked_token_means_to_sign_in_again(web, api):
    web.answers[0] = problem(401, "not-authenticated")
    with pytest.raises(LoginRevoked):
        api.request("GET", "account")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_trouble_is_tried_again_with_longer_pauses(web, api, pauses, status):
    web.answers.clear()
    web.answers += [Answer(status), Answer(status), Answer(body=b'{"ok": true}')]

    assert api.request("GET", "account") == {"ok": True}

    assert len(web.asked) == 3
    assert 0.15 <= pauses[0] <= 0.3 < 0.6 <= pauses[1] <= 1.2


def test_after_four_attempts_it_is_the_callers_turn(web, api, pauses):
    web.answers[0] = Answer(503)
    with pytest.raises(Transient):
        api.request("GET", "account")
    assert len(web.asked) == 4
    assert len(pauses) == 3


def test_a_long_pause_that_the_server_asks_for_is_the_callers_to_keep(web, api, pauses):
    web.answers[0] = problem(429, "too-many-requests", retry_after_seconds=60)
    with pytest.raises(Transient) as caught:
        api.request("GET", "account")
    assert caught.value.retry_after == 60
    assert len(web.asked) == 1
    assert pauses == []


@pytest.mark.parametrize(
    ("method", "path", "json", "attempts"),
    [
        ("POST", "folders", {"op_id": "1", "name": "x"}, 4),
        ("POST", "batch", {"items": [{"op_id": "1"}, {"op_id": "2"}]}, 4),
        ("POST", "batch", {"items": [{"op_id": "1"}, {}]}, 1),
        ("POST", "devices/sign-in", {"email": "a"}, 1),
        ("POST", "/changes", {"cursor": None}, 4),
        ("POST", "files/upload/commit", {"items": [{"upload_id": "u"}]}, 4),
        ("DELETE", "files/upload/u", None, 4),
        ("DELETE", "devices/this", None, 1),
        ("PATCH", "folders/f", {"name": "x"}, 1),
    ],
)
def test_only_what_may_be_done_twice_is_repeated(web, api, method, path, json, attempts):
    web.answers[0] = Answer(500)
    with pytest.raises(Transient):
        api.request(method, path, json=json)
    assert len(web.asked) == attempts


def test_an_idempotency_key_makes_a_write_repeatable(web, api):
    web.answers[0] = Answer(500)
    with pytest.raises(Transient):
        api.request("PATCH", "folders/f", json={"name": "x"}, headers={"Idempotency-Key": "k"})
    assert len(web.asked) == 4


def test_the_sign_in_page_of_a_hotel_is_no_server(web, api):
    web.answers[0] = Answer(200, b"<html>Welcome!</html>", {"Content-Type": "text/html"})
    with pytest.raises(Transient, match="did not come from a Drive server"):
        api.request("POST", "devices/sign-in", json={})


@pytest.mark.parametrize("status", [401, 403, 404, 511])
def test_a_refusal_without_a_problem_document_is_somebody_elses_and_passes(web, api, status):
    web.answers[0] = Answer(status, b"<html>no</html>", {"Content-Type": "text/html"})
    with pytest.raises(Transient):
        api.request("GET", "account")


def test_a_redirect_is_not_followed_and_never_gets_the_token(web, api):
    elsewhere = Web()
    web.answers[0] = Answer(302, b"", {"Location": f"{elsewhere.url}/api/v1/account"})

    with pytest.raises(NotDrive, match="redirect"):
        api.request("GET", "account")

    assert elsewhere.asked == []
    elsewhere.close()


def test_an_absent_server_is_a_passing_trouble_whose_text_has_no_address():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    api = HttpApi(url, TOKEN, sleep=lambda seconds: None)
    with pytest.raises(Transient) as caught:
        api.request("GET", "account")
    api.close()
    assert str(caught.value) == "The server cannot be reached."


def test_a_connection_that_breaks_in_the_middle_is_a_passing_trouble(web, api):
    web.answers[0] = Answer(body=b'{"used_bytes": 1}', is_cut=True)
    with pytest.raises(Transient, match="broke"):
        api.request("GET", "account")
    assert len(web.asked) == 4


def test_neither_token_nor_url_is_logged(web, api, caplog):
    with caplog.at_level(logging.DEBUG):
        api.request("GET", "account", params={"secret": "signature"})
    assert TOKEN not in caplog.text
    assert "signature" not in caplog.text


def test_a_closed_api_gives_up_at_once(web):
    api = HttpApi(web.url, TOKEN)
    api.close()
    with pytest.raises(Transient):
        api.request("GET", "account")


def test_pauses_double_up_to_a_limit():
    assert all(0.15 <= pause_before(2) <= 0.3 for _ in range(50))
    assert all(2.5 <= pause_before(9) <= 5 for _ in range(50))
