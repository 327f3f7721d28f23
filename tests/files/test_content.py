"""The whole content in one answer: ranges, validators, and headers that keep browsers safe."""

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from files.content import ByteRange, UnsatisfiableRange, attachment, parse_range
from tests.files.uploading import Uploader
from tests.people import PASSWORD

DATA = bytes(range(256)) * 9 + b"the end"


@pytest.fixture
def on_laptop(laptop):
    return Uploader(laptop)


@pytest.fixture
def file(on_laptop):
    return on_laptop.put(DATA, name="Bericht “März”.html", block_bytes=500)["file"]


@pytest.fixture
def get(api, laptop, file):
    def get(query="", **headers):
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return api(laptop)._send("GET", f"/files/{file['file_id']}/content{query}", headers=sent)

    return get


def body(answer):
    return b"".join(answer.streaming_content)


@pytest.mark.django_db
def test_content_comes_whole_as_an_attachment_that_nothing_runs(get, file):
    answer = get()

    assert answer.status_code == 200
    assert body(answer) == DATA
    assert answer["Content-Length"] == str(len(DATA))
    assert answer["ETag"] == f'"{file["current_version_id"]}"'
    assert answer["Accept-Ranges"] == "bytes"
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer["Content-Disposition"] == (
        'attachment; filename="Bericht _M_rz_.html"; '
        "filename*=UTF-8''Bericht%20%E2%80%9CM%C3%A4rz%E2%80%9D.html"
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=490-1510", 490, 1510),
        ("bytes=2300-", 2300, len(DATA) - 1),
        ("bytes=-7", len(DATA) - 7, len(DATA) - 1),
        ("bytes=-99999", 0, len(DATA) - 1),
        ("bytes=10-99999", 10, len(DATA) - 1),
        ("Bytes= 5-6 ", 5, 6),
    ],
)
def test_a_range_is_answered_exactly(get, asked, first, last):
    answer = get(range=asked)

    assert answer.status_code == 206
    assert body(answer) == DATA[first : last + 1]
    assert answer["Content-Range"] == f"bytes {first}-{last}/{len(DATA)}"
    assert answer["Content-Length"] == str(last - first + 1)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "asked",
    ["bytes=0-1,4-5", "bytes=x-y", "bytes=-", "items=0-1", "bytes=5-4", "bytes=" + "9" * 30],
)
def test_what_is_not_one_range_gets_the_whole(get, asked):
    answer = get(range=asked)

    assert answer.status_code == 200
    assert body(answer) == DATA


@pytest.mark.django_db
@pytest.mark.parametrize("asked", [f"bytes={len(DATA)}-", "bytes=99999-100000", "bytes=-0"])
def test_a_range_behind_the_end_is_refused(get, asked):
    answer = get(range=asked)

    assert answer.status_code == 416
    assert answer["Content-Range"] == f"bytes */{len(DATA)}"


@pytest.mark.django_db
def test_what_the_caller_has_is_not_sent_again(get, file):
    etag = f'"{file["current_version_id"]}"'
    for value in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = get(if_none_match=value)
        assert answer.status_code == 304
        assert answer["ETag"] == etag
    assert get(if_none_match='"other"').status_code == 200


@pytest.mark.django_db
def test_a_part_of_another_version_is_not_continued(get, on_laptop, file):
    old = f'"{file["current_version_id"]}"'
    assert get(range="bytes=5-", if_range=old).status_code == 206
    edited = on_laptop.edit(file, b"something else")["file"]
    answer = get(range="bytes=5-", if_range=old)

    assert answer.status_code == 200
    assert body(answer) == b"something else"
    assert answer["ETag"] == f'"{edited["current_version_id"]}"'


@pytest.mark.django_db
def test_an_older_version_can_be_read(get, on_laptop, file):
    on_laptop.edit(file, b"newer")

    assert body(get()) == b"newer"
    assert body(get(f"?version={file['current_version_id']}")) == DATA


@pytest.mark.django_db
def test_head_tells_without_sending(api, laptop, file):
    answer = api(laptop)._send("HEAD", f"/files/{file['file_id']}/content")

    assert answer.status_code == 200
    assert answer["Content-Length"] == str(len(DATA))
    assert answer.content == b""


@pytest.mark.django_db
def test_an_empty_file_has_empty_content(api, laptop, on_laptop):
    empty = on_laptop.put(b"", name="empty")["file"]
    answer = api(laptop).get(f"/files/{empty['file_id']}/content")

    assert answer.status_code == 200
    assert body(answer) == b""
    part = api(laptop)._send(
        "GET", f"/files/{empty['file_id']}/content", headers={"range": "bytes=0-"}
    )
    assert part.status_code == 416


@pytest.mark.django_db
def test_a_signed_in_browser_reads_content_whatever_it_accepts(alice, file):
    browser = Client()
    assert browser.login(email=alice.email, password=PASSWORD)
    answer = browser.get(
        f"/api/v1/files/{file['file_id']}/content", headers={"accept": "image/png"}
    )

    assert answer.status_code == 200
    assert body(answer) == DATA


@pytest.mark.django_db
def test_nobody_else_reads_it(api, stranger, file, on_laptop):
    path = f"/files/{file['file_id']}/content"
    other = on_laptop.put(b"x", name="other")

    assert api(None).get(path).status_code == 401
    assert api(stranger).get(path).status_code == 404
    # A version of another file is not found under this one.
    assert api(on_laptop.device).get(path, version=other["file_version_id"]).status_code == 404
    assert api(on_laptop.device).get(path, version="no id").status_code == 400


def test_a_name_cannot_break_out_of_the_header():
    header = attachment('a"; filename=evil.exe\r\nX: \\%41.txt')
    assert header == (
        'attachment; filename="a__ filename=evil.exe__X: __41.txt"; '
        "filename*=UTF-8''a%22%3B%20filename%3Devil.exe%0D%0AX%3A%20%5C%2541.txt"
    )


@given(header=st.text(max_size=30), size_bytes=st.integers(0, 1_000))
def test_any_header_gives_a_range_inside_the_content_or_none(header, size_bytes):
    for text in (header, f"bytes={header}"):
        try:
            found = parse_range(text, size_bytes)
        except UnsatisfiableRange:
            continue
        if found is not None:
            assert isinstance(found, ByteRange)
            assert 0 <= found.start < found.start + found.length <= size_bytes
