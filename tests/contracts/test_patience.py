"""How long a device may be out of step: the intervals of both sides, as they are shipped.

Each lets a part of the promise pass at the worst; together they must leave room for the work
itself.
"""

import inspect

import pytest

from notifications import dispatch, intake
from notifications.consumers import DeviceSocket
from sync_client import notify
from sync_client.daemon_work import PULL_EVERY_SECONDS

# Every device is equal so long after the return of what had failed.
PROMISED_SECONDS = 75
FOR_THE_WORK_SECONDS = 5
# A device that was signed out is cut off within this.
REVOKED_WITHIN_SECONDS = 2

socket = {
    name: parameter.default
    for name, parameter in inspect.signature(DeviceSocket).parameters.items()
}
catching_up = notify.CATCH_UP_SECONDS


@pytest.mark.parametrize(
    "seconds",
    [
        # An event that got lost on a healthy Redis: the heads are compared after the read
        # that is under way.
        pytest.param([intake.COMPARE_SECONDS, intake.BLOCK_SECONDS], id="event lost"),
        # A Redis that hung or broke off: the read that is under way, the pause after it, a
        # connection that is not made, and the pause again; then the heads are compared.
        pytest.param(
            [
                dispatch.REDIS_TIMEOUT_SECONDS,
                dispatch.CONNECT_SECONDS,
                2 * intake.LONGEST_PAUSE_SECONDS,
            ],
            id="redis away",
        ),
        # A process that died: its devices come back after their pause, and catch up.
        pytest.param([notify.LONGEST_PAUSE_SECONDS, catching_up], id="process killed"),
        # One that vanished with its machine, or a network that swallows: silence tells.
        pytest.param(
            [notify.SILENCE_SECONDS, notify.ACK_EVERY_SECONDS, catching_up], id="machine gone"
        ),
    ],
)
def test_whatever_failed_a_device_is_in_step_soon_after(seconds):
    assert sum(seconds) + FOR_THE_WORK_SECONDS <= PROMISED_SECONDS


def test_a_revocation_needs_no_redis():
    assert dispatch.REVOCATIONS_SECONDS <= REVOKED_WITHIN_SECONDS / 2


def test_a_lost_ping_ends_no_connection():
    for patience in (notify.SILENCE_SECONDS, socket["silence_seconds"]):
        assert patience >= 2 * socket["ping_seconds"]
    # Each side is heard at least as often as the other asks.
    assert socket["ping_seconds"] > notify.ACK_EVERY_SECONDS


def test_a_device_asks_by_itself_every_few_minutes():
    assert PULL_EVERY_SECONDS <= 5 * 60
