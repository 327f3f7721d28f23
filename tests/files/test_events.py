"""Events on a real Redis: what is announced is what a reader gets."""

import os
from uuid import UUID, uuid4

import pytest
import redis

from files import events
from files.events import Changed, DeviceRevoked


@pytest.fixture
def streams():
    """All that was announced, by stream."""
    with redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True) as client:
        yield lambda: {
            stream: [events.decode(fields) for _, fields in client.xrange(stream)]
            for stream in events.STREAMS
            if client.exists(stream)
        }


def test_what_is_announced_can_be_read(streams):
    namespace_id, device_id = uuid4(), uuid4()
    events.publish_changed(namespace_id, 7)
    events.publish_device_revoked(device_id)
    heard = [event for some in streams().values() for event in some]
    assert set(heard) == {Changed(namespace_id, 7), DeviceRevoked(device_id)}


def test_the_events_of_a_namespace_stay_in_order_and_namespaces_are_spread(streams):
    namespaces = [UUID(int=number) for number in range(40)]
    for seq in (1, 2):
        for namespace_id in namespaces:
            events.publish_changed(namespace_id, seq)

    read = streams()
    assert set(read) == set(events.STREAMS)
    for namespace_id in namespaces:
        found = [
            event
            for event in read[events.stream_of(namespace_id)]
            if isinstance(event, Changed) and event.namespace_id == namespace_id
        ]
        assert [event.seq for event in found] == [1, 2]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"type": "renamed"},
        {"type": "changed"},
        {"type": "changed", "namespace_id": "nonsense", "seq": "1"},
        {"type": "changed", "namespace_id": uuid4().hex, "seq": "one"},
        {"type": "device_revoked"},
    ],
)
def test_what_is_no_event_is_refused(fields):
    with pytest.raises(ValueError):  # noqa: PT011 - each says something else
        events.decode(fields)


def test_nobody_is_online_who_was_not_announced():
    assert events.online_devices([]) == set()
    assert events.online_devices([uuid4()]) == set()
