"""The versions of a file in the browser: what changed, brought back, compared."""

import re
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from files.models import File, FileVersion, Membership, Role, StorageAccount
from files.previews import making
from files.services.retention import old_versions
from files.services.versions import prune_versions
from tests.files.uploading import Uploader
from tests.files.web.test_links import put


@pytest.fixture
def history(laptop, phone):
    """The ids of a file and of its three versions, the oldest first."""
    block = 1000
    old = b"a\n" * 500 + b"b\n" * 500 + b"c\n" * 500
    middle = b"a\n" * 500 + b"B\n" * 500 + b"c\n" * 500
    on_laptop = Uploader(laptop)
    first = on_laptop.put(old, name="a.txt", block_bytes=block)["file"]
    second = Uploader(phone).edit(first, middle, block_bytes=block)["file"]
    third = on_laptop.edit(second, middle + b"d\n" * 500, block_bytes=block)["file"]
    return [first["file_id"], *(each["current_version_id"] for each in (first, second, third))]


def text(answer):
    return re.sub(r"\s+", " ", answer.content.decode())


def test_each_version_tells_who_where_and_how_much_changed(browser, alice, history):
    page = text(browser(alice).get(f"/files/{history[0]}/versions"))

    rows = page.split("<li>")[-3:]
    assert [re.findall(r"<bdi>(\w+)</bdi>", row)[0] for row in rows] == [
        "laptop",
        "phone",
        "laptop",
    ]
    assert "1 of 4 blocks changed" in rows[0]
    assert "1 of 3 blocks changed" in rows[1]
    assert "The first version" in rows[2]
    assert "Current" in rows[0]
    assert "Restore" not in rows[0]
    assert all("alice@example.com" in row for row in rows)


def test_an_old_version_is_brought_back_once_however_often_the_button_is_pressed(
    browser, alice, history
):
    file_id, first, *_ = history
    tab = browser(alice)
    path = f"/files/{file_id}/versions/{first}/restore"
    wish = {"op_id": str(uuid4())}

    answers = [tab.post(path, wish), tab.post(path, wish)]

    assert {answer["Location"] for answer in answers} == {
        f"/files/{file_id}/versions?restored={first}"
    }
    assert FileVersion.objects.filter(file=file_id).count() == 4
    current = File.objects.get(pk=file_id).current_version
    assert current.blocks_digest == FileVersion.objects.get(pk=first).blocks_digest
    assert "The file is again as it was" in text(tab.get(answers[0]["Location"]))
    assert tab.get(path).status_code == 405
    assert tab.post(path, {"op_id": "x"}).status_code == 404


def test_a_refusal_is_told_on_the_page(browser, alice, history):
    StorageAccount.objects.filter(owner=alice).update(limit_bytes=1)
    file_id, first, *_ = history

    answer = browser(alice).post(
        f"/files/{file_id}/versions/{first}/restore", {"op_id": str(uuid4())}
    )

    assert answer.status_code == 507
    assert "Nothing was changed: There is not enough storage left." in text(answer)


def test_two_versions_are_compared_side_by_side(browser, alice, laptop):
    device = Uploader(laptop)
    lines = [f"line {number}" for number in range(40)]
    first = device.put("\n".join(lines).encode(), name="a.txt")["file"]
    lines[3] = "<script>alert(1)</script>"
    del lines[30]
    second = device.edit(first, "\n".join(lines).encode())["file"]
    query = {"old": first["current_version_id"], "new": second["current_version_id"]}

    page = text(browser(alice).get(f"/files/{first['file_id']}/compare", query))

    assert '<th scope="col">Before</th>' in page
    assert "<del>line 3</del>" in page
    assert "<ins>&lt;script&gt;alert(1)&lt;/script&gt;</ins>" in page
    assert '<td class="line">31</td><td><del>line 30</del></td><td class="line"></td>' in page
    assert "Equal lines are left out" in page
    assert "line 15" not in page


