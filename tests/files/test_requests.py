"""What comes in is bounded; what goes out is a problem document of the closed list."""

import re

import pytest
from django.conf import settings
from django.db import OperationalError
from django.test import Client

from drive_project.common import errors
from drive_project.common.parsing import parse_json
from files import queries
from tests.files.answers import names, problem

pytestmark = pytest.mark.django_db


def nested(depth):
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nul",
        b"\xff",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5_000 + b"}",
        b'{"a": "\x00"}',
        b'{"\\u0000": 1}',
        b'{"\\ud800": 1}',
        b'[{"a": {"\\udfff": 1}}]',
        b'{"name": ' + nested(33) + b"}",
        nested(100_000),
        b'{"a":' * 100_000,
        b"'a'",
        b"{} {}",
    ],
)
def test_what_is_no_json_is_refused(api, laptop, body):
    problem(api(laptop).post("/folders", body), 400, "invalid-request")


@pytest.mark.parametrize("body", [b"[]", b"1", b'"a"', b"null", nested(32)])
def test_json_that_is_no_object_is_refused(api, laptop, body):
    problem(api(laptop).post("/folders", body), 400, "invalid-request")


def test_the_parser_takes_what_json_allows():
    assert parse_json(b'{"a": 1, "a": 2}') == {"a": 2}
    assert parse_json(b'{"a": "\\u0000\\ud83d\\ude00"}') == {"a": "\0😀"}
    assert parse_json(nested(settings.MAX_JSON_DEPTH)) is not None
    assert parse_json(b'{"a": 123456789012345678901234567890}')["a"] > 2**64


def test_a_body_of_4_mib_is_read_and_one_byte_more_is_not(api, laptop, root):
    head = b'{"name": "a", "parent_folder_id": "' + root["folder_id"].encode() + b'"}'
    filler = b" " * (settings.MAX_JSON_BYTES - len(head))

    assert api(laptop).post("/folders", head + filler).status_code == 201
    problem(api(laptop).post("/folders", head + filler + b" "), 413, "too-large")


def test_an_unknown_field_is_named_and_not_ignored(api, laptop, root):
    body = {"parent_folder_id": root["folder_id"], "name": "a", "colour": "red"}
    refused = problem(api(laptop).post("/folders", body), 400, "invalid-request")

    assert refused["errors"] == {"colour": ["Unknown field."]}
    assert names(api(laptop).get("/folders/root/children")) == []


def test_many_errors_are_not_all_repeated(api, laptop):
    body = {f"field {index}": 1 for index in range(1_000)}
    refused = problem(api(laptop).post("/folders", body), 400, "invalid-request")

    assert len(refused["errors"]) == 50


def test_an_address_that_does_not_exist_is_a_problem_too(api, laptop):
    for path in ("/nowhere", "/folders/not-an-id", "/files/00000000"):
        problem(api(laptop).get(path), 404, "not-found")


def test_another_method_is_told_which_ones_there_are(api, laptop):
    answer = api(laptop).put("/folders/root", {})

    problem(answer, 405, "method-not-allowed")
    assert {"GET", "PATCH", "DELETE"} <= set(answer["Allow"].split(", "))


def test_other_media_types_are_refused(api, laptop, root):
    client = Client(headers=api(laptop)._headers)
    answer = client.post("/api/v1/folders", "name=a", "application/x-www-form-urlencoded")
    problem(answer, 415, "unsupported-media-type")

    answer = client.get("/api/v1/folders/root", headers={"accept": "text/html"})
    problem(answer, 406, "not-acceptable")


def test_a_busy_database_is_for_later(api, laptop, monkeypatch):
    def locked(user):
        raise OperationalError("database is locked")

    monkeypatch.setattr(queries, "own_root", locked)
    answer = api(laptop).get("/folders/root")

    problem(answer, 503, "service-unavailable")
    assert int(answer["Retry-After"]) > 0


def test_our_own_fault_is_a_500_that_tells_nothing(api, laptop, monkeypatch):
    def broken(user):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(queries, "own_root", broken)
    client = Client(raise_request_exception=False, headers=api(laptop)._headers)
    answer = client.get("/api/v1/folders/root")

    problem(answer, 500, "internal-error")
    assert b"secret" not in answer.content


def test_every_code_of_the_registry_is_explained(client):
    registry = errors.all_errors()

    assert len({error.code for error in registry}) == len(registry)
    for error in registry:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", error.code)
        answer = client.get(f"/problems/{error.code}")
        assert answer.status_code == 200
        assert error.title in answer.content.decode()
    assert client.get("/problems/no-such-code").status_code == 404


def test_moments_and_ids_are_spelled_as_the_protocol_says(root):
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", root["created_at"])
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", root["folder_id"])
