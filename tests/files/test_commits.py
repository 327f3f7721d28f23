"""From the first byte to the other device: init, send, commit, and what conflicts do."""

import re

import pytest

from files.models import Conflict
from tests.files.uploading import Uploader, sha256

pytestmark = pytest.mark.django_db


@pytest.fixture
def on_laptop(laptop):
    return Uploader(laptop)


@pytest.fixture
def on_phone(phone):
    return Uploader(phone)


@pytest.fixture
def report(on_laptop):
    """A file that both devices have seen."""
    return on_laptop.put(b"first", name="report.txt")["file"]


def test_what_one_device_uploads_the_other_reads(on_laptop, on_phone):
    data = bytes(range(256)) * 10_000
    done = on_laptop.put(data, name="a.bin", executable=True, client_modified_ns=-5)

    assert done["outcome"] == "committed"
    assert not done["is_conflict_copy"]
    file = on_phone.file(done["file_id"])
    assert (file["name"], file["size_bytes"], file["executable"]) == ("a.bin", len(data), True)
    assert file["content_hash"] == sha256(data)
    assert file["client_modified_ns"] == -5
    assert on_phone.read(done["file_id"]) == data
    assert on_phone.used() == (len(data), 0)


def test_the_later_of_two_edits_becomes_a_conflict_copy(on_laptop, on_phone, report):
    first = on_phone.edit(report, b"from the phone")
    second = on_laptop.edit(report, b"from the laptop")

    assert not first["is_conflict_copy"]
    assert second["outcome"] == "conflict_copy"
    assert second["original_file_id"] == report["file_id"]
    assert re.fullmatch(
        r"report \(conflicted copy, laptop, \d{4}-\d\d-\d\d\)\.txt", second["file"]["name"]
    )
    assert on_laptop.read(report["file_id"]) == b"from the phone"
    assert on_phone.read(second["file_id"]) == b"from the laptop"
    conflict = Conflict.objects.get()
    assert (str(conflict.file_id), str(conflict.copy_id)) == (report["file_id"], second["file_id"])