def test_what_is_no_text_is_not_compared(browser, alice, laptop):
    device = Uploader(laptop)
    first = device.put(b"text", name="a.bin")["file"]
    second = device.edit(first, bytes(20))["file"]
    query = {"old": first["current_version_id"], "new": second["current_version_id"]}

    answer = browser(alice).get(f"/files/{first['file_id']}/compare", query)

    assert answer.status_code == 200
    assert "cannot be compared here" in text(answer)


def test_of_long_texts_the_beginning_is_compared_and_the_page_says_so(browser, alice, laptop):
    device = Uploader(laptop)
    long = b"x" * making.TEXT_BYTES
    first = device.put(b"old\n" + long, name="a.txt")["file"]
    second = device.edit(first, b"new\n" + long)["file"]
    query = {"old": first["current_version_id"], "new": second["current_version_id"]}

    page = text(browser(alice).get(f"/files/{first['file_id']}/compare", query))

    assert "Only the beginning was compared." in page
    assert "<ins>new</ins>" in page


def test_nobody_sees_or_restores_what_is_not_theirs(browser, alice, mallory, laptop, history):
    file_id, first, second, _ = history
    stranger = browser(mallory)
    wish = {"op_id": str(uuid4())}
    query = {"old": first, "new": second}

    assert stranger.get(f"/files/{file_id}/versions").status_code == 404
    assert stranger.get(f"/files/{file_id}/compare", query).status_code == 404
    assert stranger.post(f"/files/{file_id}/versions/{first}/restore", wish).status_code == 404
    assert browser(None).post(f"/files/{file_id}/versions/{first}/restore", wish).status_code == 302
    # A version of another file, too, is not one of this file.
    other = put(laptop, "b.txt", b"other")
    tab = browser(alice)
    assert tab.get(f"/files/{other.pk}/compare", query).status_code == 404
    assert tab.post(f"/files/{other.pk}/versions/{first}/restore", wish).status_code == 404
    assert FileVersion.objects.count() == 4


def test_a_version_is_kept_for_ever_and_then_no_longer(browser, alice, mallory, laptop, history):
    file_id, first, second, _ = history
    tab = browser(alice)
    path = f"/files/{file_id}/versions/{first}/keep"
    namespace_id = File.objects.get(pk=file_id).namespace_id
    everything = [UUID(each) for each in history[1:]]

    answer = tab.post(path, {"keep": "1"})

    assert answer["Location"] == f"/files/{file_id}/versions"
    assert tab.get(answer["Location"]).content.decode().count('aria-pressed="true"') == 1
    # Neither the rule takes it, nor anything else that prunes.
    later = timezone.now() + timedelta(days=4000)
    gone = [old.version_id for batch in old_versions(now=later) for old in batch]
    assert gone == [UUID(second)]
    assert prune_versions(namespace_id=namespace_id, version_ids=everything) == {UUID(second)}
    # Not by a stranger, nor under another file.
    assert browser(mallory).post(path, {"keep": "0"}).status_code == 404
    other = put(laptop, "b.txt", b"other")
    elsewhere = f"/files/{other.pk}/versions/{first}/keep"
    assert tab.post(elsewhere, {"keep": "0"}).status_code == 404
    assert FileVersion.objects.get(pk=first).is_kept

    tab.post(path, {"keep": "0"})

    assert prune_versions(namespace_id=namespace_id, version_ids=everything) == {UUID(first)}


def test_who_may_only_read_keeps_nothing(browser, alice, mallory, history):
    file_id, first, *_ = history
    namespace = File.objects.get(pk=file_id).namespace
    Membership.objects.create(namespace=namespace, user=mallory, role=Role.VIEWER)

    answer = browser(mallory).post(f"/files/{file_id}/versions/{first}/keep", {"keep": "1"})

    assert answer.status_code == 403
    assert "Nothing was changed: You may only read here." in text(answer)
    assert not FileVersion.objects.get(pk=first).is_kept
