"""What the dashboard counts. Each number has its definition beside it on the page."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Count, Min, Q, Sum
from django.utils import timezone

from blocks.service import BlockStats, get_block_service
from drive_project.common.errors import ServiceUnavailable
from drive_project.common.redis_clients import REDIS_AWAY, connect
from files.events import online_devices
from files.models import (
    DeviceKind,
    File,
    FileStatus,
    FileVersion,
    OutboxMessage,
    StorageAccount,
    User,
    UserDevice,
    VersionStatus,
)

# Celery's queues (drive_project.celery), lists in Redis.
CELERY_QUEUES = ("celery", "blocks")
DEVICES_PER_QUESTION = 1_000
TOP_USERS = 10
TODAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class People:
    """Who has an account, and who used it in the last 24 hours from any device."""

    total: int
    active_today: int
    administrators: int
    switched_off: int


@dataclass(frozen=True, slots=True)
class Devices:
    """Signed-in devices by kind. `online` is None where Redis does not answer."""

    sync_clients: int
    browsers: int
    tokens: int
    online: int | None


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes as people count them: full sizes, whether deduplicated or not."""

    current_bytes: int
    trashed_bytes: int
    earlier_bytes: int
    reserved_bytes: int
    file_count: int


@dataclass(frozen=True, slots=True)
class Queues:
    """What waits. `celery` is None where Redis does not answer."""

    celery: int | None
    outbox: int
    outbox_due: int
    outbox_oldest: datetime | None
    open_uploads: int


@dataclass(frozen=True, slots=True)
class TopUser:
    """One of those who use most."""

    email: str
    used_bytes: int
    limit_bytes: int | None
    share: float


def people() -> People:
    now = timezone.now()
    counted = User.objects.aggregate(
        total=Count("pk"),
        administrators=Count("pk", filter=Q(is_staff=True, is_active=True)),
        switched_off=Count("pk", filter=Q(is_active=False)),
    )
    active = (
        UserDevice.objects.filter(last_seen_at__gt=now - TODAY)
        .values_list("user", flat=True)
        .distinct()
        .count()
    )
    return People(active_today=active, **counted)


def devices() -> Devices:
    signed_in = UserDevice.objects.filter(revoked_at__isnull=True, user__is_active=True)
    counted = signed_in.aggregate(
        **{
            name: Count("pk", filter=Q(kind=kind))
            for name, kind in (
                ("sync_clients", DeviceKind.SYNC),
                ("browsers", DeviceKind.BROWSER),
                ("tokens", DeviceKind.TOKEN),
            )
        }
    )
    ids = list(signed_in.values_list("pk", flat=True))
    return Devices(online=_online(ids), **counted)


def _online(ids: list[UUID]) -> int | None:
    try:
        return sum(
            len(online_devices(ids[start : start + DEVICES_PER_QUESTION]))
            for start in range(0, len(ids), DEVICES_PER_QUESTION)
        )
    except ServiceUnavailable:
        # The page says "unknown" there, and its health panel says why.
        return None


def storage() -> Storage:
    uploaded = Q(status=FileStatus.UPLOADED)
    files = File.objects.aggregate(
        current=Sum("size_bytes", filter=uploaded & Q(deleted_at__isnull=True)),
        trashed=Sum("size_bytes", filter=uploaded & Q(deleted_at__isnull=False)),
        count=Count("pk", filter=uploaded & Q(deleted_at__isnull=True)),
    )
    versions = FileVersion.objects.filter(status=VersionStatus.COMMITTED).aggregate(
        all=Sum("size_bytes")
    )
    accounts = StorageAccount.objects.aggregate(reserved=Sum("reserved_bytes"))
    current, trashed = files["current"] or 0, files["trashed"] or 0
    return Storage(
        current_bytes=current,
        trashed_bytes=trashed,
        earlier_bytes=max(0, (versions["all"] or 0) - current - trashed),
        reserved_bytes=accounts["reserved"] or 0,
        file_count=files["count"],
    )


def blocks() -> BlockStats | None:
    try:
        return get_block_service().stats()
    except ServiceUnavailable:
        # The page says "unknown" there, and its health panel says why.
        return None


def deduplication_ratio(stats: BlockStats | None) -> float | None:
    """Bytes referenced by all versions for each byte stored; None while nothing is stored."""
    return stats.referenced_bytes / stats.stored_bytes if stats and stats.stored_bytes else None


def queues() -> Queues:
    now = timezone.now()
    outbox: dict[str, Any] = OutboxMessage.objects.aggregate(
        total=Count("pk"),
        due=Count("pk", filter=Q(due_at__lte=now)),
        oldest=Min("due_at", filter=Q(due_at__lte=now)),
    )
    return Queues(
        celery=_celery_depth(),
        outbox=outbox["total"],
        outbox_due=outbox["due"],
        outbox_oldest=outbox["oldest"],
        open_uploads=FileVersion.objects.filter(status=VersionStatus.PENDING).count(),
    )


def _celery_depth() -> int | None:
    try:
        with connect(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2) as client:
            return sum(int(client.llen(queue)) for queue in CELERY_QUEUES)
    except REDIS_AWAY:
        return None


def top_users() -> list[TopUser]:
    """Those who use most, the first first; `share` is of the first one's bytes."""
    accounts = list(
        StorageAccount.objects.select_related("owner").order_by("-used_bytes", "owner")[:TOP_USERS]
    )
    most = max((account.used_bytes for account in accounts), default=0)
    return [
        TopUser(
            email=account.owner.email,
            used_bytes=account.used_bytes,
            limit_bytes=account.limit_bytes,
            share=account.used_bytes / most if most else 0.0,
        )
        for account in accounts
    ]
