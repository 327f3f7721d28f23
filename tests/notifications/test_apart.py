"""The Notification Service as processes of its own, any number of them."""

import os
import subprocess
import sys

import pytest
from django.conf import settings as django_settings
from django.test import Client

from drive_project.dashboard import numbers
from files.events import online_devices
from tests.notifications.conftest import until


def browser(user):
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def two_processes(start_server, settings, transactional_db):
    """Two of `manage.py run_notifications`, on the databases and the Redis of the test."""
    with (
        start_server(settings.REDIS_URL, "apart-1", is_apart=True) as first,
        start_server(settings.REDIS_URL, "apart-2", is_apart=True) as second,
    ):
        yield first, second


def test_devices_wait_at_any_process_and_move_between_them(
    two_processes, alice, phone, laptop, api, cursor, new_folder
):
    """There is no stickiness: each connection of a device may come to another process."""
    first, second = two_processes
    poll_of_phone = second.waiting(phone, cursor=cursor, timeout=60)
    until(lambda: online_devices([phone.pk]), within=20)
    with first.socket(phone) as socket:
        socket.hear(within=20)
        # The newer connection replaces the older, wherever that one is.
        replaced = poll_of_phone.answer(within=20).json()
        assert (replaced["result"], replaced["retry_after_seconds"]) == ("timeout", 5)

        poll = second.waiting(laptop, cursor=cursor, timeout=60)
        until(lambda: online_devices([laptop.pk]), within=20)
        # Who is online is known everywhere, for a person and for the staff.
        listed = api(laptop).get("/devices").json()["items"]
        assert all(device["is_online"] for device in listed if device["name"] != "Browser")
        page = browser(alice).get("/devices").content.decode()
        assert page.count("Online now") == 2
        # What the staff's dashboard shows; the page itself leaves threads of its own.
        assert numbers.devices().online == 2

        new_folder()
        assert socket.hear(within=20)["seq"] == 2
        assert poll.answer(within=20).json()["result"] == "changes"

        # One of them dies; its device goes to the other and has missed nothing.
        first.kill()
        new_folder("Meanwhile")
        assert second.poll(phone, cursor=cursor).json()["result"] == "changes"
        with second.socket(phone) as moved:
            assert list(moved.hear(within=20)["heads"].values()) == [3]
            new_folder("After")
            assert moved.hear(within=20)["seq"] == 4
    # And who has gone is not taken for online.
    until(lambda: not online_devices([phone.pk]), within=20)


def test_there_is_nothing_else(start_server, settings, transactional_db):
    with start_server(settings.REDIS_URL, "apart", is_apart=True) as alone:
        assert alone.get("/healthz", headers={}).json() == {"status": "ok"}
        for path in ("/", "/api/v1/account", "/admin/", "/blocks/x"):
            refused = alone.get(path, headers={})
            assert (refused.status_code, refused.json()["code"]) == (404, "not-found")
        assert alone.poll(None).status_code == 401

        taken = subprocess.run(
            [sys.executable, "manage.py", "run_notifications"],
            cwd=django_settings.BASE_DIR,
            env={**os.environ, "NOTIFICATIONS_BIND": alone.address},
            capture_output=True,
            text=True,
            check=False,
        )
    assert taken.returncode == 1
    assert f"Cannot listen on {alone.address}." in taken.stderr
    assert "Traceback" not in taken.stderr
