"""Repeating a write is harmless: a completed one is remembered by its key and answered again."""

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import IntegrityError, transaction
from django.utils import timezone

from drive_project.common.errors import DriveError, IdempotencyKeyReused
from files.models import IdempotencyRecord, UserDevice

# Of what a client chooses. An item of a batch may have KEY:INDEX of the whole batch's.
MAX_KEY_LENGTH = 100
MAX_ITEM_KEY_LENGTH = MAX_KEY_LENGTH + len(":999")
# Longer than any device that still means the same write stays away from the network.
KEPT_FOR = timedelta(days=30)


class Answer(NamedTuple):
    """What a write answers: a status and a JSON body, {} for none.

    Identifiers, never URLs or secrets: it is kept.
    """

    status: int
    body: Any


def request_digest(request: Any) -> str:
    """SHA-256 over the canonical form of a request (anything that JSON can say)."""
    # ASCII, so that even a lone surrogate in it has a digest.
    plain = json.dumps(request, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(plain.encode()).hexdigest()


def remembered(device: UserDevice, key: str, request: Any) -> IdempotencyRecord | None:
    """The record of the same write, done before; None for an empty or a new key.

    Raises IdempotencyKeyReused when the key stands for another request.
    """
    if not key:
        return None
    record = IdempotencyRecord.objects.filter(device=device, key=key).first()
    if record is not None and record.request_digest != request_digest(request):
        raise IdempotencyKeyReused
    return record


def remember(device: UserDevice, key: str, request: Any, status: int, answer: Any) -> None:
    """Keep the answer, in the transaction of the write itself. Nothing for an empty key.

    Raises IntegrityError when the same write has been completed meanwhile: roll back, and
    `remembered` has its answer.
    """
    if key:
        IdempotencyRecord.objects.create(
            device=device,
            key=key,
            request_digest=request_digest(request),
            status=status,
            answer=answer,
        )


def remembered_among(
    device: UserDevice, requests: Mapping[str, Any]
) -> dict[str, Answer | IdempotencyKeyReused]:
    """The answers of those of these writes, by key, that were done before."""
    return {
        record.key: Answer(record.status, record.answer)
        if record.request_digest == request_digest(requests[record.key])
        else IdempotencyKeyReused()
        for record in IdempotencyRecord.objects.filter(device=device, key__in=requests)
        if record.key
    }


def remember_all(device: UserDevice, answers: Mapping[str, tuple[Any, Answer]]) -> None:
    """Keep many answers, by key: (request, answer). Raises IntegrityError like `remember`."""
    IdempotencyRecord.objects.bulk_create(
        IdempotencyRecord(
            device=device,
            key=key,
            request_digest=request_digest(request),
            status=answer.status,
            answer=answer.body,
        )
        for key, (request, answer) in answers.items()
        if key
    )


def once(*, device: UserDevice, key: str, request: Any, write: Callable[[], Answer]) -> Answer:
    """The answer of `write`, which runs at most once for a key of this device.

    `write` runs in a transaction together with the record. When two equal requests run at
    the same time, the one that loses answers like the one that won.
    """
    try:
        with transaction.atomic():
            if record := remembered(device, key, request):
                return Answer(record.status, record.answer)
            answer = write()
            remember(device, key, request, answer.status, answer.body)
            return answer
    except (DriveError, IntegrityError) as error:
        if isinstance(error, IdempotencyKeyReused):
            raise
        # Refused perhaps only because its twin was faster.
        if record := remembered(device, key, request):
            return Answer(record.status, record.answer)
        raise


def forget_before(moment: datetime | None = None) -> int:
    """Delete the records older than a moment (default: KEPT_FOR ago); how many there were."""
    limit = moment or timezone.now() - KEPT_FOR
    return IdempotencyRecord.objects.filter(created_at__lt=limit).delete()[0]
