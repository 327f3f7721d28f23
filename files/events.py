"""What the File Service announces, on Redis Streams; the Notification Service reads them.

An event carries identifiers and a seq, never names or data. It is a hint: lost, doubled or
reordered it costs time, since the journal is the truth. Streams are partitioned by
namespace, so the events of one stay in order and a Redis Cluster can spread them: they are
at EVENTS_REDIS_URL, all else is at REDIS_URL.

    stream               fields
    drive:events:SHARD   {"type": "changed", "namespace_id", "seq"}
    drive:events:SHARD   {"type": "device_revoked", "device_id"}
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, cast
from uuid import UUID

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from drive_project.common.errors import ServiceUnavailable
from drive_project.common.redis_clients import REDIS_AWAY, connect

SHARD_COUNT = 8
STREAMS = tuple(f"drive:events:{shard}" for shard in range(SHARD_COUNT))
# Of each stream. A reader that falls further behind compares heads instead.
MAX_EVENTS = 10_000
# A commit is answered after its event was tried: a Redis that hangs must not hold it long.
TIMEOUT_SECONDS = 2
RETRY_AFTER_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Changed:
    """The journal of a namespace has reached this seq, or a later one."""

    namespace_id: UUID
    seq: int


@dataclass(frozen=True, slots=True)
class DeviceRevoked:
    """A device was signed out."""

    device_id: UUID


Event = Changed | DeviceRevoked


def publish_changed(namespace_id: UUID, seq: int) -> None:
    """Announce a namespace's new head. Raises ServiceUnavailable when Redis does not answer."""
    _publish(namespace_id, {"type": "changed", "namespace_id": namespace_id.hex, "seq": str(seq)})


def publish_device_revoked(device_id: UUID) -> None:
    """Have the connections of a device closed. Raises ServiceUnavailable like the other."""
    _publish(device_id, {"type": "device_revoked", "device_id": device_id.hex})


def stream_of(identifier: UUID) -> str:
    """The stream that carries the events about a namespace or a device."""
    return STREAMS[identifier.int % SHARD_COUNT]


def decode(fields: Mapping[str, str]) -> Event:
    """The event that an entry of a stream stands for. Raises ValueError for an unknown one."""
    try:
        match fields["type"]:
            case "changed":
                return Changed(UUID(fields["namespace_id"]), int(fields["seq"]))
            case "device_revoked":
                return DeviceRevoked(UUID(fields["device_id"]))
    except KeyError as missing:
        raise ValueError(f"an event without {missing}") from None
    raise ValueError(f"an event of the unknown type {fields['type']!r}")


def online_key(device_id: UUID) -> str:
    """Where the Notification Service says, for a while, that a device is connected."""
    return f"drive:online:{device_id.hex}"


def online_devices(device_ids: Iterable[UUID]) -> set[UUID]:
    """Those of these devices that have an open connection to any process.

    Raises ServiceUnavailable when Redis does not answer.
    """
    wanted = list(device_ids)
    if not wanted:
        return set()
    try:
        found = cast(
            list[str | None],
            _client(settings.REDIS_URL).mget([online_key(device_id) for device_id in wanted]),
        )
    except REDIS_AWAY as error:
        raise ServiceUnavailable(retry_after_seconds=RETRY_AFTER_SECONDS) from error
    return {device_id for device_id, value in zip(wanted, found, strict=True) if value}


def _publish(about: UUID, fields: dict[Any, Any]) -> None:
    try:
        client = _client(settings.EVENTS_REDIS_URL)
        client.xadd(stream_of(about), fields, maxlen=MAX_EVENTS, approximate=True)
    except REDIS_AWAY as error:
        raise ServiceUnavailable(
            "The event was not announced.", retry_after_seconds=RETRY_AFTER_SECONDS
        ) from error


@cache
def _client(url: str) -> redis.Redis:
    """One pool for all threads of a process."""
    return connect(
        url,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        # Once more at once: a pooled connection may have died with the last Redis. No
        # further: the outbox does the rest.
        retry=Retry(NoBackoff(), 1),
        decode_responses=True,
    )
