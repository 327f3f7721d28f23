"""Signed URLs: S3's are botocore's to the letter; ours cannot be changed."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from blocks.locations import block_location, is_location, pack_location
from blocks.presign import LocalPresigner, LocalRequest, S3Presigner
from blocks.storage import get_headers, put_headers
from drive_project.common.errors import InvalidUrl
from drive_project.common.ids import new_id

NOW = datetime(2026, 3, 1, 23, 59, 58, tzinfo=UTC)
HASH = "0f" * 32
LOCATION = block_location(HASH, new_id())


@pytest.mark.parametrize("endpoint", ["https://s3.example.com", "http://10.0.0.7:9000/gateway"])
@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("PUT", put_headers(4_194_304, HASH)),
        ("GET", get_headers(None, None)),
        ("GET", get_headers(17, 4_711)),
    ],
    ids=["put", "get", "get-range"],
)
@pytest.mark.parametrize("key", [LOCATION, "a key/with ~ and ü+&"])
def test_s3_signatures_are_those_of_botocore(
    monkeypatch: pytest.MonkeyPatch,
    endpoint: str,
    method: str,
    headers: Mapping[str, str],
    key: str,
) -> None:
    access_key, secret_key = "AKIA/EXAMPLE", "secret/with+signs"
    presigner = S3Presigner(
        endpoint=endpoint,
        bucket="drive-blocks",
        region="eu-central-1",
        access_key=access_key,
        secret_key=secret_key,
    )
    ours = presigner.sign(method, key, now=NOW, lifetime=timedelta(seconds=900), headers=headers)

    monkeypatch.setattr(auth, "get_current_datetime", lambda *args, **kwargs: NOW)
    request = AWSRequest(method=method, url=ours.partition("?")[0], headers=dict(headers))
    auth.S3SigV4QueryAuth(
        Credentials(access_key, secret_key), "s3", "eu-central-1", expires=900
    ).add_auth(request)

    assert ours == request.url


PRESIGNER = LocalPresigner("the key of the tests")
PUT = LocalRequest("PUT", LOCATION, NOW + timedelta(minutes=15), size_bytes=17, sha256=HASH)
GET = LocalRequest("GET", LOCATION, NOW + timedelta(minutes=5), start=3, length=9)


def query_of(request: LocalRequest) -> str:
    return PRESIGNER.sign(request).partition("?")[2]


@pytest.mark.parametrize("request_", [PUT, GET], ids=["put", "get"])
def test_a_url_says_what_was_signed(request_: LocalRequest) -> None:
    read = PRESIGNER.read(request_.method, LOCATION, query_of(request_), now=NOW)

    assert read == request_


def test_a_url_is_good_until_its_end() -> None:
    PRESIGNER.read("PUT", LOCATION, query_of(PUT), now=PUT.expires_at - timedelta(seconds=1))
    with pytest.raises(InvalidUrl):
        PRESIGNER.read("PUT", LOCATION, query_of(PUT), now=PUT.expires_at)


def test_a_get_may_be_asked_for_as_head_and_nothing_else() -> None:
    assert PRESIGNER.read("HEAD", LOCATION, query_of(GET), now=NOW) == GET
    for method in ("PUT", "DELETE", "get", "POST"):
        with pytest.raises(InvalidUrl):
            PRESIGNER.read(method, LOCATION, query_of(GET), now=NOW)
    with pytest.raises(InvalidUrl):
        PRESIGNER.read("HEAD", LOCATION, query_of(PUT), now=NOW)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("size=17", "size=18"),
        ("size=17&", ""),
        (f"sha256={HASH}", "sha256=" + "0e" * 32),
        ("expires=", "expires=9"),
        ("expires=", "expires=&expires="),
        ("size=17", "size=17&size=18"),
        ("size=17", "size=17&start=0"),
        ("signature=", "signature=0"),
        ("signature=", "signature=%C3%BC"),
        ("signature=", "a=1&b=2&c=3&d=4&e=5&f=6&signature="),
    ],
)
def test_a_changed_url_is_refused(old: str, new: str) -> None:
    query = query_of(PUT)
    assert old in query

    with pytest.raises(InvalidUrl):
        PRESIGNER.read("PUT", LOCATION, query.replace(old, new, 1), now=NOW)


def test_a_url_is_good_for_one_location_and_one_server() -> None:
    with pytest.raises(InvalidUrl):
        PRESIGNER.read("PUT", block_location(HASH, new_id()), query_of(PUT), now=NOW)
    with pytest.raises(InvalidUrl):
        LocalPresigner("another key").read("PUT", LOCATION, query_of(PUT), now=NOW)
    with pytest.raises(ValueError, match="empty"):
        LocalPresigner("")


@given(query=st.text(max_size=300))
def test_no_query_is_right_by_chance(query: str) -> None:
    with pytest.raises(InvalidUrl):
        PRESIGNER.read("GET", LOCATION, query, now=NOW)


def test_locations_are_told_from_paths() -> None:
    assert is_location(LOCATION)
    assert is_location(pack_location(HASH, new_id()))
    for path in (
        "",
        "b",
        "../secret.key",
        f"b/0f/{HASH}/../../../secret.key",
        f"b/00/{HASH}/{new_id()}",
        f"c/0f/{HASH}/{new_id()}",
        f"b/0F/{HASH.upper()}/{new_id()}",
        f"b/0f/{HASH}/{new_id()}/",
        f"b/0f/{HASH}/{new_id()}\n",
        f"/b/0f/{HASH}/{new_id()}",
        f"incoming/{'0' * 32}",
    ):
        assert not is_location(path)
