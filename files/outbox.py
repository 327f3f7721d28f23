"""What was decided here and others must learn: kept in a table until they have.

A message is written in the transaction that decides, so no crash can lose it. It is
delivered as soon as that transaction has committed; what could not be is delivered by
`relay`, which a periodic task calls. So each is delivered at least once, perhaps twice, and
perhaps after a later one: receivers take that without harm.

    topic      payload                                                receiver
    changed    {"namespace_id", "seq"}                                files.events
    revoked    {"device_id"}                                          files.events
    committed  {"versions": [[version_id, file_id, namespace_id], …]}  Block Service
    released   {"versions": [version_id, …]}                          Block Service
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import InterfaceError, OperationalError, transaction
from django.utils import timezone
from redis.exceptions import RedisError

from blocks.service import Settlement, get_block_service
from drive_project.common.errors import ServiceUnavailable
from files import events
from files.models import OutboxMessage

CHANGED = "changed"
REVOKED = "revoked"
COMMITTED = "committed"
RELEASED = "released"
# Blocks before signals: a device that is woken asks for what was committed.
TOPICS = (COMMITTED, RELEASED, REVOKED, CHANGED)
MAX_ERROR_LENGTH = 200

# Versions in one message: what the Block Service settles in one call.
VERSIONS_AT_ONCE = 1_000
# The relay leaves a fresh message to the process that wrote it.
DIRECT_DELIVERY_TIME = timedelta(seconds=10)
# How long a message that could not be delivered waits for its next turn.
RETRY_AFTER = timedelta(seconds=30)
MAX_FAILURES = 3
# What a receiver that is away for the moment raises. Anything else is about the message.
_AWAY = (ServiceUnavailable, OperationalError, InterfaceError, RedisError, OSError)
# How long a message that a receiver refused waits for its next turn.
SET_ASIDE_FOR = timedelta(hours=1)

logger = logging.getLogger(__name__)


def add_changed(namespace_id: UUID, seq: int) -> None:
    """Tell the devices that a namespace has come to this seq."""
    _add_now(CHANGED, [{"namespace_id": str(namespace_id), "seq": seq}])


def add_revoked(device_id: UUID) -> None:
    """Have the open connections of a device closed."""
    _add_now(REVOKED, [{"device_id": str(device_id)}])


def add_committed(placements: Iterable[tuple[UUID, UUID, UUID]]) -> None:
    """Tell the Block Service which versions became visible: (version, file, namespace)."""
    rows = [[str(part) for part in placement] for placement in placements]
    _add_now(COMMITTED, [{"versions": some} for some in _portions(rows)])


def add_released(version_ids: Iterable[UUID], due_at: datetime | None = None) -> None:
    """Let go of versions' blocks, not before `due_at` (None: at once)."""
    rows = [str(version_id) for version_id in version_ids]
    payloads = [{"versions": some} for some in _portions(rows)]
    if due_at is None or due_at <= timezone.now():
        _add_now(RELEASED, payloads)
    else:
        _write(RELEASED, payloads, due_at=due_at)


def relay(limit: int = 500) -> int:
    """Deliver what is due, oldest first; how many messages were looked at.

    What fails waits for a later turn and does not hold up the rest: for a short while where
    its receiver is away, for long where it is the message that the receiver cannot take.
    """
    due = list(
        OutboxMessage.objects.filter(due_at__lte=timezone.now()).order_by("due_at", "pk")[:limit]
    )
    for topic in TOPICS:
        some = [message for message in due if message.topic == topic]
        try:
            _deliver(some)
        except Exception as error:  # noqa: BLE001 - whichever message it is, the others go on
            logger.warning("outbox: %d %s messages wait: %r", len(some), topic, error)
            _deliver_one_by_one(some)
    for message in due:
        if message.topic not in TOPICS:
            _set_aside(message, ValueError(f"unknown topic {message.topic!r}"))
    return len(due)


def _deliver_one_by_one(messages: Sequence[OutboxMessage]) -> None:
    """After a failure: one message that nobody can take must not hold up the others."""
    failures = 0
    for message in messages:
        # After a few the receiver is away, and each further try would cost its timeout.
        if failures < MAX_FAILURES:
            try:
                _deliver([message])
                continue
            except _AWAY:
                failures += 1
            except Exception as error:
                logger.exception("outbox: message %s is set aside", message.pk)
                _set_aside(message, error)
                continue
        OutboxMessage.objects.filter(pk=message.pk).update(due_at=timezone.now() + RETRY_AFTER)


def _set_aside(message: OutboxMessage, error: Exception) -> None:
    """Keep a message that cannot be taken, where an administrator sees it."""
    now = timezone.now()
    OutboxMessage.objects.filter(pk=message.pk).update(
        due_at=now + SET_ASIDE_FOR,
        set_aside_at=message.set_aside_at or now,
        error=repr(error)[:MAX_ERROR_LENGTH],
    )


def _portions(rows: list[Any]) -> list[list[Any]]:
    return [
        rows[start : start + VERSIONS_AT_ONCE] for start in range(0, len(rows), VERSIONS_AT_ONCE)
    ]


def _write(topic: str, payloads: list[dict[str, Any]], *, due_at: datetime) -> list[OutboxMessage]:
    messages = [OutboxMessage(topic=topic, payload=payload, due_at=due_at) for payload in payloads]
    return OutboxMessage.objects.bulk_create(messages)


def _add_now(topic: str, payloads: list[dict[str, Any]]) -> None:
    messages = _write(topic, payloads, due_at=timezone.now() + DIRECT_DELIVERY_TIME)

    def deliver_directly() -> None:
        try:
            _deliver(messages)
        except _AWAY as error:
            # In one line: while a receiver is away, every commit comes here.
            logger.warning(
                "outbox: %d %s messages are left for later: %r", len(messages), topic, error
            )

    if messages:
        # Robust: what was decided stands, whatever happens here; the relay comes again.
        transaction.on_commit(deliver_directly, robust=True)


def _deliver(messages: Sequence[OutboxMessage]) -> None:
    """Deliver messages, then forget them: the other order could lose one."""
    settlements: list[Settlement] = []
    heads: dict[UUID, int] = {}
    revoked: list[UUID] = []
    for message in messages:
        payload = message.payload
        match message.topic:
            case "changed":
                namespace_id = UUID(payload["namespace_id"])
                heads[namespace_id] = max(heads.get(namespace_id, 0), payload["seq"])
            case "revoked":
                revoked.append(UUID(payload["device_id"]))
            case "committed":
                settlements += [
                    Settlement(
                        file_version_id=UUID(version_id),
                        is_committed=True,
                        file_id=UUID(file_id),
                        namespace_id=UUID(namespace_id),
                    )
                    for version_id, file_id, namespace_id in payload["versions"]
                ]
            case "released":
                settlements += [
                    Settlement(file_version_id=UUID(version_id), is_committed=False)
                    for version_id in payload["versions"]
                ]
    for start in range(0, len(settlements), VERSIONS_AT_ONCE):
        get_block_service().settle_versions(
            settlements=settlements[start : start + VERSIONS_AT_ONCE]
        )
    for device_id in revoked:
        events.publish_device_revoked(device_id)
    for namespace_id, seq in heads.items():
        events.publish_changed(namespace_id, seq)
    if messages:
        OutboxMessage.objects.filter(pk__in=[message.pk for message in messages]).delete()
