"""Old versions and old trash go by each person's policy, and only they."""

import json
from datetime import timedelta
from io import StringIO
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from blocks import gc
from blocks.models import BlockList, ListState, StoredObject
from blocks.storage import get_object_store
from files import outbox, tasks
from files.models import (
    Conflict,
    File,
    FileVersion,
    Folder,
    OutboxMessage,
    Settled,
    StorageAccount,
)
from files.services import retention
from tests.files.uploading import Uploader
from tests.people import PASSWORD, new_device

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def on_laptop(laptop):
    return Uploader(laptop)


@pytest.fixture
def noon():
    """The middle of a day, so that hours before it belong to the same day."""
    return timezone.now().replace(hour=12, minute=0, second=0, microsecond=0) + DAY


@pytest.fixture
def write(on_laptop, noon):
    """write(name, ages) -> a file with a version of 100 bytes for each age, oldest first."""

    def write(name, ages, sender=on_laptop):
        versions = []
        file = None
        for number, age in enumerate(ages):
            data = f"{name} {number}".encode().ljust(100, b".")
            file = sender.put(data, name=name)["file"] if not file else sender.edit(file, data)
            file = file.get("file", file)
            versions.append(UUID(file["current_version_id"]))
            FileVersion.objects.filter(pk=versions[-1]).update(committed_at=noon - age)
        return file, versions

    return write


def run(*, now):
    return [version for batch in retention.expire_versions(now=now) for version in batch]


def left(file):
    return set(FileVersion.objects.filter(file=file["file_id"]).values_list("pk", flat=True))


def expire(*arguments):
    output = StringIO()
    call_command("expire", *arguments, stdout=output)
    return output.getvalue()


def trash_it(sender, item):
    """Put it into the trash, 31 days ago."""
    kind, model = ("folders", Folder) if item["type"] == "folder" else ("files", File)
    item_id = item[f"{item['type']}_id"]
    assert sender.api.delete(f"/{kind}/{item_id}", {}, if_match=item["rev"]).status_code == 200
    model.objects.filter(pk=item_id).update(deleted_at=timezone.now() - 31 * DAY)


def test_after_a_month_one_version_of_a_day_is_left(on_laptop, write, noon, settings):
    file, versions = write("a", [40 * DAY, 40 * DAY - HOUR, 40 * DAY - 2 * HOUR, 3 * DAY, DAY])
    other, all_young = write("b", [20 * DAY, 20 * DAY - HOUR, HOUR])

    gone = run(now=noon)

    assert {each.version_id for each in gone} == set(versions[:2])
    assert left(file) == set(versions[2:])
    assert left(other) == set(all_young)
    assert on_laptop.used() == (600, 0)
    assert on_laptop.read(file["file_id"]) == b"a 4".ljust(100, b".")
    assert on_laptop.read(file["file_id"], str(versions[2])) == b"a 2".ljust(100, b".")
    message = OutboxMessage.objects.get(topic=outbox.RELEASED)
    assert set(message.payload["versions"]) == {str(each) for each in versions[:2]}
    assert message.due_at - message.created_at >= settings.BLOCK_GRACE * 0.99
    # And no device has anything to do about it.
    assert on_laptop.file(file["file_id"])["rev"] == file["rev"]


def test_what_was_released_gives_its_bytes_back(on_laptop, write, noon):
    _, versions = write("a", [40 * DAY, 40 * DAY - HOUR, DAY])
    before = set(StoredObject.objects.values_list("pk", flat=True))
    run(now=noon)
    OutboxMessage.objects.update(due_at=timezone.now())

    outbox.relay()
    gc.collect(store=get_object_store(), grace=timedelta())

    states = dict(BlockList.objects.values_list("pk", "state"))
    assert states.pop(versions[0]) == ListState.RELEASED
    assert set(states.values()) == {ListState.COMMITTED}
    stored = StoredObject.objects.values_list("pk", flat=True)
    assert len(stored) == 2
    # What went is gone from the store too (which other tests use as well).
    left_over = {found.location for found in get_object_store().listing()}
    assert left_over & before == set(stored)


def test_a_content_that_stood_for_years_stays_a_month_after_it_was_replaced(write, noon):
    file, versions = write("a", [900 * DAY, 800 * DAY, 29 * DAY])

    run(now=noon)

    assert left(file) == {versions[1], versions[2]}
    run(now=noon + 365 * DAY)
    assert left(file) == {versions[2]}


def test_everybody_has_a_policy_of_their_own(alice, write, noon, stranger, mallory):
    hers = Uploader(stranger)
    mine, my_versions = write("a", [40 * DAY, 10 * DAY, 10 * DAY - HOUR, DAY])
    theirs, their_versions = write("a", [40 * DAY, 10 * DAY, 10 * DAY - HOUR, DAY], sender=hers)
    StorageAccount.objects.filter(owner=alice).update(
        keep_all_versions_days=7, keep_daily_versions_days=20
    )

    run(now=noon)

    # Alice's of forty days ago was shown at the end of the day eleven days ago.
    assert left(mine) == {my_versions[0], *my_versions[2:]}
    assert left(theirs) == set(their_versions)
    run(now=noon + 15 * DAY)
    assert left(mine) == set(my_versions[2:])
    assert left(theirs) == set(their_versions)


