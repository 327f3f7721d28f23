"""Which of one's devices have the current content of a file."""

import pytest

from files import public
from files.models import Change, DeviceKind
from files.services.devices import revoke_device
from tests.files.answers import problem
from tests.files.trees import edit_file, put_file
from tests.people import new_device

pytestmark = pytest.mark.django_db


@pytest.fixture
def file(laptop, root):
    return put_file(laptop, root["folder_id"], "a")


def acknowledge(api, device):
    """The device has applied everything up to now."""
    public.record_ack(device.pk, api(device).get("/changes/latest").json()["cursor"])


def holders(api, device, file, **query):
    answer = api(device).get(f"/files/{file.pk}/devices", **query)
    assert answer.status_code == 200, answer.content
    return {item["name"]: item for item in answer.json()["items"]}


def test_a_device_that_has_applied_the_last_change_has_the_current_version(
    api, laptop, phone, file
):
    acknowledge(api, phone)
    found = holders(api, laptop, file)

    assert found["phone"]["has"] == "current"
    assert found["phone"]["file_version_id"] == str(file.current_version_id)
    assert found["phone"]["last_sync_time"] is not None
    assert not found["phone"]["is_this"]
    # The laptop made the file, yet has not said how far it is.
    assert (found["laptop"]["has"], found["laptop"]["file_version_id"]) == ("unknown", None)
    assert found["laptop"]["is_this"]


def test_a_device_is_behind_until_it_acknowledges(api, laptop, phone, file):
    acknowledge(api, phone)
    edited = edit_file(laptop, file)

    behind = holders(api, laptop, file)["phone"]
    assert (behind["has"], behind["file_version_id"]) == ("behind", None)
    acknowledge(api, phone)
    current = holders(api, laptop, file)["phone"]
    assert (current["has"], current["file_version_id"]) == (
        "current",
        str(edited.current_version_id),
    )


def test_a_change_of_another_file_leaves_a_device_current(api, laptop, phone, root, file):
    acknowledge(api, phone)
    put_file(laptop, root["folder_id"], "b")

    assert holders(api, laptop, file)["phone"]["has"] == "current"


def test_an_acknowledgement_of_another_history_says_nothing(api, laptop, phone, file):
    acknowledge(api, phone)
    # The server was restored and went another way.
    Change.objects.update(change_id="00000000-0000-0000-0000-000000000000")

    assert holders(api, laptop, file)["phone"]["has"] == "unknown"


def test_only_own_sync_devices_that_are_signed_in_are_listed(api, alice, bob, laptop, phone, file):
    new_device(bob, "of bob")
    new_device(alice, "browser", DeviceKind.BROWSER)
    revoke_device(user=alice, device_id=phone.pk)

    assert set(holders(api, laptop, file)) == {"laptop"}


def test_a_stranger_learns_nothing(api, stranger, file):
    problem(api(stranger).get(f"/files/{file.pk}/devices"), 404, "not-found")


def test_devices_come_in_pages_at_the_same_cost(
    api, alice, laptop, file, django_assert_max_num_queries
):
    for number in range(30):
        acknowledge(api, new_device(alice, f"device {number}"))

    with django_assert_max_num_queries(7):
        page = api(laptop).get(f"/files/{file.pk}/devices", limit=20).json()
    rest = holders(api, laptop, file, limit=20, cursor=page["next_cursor"])
    assert len(page["items"]) == 20
    assert len(rest) == 11
