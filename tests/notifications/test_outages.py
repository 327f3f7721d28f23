"""Whatever fails and comes back, devices with the client's own ears are in step soon after.

`make soak` lets each fault last for the minute that is promised.
"""

import os
import threading
import time
from contextlib import ExitStack, contextmanager

import redis as redis_client
from django.test import override_settings

from files import events
from files.journal import decode_cursor
from files.models import Namespace
from sync_client.api import HttpApi
from sync_client.errors import SyncError
from sync_client.notify import Notifier
from tests.people import Api, new_device, token_of

FAULT_SECONDS = 60 if os.environ.get("DRIVE_SOAK") == "full" else 1
PROMISED_SECONDS = 75


class Device:
    """Hears as the sync client does; in place of syncing it goes to the end of the journal."""

    def __init__(self, url, device):
        self._api = HttpApi(url, token_of(device))
        self._is_behind = threading.Event()
        self._is_over = False
        self.cursor = self._latest()
        self._notifier = Notifier(
            self._api,
            url,
            token_of(device),
            cursor=lambda: self.cursor,
            on_signal=self._is_behind.set,
        )
        self._notifier.start()
        self._thread = threading.Thread(target=self._pull)
        self._thread.start()

    def _latest(self):
        return self._api.request("GET", "changes/latest")["cursor"]

    def _pull(self):
        while not self._is_over:
            if not self._is_behind.wait(0.1):
                continue
            self._is_behind.clear()
            try:
                self.cursor = self._latest()
            except SyncError:
                # As the daemon: again, soon.
                self._is_behind.set()
                time.sleep(0.2)

    @property
    def is_connected(self):
        return self._notifier._socket is not None

    def close(self):
        self._is_over = True
        self._notifier.stop()
        self._api.close()
        self._thread.join()
        self._notifier._thread.join(10)


@contextmanager
def redis_hangs(server, redis):
    with redis.hanging():
        yield


@contextmanager
def redis_refuses_and_comes_back_empty_with_its_clock_set_back(server, redis):
    with redis_client.Redis.from_url(redis.url) as client:
        for stream in events.STREAMS:
            client.xadd(stream, {"type": "from the future"}, id="9999999999999-0")
    # The readers are there now.
    time.sleep(0.2)
    redis.stop(kill=True)
    yield
    redis.start()


@contextmanager
def redis_is_flushed(server, redis):
    yield
    with redis_client.Redis.from_url(redis.url) as client:
        client.flushall()


@contextmanager
def the_notification_process_is_killed(server, redis):
    server.kill()
    yield
    server.start()


@contextmanager
def events_come_late_and_again(server, redis):
    yield
    for namespace in Namespace.objects.all():
        for seq in (namespace.head_seq, namespace.head_seq - 1, 1, namespace.head_seq):
            events.publish_changed(namespace.pk, seq)


@contextmanager
def events_are_lost(server, redis):
    """Nobody relays the outbox here, so only the comparison of heads can tell."""
    with override_settings(EVENTS_REDIS_URL="redis://127.0.0.1:1"):
        yield


FAULTS = [
    redis_hangs,
    redis_refuses_and_comes_back_empty_with_its_clock_set_back,
    redis_is_flushed,
    the_notification_process_is_killed,
    events_come_late_and_again,
]
if FAULT_SECONDS > 1:
    # Takes a minute whatever one does; with shorter intervals it is in test_faults.py.
    FAULTS.append(events_are_lost)


def test_every_device_is_in_step_again_after_each_fault(
    fragile_server, redis, alice, laptop, new_folder
):
    writer = Api(laptop)
    with ExitStack() as stack:
        devices = [
            Device(fragile_server.url, new_device(alice, f"device {number}")) for number in range(3)
        ]
        for device in devices:
            stack.callback(device.close)

        def wait_for(condition, what):
            deadline = time.monotonic() + PROMISED_SECONDS
            while not condition():
                assert time.monotonic() < deadline, what
                time.sleep(0.05)

        def are_in_step():
            heads = decode_cursor(writer.get("/changes/latest").json()["cursor"])
            return all(decode_cursor(device.cursor) == heads for device in devices)

        for fault in FAULTS:
            wait_for(
                lambda: all(device.is_connected for device in devices), f"before {fault.__name__}"
            )
            with fault(fragile_server, redis):
                until = time.monotonic() + FAULT_SECONDS
                new_folder(f"while {fault.__name__}")
                time.sleep(max(0.0, until - time.monotonic()))
            wait_for(are_in_step, f"after {fault.__name__}")