def test_the_base_of_an_open_conflict_stays(on_laptop, phone, alice, write, noon):
    file, versions = write("a", [40 * DAY, 40 * DAY - HOUR, 40 * DAY - 2 * HOUR])
    late = Uploader(phone).edit(file, b"late", base=str(versions[0]))
    assert late["outcome"] == "conflict_copy"

    assert {each.version_id for each in run(now=noon + 60 * DAY)} == {versions[1]}

    assert left(file) == {versions[0], versions[2]}
    Conflict.objects.update(settled_at=timezone.now(), settled_how=Settled.BOTH)
    assert {each.version_id for each in run(now=noon + 60 * DAY)} == {versions[0]}


def test_while_the_current_content_is_damaged_the_older_ones_stay(write, noon):
    _, versions = write("a", [40 * DAY, 40 * DAY - HOUR, DAY])
    FileVersion.objects.filter(pk=versions[-1]).update(is_damaged=True)

    assert run(now=noon) == []

    FileVersion.objects.update(is_damaged=False)
    assert len(run(now=noon)) == 1


def test_what_is_in_the_trash_stays_whole(on_laptop, write, make, root, noon):
    file, versions = write("a", [40 * DAY, 40 * DAY - HOUR, DAY])
    folder = make(root, "folder")
    moved = on_laptop.api.patch(
        f"/files/{file['file_id']}",
        {"parent_folder_id": folder["folder_id"]},
        if_match=file["rev"],
    )
    assert moved.status_code == 200
    assert (
        on_laptop.api.delete(
            f"/folders/{folder['folder_id']}", {}, if_match=folder["rev"]
        ).status_code
        == 200
    )

    assert run(now=noon) == []

    assert on_laptop.api.post(f"/trash/{folder['folder_id']}/restore", {}).status_code == 200
    assert {each.version_id for each in run(now=noon)} == {versions[0]}


def test_going_back_to_a_version_keeps_its_content_when_the_old_one_goes(on_laptop, write, noon):
    file, versions = write("a", [40 * DAY, 40 * DAY - HOUR, DAY])
    path = f"/files/{file['file_id']}/versions/{versions[0]}/restore"
    assert on_laptop.api.post(path, {}).status_code == 200

    run(now=noon)
    OutboxMessage.objects.update(due_at=timezone.now())
    outbox.relay()
    gc.collect(store=get_object_store(), grace=timedelta())

    assert versions[0] not in left(file)
    assert on_laptop.read(file["file_id"]) == b"a 0".ljust(100, b".")


def test_many_versions_go_in_small_transactions(write, noon, monkeypatch):
    monkeypatch.setattr(retention, "PRUNE_AT_ONCE", 2)
    monkeypatch.setattr(retention, "VERSIONS_AT_ONCE", 8)
    monkeypatch.setattr(retention, "FILES_AT_ONCE", 2)
    files = [write(name, [40 * DAY - HOUR * hour for hour in range(5)] + [DAY]) for name in "abcde"]

    batches = [len(batch) for batch in retention.expire_versions(now=noon)]

    assert batches == [2, 2] * 5
    for file, versions in files:
        assert left(file) == set(versions[4:])


def test_a_look_at_many_files_is_a_few_queries(write, noon):
    for name in "abcdefgh":
        write(name, [40 * DAY, 40 * DAY - HOUR, DAY])

    with CaptureQueriesContext(connection) as queries:
        [found] = retention.old_versions(now=noon)

    assert len(found) == 8
    # The shortest policy, two pages, files, who is live, policies, conflicts, versions.
    assert len(queries) <= 8


def test_a_dry_run_says_what_a_run_takes_and_takes_nothing(
    on_laptop, alice, mallory, stranger, write, make, root
):
    # Expire runs now, so the ages are taken from now on.
    file, versions = write("a", [45 * DAY, 45 * DAY - HOUR, 45 * DAY - 2 * HOUR, 3 * DAY])
    folder = make(root, "folder")
    on_laptop.put(b"x" * 70, name="inside", parent_folder_id=folder["folder_id"])
    trash_it(on_laptop, folder)
    hers = Uploader(stranger)
    old = hers.put(b"x" * 30, name="hers")["file"]
    trash_it(hers, hers.edit(old, b"y" * 35)["file"])
    everything = set(FileVersion.objects.values_list("pk", flat=True))

    told = json.loads(expire("--dry-run", "--json"))
    lines = expire("--dry-run", "--verbosity", "2")

    assert set(FileVersion.objects.values_list("pk", flat=True)) == everything
    assert on_laptop.used() == (470, 0)
    alices = {
        "user_id": str(alice.pk),
        "email": "alice@example.com",
        "version_count": 2,
        "version_bytes": 200,
        "trash_item_count": 1,
        "trash_bytes": 70,
    }
    mallorys = {
        "user_id": str(mallory.pk),
        "email": "mallory@example.com",
        "version_count": 0,
        "version_bytes": 0,
        "trash_item_count": 1,
        "trash_bytes": 65,
    }
    assert told == {
        "dry_run": True,
        "version_count": 2,
        "version_bytes": 200,
        "trash_item_count": 2,
        "trash_bytes": 135,
        "people": [alices, mallorys],
    }
    for version in versions[:2]:
        assert f"version {version} of file {file['file_id']}" in lines
    assert str(versions[2]) not in lines
    assert "alice@example.com: 2 versions (200 bytes), 1 items of the trash (70 bytes)" in lines
    assert "would go: 2 versions (200 bytes), 2 items of the trash (135 bytes)" in lines

    assert json.loads(expire("--json")) == {**told, "dry_run": False}

    assert on_laptop.used() == (200, 0)
    assert hers.used() == (0, 0)
    assert left(file) == set(versions[2:])
    assert expire() == "gone: 0 versions (0 bytes), 0 items of the trash (0 bytes)\n"


def test_the_periodic_task_does_the_same(write):
    file, versions = write("a", [45 * DAY, 45 * DAY - HOUR, DAY])

    tasks.expire_versions()
    tasks.expire_versions()

    assert left(file) == set(versions[1:])


def test_the_times_are_chosen_by_the_api(api, laptop, alice):
    client = api(laptop)
    answer = client.patch("/account", {"keep_all_versions_days": 90, "op_id": "one"})

    assert answer.status_code == 200
    assert answer.json() == client.get("/account").json()
    assert answer.json()["keep_all_versions_days"] == 90
    assert answer.json()["keep_daily_versions_days"] == 365
    again = client.patch("/account", {"keep_all_versions_days": 91, "op_id": "one"})
    assert again.json()["code"] == "idempotency-key-reused"
    answer = client.patch(
        "/account", {"keep_all_versions_days": None, "keep_daily_versions_days": 0}
    ).json()
    assert (answer["keep_all_versions_days"], answer["keep_daily_versions_days"]) == (30, 0)
    assert StorageAccount.objects.get(owner=alice).keep_all_versions_days is None


@pytest.mark.parametrize(
    "body",
    [
        {"keep_all_versions_days": 0},
        {"keep_all_versions_days": 3651},
        {"keep_daily_versions_days": -1},
        {"keep_daily_versions_days": "for ever"},
        {"used_bytes": 0},
        {"keep_all_versions_days": 5, "email": "x@example.com"},
    ],
)
def test_impossible_times_are_refused(api, laptop, alice, body):
    answer = api(laptop).patch("/account", body)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")
    assert api(laptop).get("/account").json()["keep_all_versions_days"] == 30
    assert api(None).patch("/account", {}).status_code == 401


def test_the_times_are_chosen_on_the_account_page(alice, mallory):
    browser = Client()
    assert browser.login(email="alice@example.com", password=PASSWORD)
    page = browser.get("/account")
    assert 'value="30"' in page.content.decode()

    sent = {"keep_all_versions_days": "60", "keep_daily_versions_days": "0"}
    answer = browser.post("/account", sent, follow=True)

    assert answer.redirect_chain == [("/account?saved=versions#versions", 302)]
    assert "Saved." in answer.content.decode()
    assert 'value="60"' in answer.content.decode()
    account = StorageAccount.objects.get(owner=alice)
    assert (account.keep_all_versions_days, account.keep_daily_versions_days) == (60, 0)
    assert StorageAccount.objects.get(owner=mallory).keep_all_versions_days is None

    refused = browser.post("/account", {**sent, "keep_all_versions_days": "0"})
    assert "greater than or equal to 1" in refused.content.decode()
    account.refresh_from_db()
    assert account.keep_all_versions_days == 60


def test_the_page_wants_the_csrf_token_and_a_sign_in(alice):
    strict = Client(enforce_csrf_checks=True)
    assert strict.login(email="alice@example.com", password=PASSWORD)
    sent = {"keep_all_versions_days": "60", "keep_daily_versions_days": "0"}

    assert strict.post("/account", sent).status_code == 403
    assert Client().post("/account", sent).status_code == 302
    assert StorageAccount.objects.get(owner=alice).keep_all_versions_days is None


def test_a_new_device_sees_the_same_times(alice, api):
    api(new_device(alice, "one")).patch("/account", {"keep_daily_versions_days": 10})

    answer = api(new_device(alice, "two")).get("/account").json()

    assert answer["keep_daily_versions_days"] == 10
