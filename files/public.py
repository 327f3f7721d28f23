"""What the Notification Service may ask of the File Service. Plain data crosses this border.

Devices sign in here with what they hold; heads and cursors say how far somebody is; acks
say how far a device has come.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import import_module
from typing import NamedTuple, TypeVar
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user
from django.db.models import OuterRef, Subquery
from django.http import HttpRequest
from django.utils import timezone

from drive_project.common.errors import InvalidCursor, NotAuthenticated
from files.journal import START, Position, decode_cursor, encode_cursor
from files.models import Change, DeviceKind, Membership, User, UserDevice
from files.services import devices

# A change is dated while its writer holds the namespace, and seen once that writer commits.
# No transaction takes this long: whatever is dated further back is visible by now.
CLOCK_MARGIN = timedelta(seconds=60)
# Values in one query: well below the number of parameters that SQLite takes.
VALUES_AT_ONCE = 500

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Session:
    """A device that has shown who it is."""

    user_id: UUID
    device_id: UUID
    # A browser's tabs share one device, and each has a connection of its own.
    is_browser: bool
    last_sync_time: datetime | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a cursor compares with all that its owner can read now.

    seen: the seq that the cursor has of each namespace. newer: the namespaces about which
    the journal says something else, one that went another way after a restore included.
    """

    cursor: str
    seen: Mapping[UUID, int]
    newer: frozenset[UUID]


def sign_in_with_tokens(tokens: Collection[str]) -> dict[str, Session]:
    """The devices of these bearer tokens; without unknown, revoked and switched-off ones."""
    return {
        token: _session_of(device)
        for some in _portions(tokens)
        for token, device in devices.devices_of_tokens(some).items()
    }


def sign_in_with_browser(session_key: str) -> Session | None:
    """The device that a browser's session is; None when nobody is signed in there."""
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    # Checks too that the password is still the one of the sign-in.
    user = get_user(request)
    if not isinstance(user, User) or request.session.session_key is None:
        return None
    try:
        return _session_of(devices.browser_device(user, request.session.session_key))
    except NotAuthenticated:
        return None


def _session_of(device: UserDevice) -> Session:
    return Session(
        user_id=device.user_id,
        device_id=device.pk,
        is_browser=device.kind == DeviceKind.BROWSER,
        last_sync_time=device.last_sync_time,
    )


def signed_in_devices(device_ids: Collection[UUID]) -> set[UUID]:
    """Those of these devices that are neither revoked nor a switched-off person's."""
    return {
        device_id
        for some in _portions(device_ids)
        for device_id in UserDevice.objects.filter(
            pk__in=some, revoked_at__isnull=True, user__is_active=True
        ).values_list("pk", flat=True)
    }


def revoked_since(moment: datetime) -> set[UUID]:
    """The devices that were signed out after this moment, or not long before it."""
    return set(
        UserDevice.objects.filter(revoked_at__gte=moment - CLOCK_MARGIN).values_list(
            "pk", flat=True
        )
    )


def members_of(namespace_ids: Collection[UUID]) -> dict[UUID, set[UUID]]:
    """Who can read each of these namespaces now, by namespace."""
    members: dict[UUID, set[UUID]] = {}
    for some in _portions(namespace_ids):
        for namespace_id, user_id in Membership.objects.filter(namespace_id__in=some).values_list(
            "namespace_id", "user_id"
        ):
            members.setdefault(namespace_id, set()).add(user_id)
    return members


def heads_of(user_ids: Collection[UUID]) -> dict[UUID, dict[UUID, int]]:
    """For each of these people the head seq of every namespace that they can read."""
    heads: dict[UUID, dict[UUID, int]] = {user_id: {} for user_id in user_ids}
    for some in _portions(user_ids):
        for user_id, namespace_id, seq in Membership.objects.filter(user_id__in=some).values_list(
            "user_id", "namespace_id", "namespace__head_seq"
        ):
            heads[user_id][namespace_id] = seq
    return heads


class _Head(NamedTuple):
    """Where a namespace stands, and since when at the latest one of its members reads it."""

    position: Position
    changed_at: datetime | None
    joined_at: datetime


def _head_positions(user_ids: Collection[UUID]) -> dict[UUID, dict[UUID, _Head]]:
    """For each of these people the head of every namespace that they can read."""
    heads: dict[UUID, dict[UUID, _Head]] = {user_id: {} for user_id in user_ids}
    last_change = Change.objects.filter(
        namespace_id=OuterRef("namespace_id"), seq=OuterRef("namespace__head_seq")
    )
    for some in _portions(user_ids):
        for user_id, namespace_id, seq, change_id, changed_at, joined_at in (
            Membership.objects.filter(user_id__in=some)
            .annotate(change_id=Subquery(last_change.values("change_id")))
            .values_list(
                "user_id",
                "namespace_id",
                "namespace__head_seq",
                "change_id",
                "namespace__last_changed_at",
                "created_at",
            )
        ):
            heads[user_id][namespace_id] = _Head(Position(seq, change_id), changed_at, joined_at)
    return heads


def compare(asked: Collection[tuple[UUID, str]]) -> dict[tuple[UUID, str], Standing]:
    """Where the cursors of these people stand; without those that are not this server's."""
    positions: dict[tuple[UUID, str], dict[UUID, Position]] = {}
    for user_id, cursor in asked:
        with suppress(InvalidCursor):
            positions[user_id, cursor] = decode_cursor(cursor)
    heads = _head_positions({user_id for user_id, _ in positions})
    return {
        (user_id, cursor): _standing(cursor, known, heads[user_id])
        for (user_id, cursor), known in positions.items()
    }


def compare_time(user_id: UUID, last_sync_time: datetime) -> Standing:
    """Where a device stands that has applied everything up to this moment.

    The cursor that comes along is surely not too late: it lies a minute before, and at the
    beginning of what the person could not read yet at that moment or of what the journal
    no longer tells.
    """
    moment = min(last_sync_time, timezone.now()) - CLOCK_MARGIN
    positions: dict[UUID, Position] = {}
    for membership in Membership.objects.filter(user_id=user_id):
        known = None
        if membership.created_at <= moment:
            known = (
                Change.objects.filter(namespace_id=membership.namespace_id, changed_at__lte=moment)
                # By time first: the index on it leads straight to the row.
                .order_by("-changed_at", "-seq")
                .values_list("seq", "change_id")
                .first()
            )
        positions[membership.namespace_id] = Position(*known) if known else START
    return _standing(encode_cursor(positions), positions, _head_positions([user_id])[user_id])


def _standing(
    cursor: str, positions: Mapping[UUID, Position], heads: Mapping[UUID, _Head]
) -> Standing:
    return Standing(
        cursor=cursor,
        seen={namespace_id: position.seq for namespace_id, position in positions.items()},
        newer=frozenset(
            namespace_id
            for namespace_id, head in heads.items()
            if positions.get(namespace_id, START) != head.position
        ),
    )


def record_ack(device_id: UUID, cursor: str) -> datetime | None:
    """Note that a device has applied everything up to this cursor; its new last_sync_time.

    That time is never ahead of what the device has: in a namespace that it knows to the end
    it is a minute ago, or the newest change where that is later; in another, the date of
    the last change that it has; where it has nothing yet, the moment its person joined. The
    earliest of them counts. None, and nothing is noted, for a cursor that does not fit the
    journal (older than it, or of another history): the device will be told so when it asks
    for changes. Raises InvalidCursor.
    """
    positions = decode_cursor(cursor)
    device = UserDevice.objects.filter(pk=device_id, revoked_at__isnull=True).first()
    if device is None:
        return None
    # Read before the heads: a change that comes in between is dated later or within the
    # margin.
    now = timezone.now()
    moments: list[datetime] = []
    for namespace_id, head in _head_positions([device.user_id])[device.user_id].items():
        position = positions.get(namespace_id, START)
        if position == head.position:
            at_head = now - CLOCK_MARGIN
            moments.append(max(at_head, head.changed_at) if head.changed_at else at_head)
        elif position == START:
            moments.append(head.joined_at)
        else:
            change = Change.objects.filter(namespace_id=namespace_id, seq=position.seq).first()
            if change is None or change.change_id != position.change_id:
                return None
            moments.append(change.changed_at)
    last_sync_time = min(moments, default=now - CLOCK_MARGIN)
    UserDevice.objects.filter(pk=device_id).update(
        cursor=cursor, last_sync_time=last_sync_time, last_seen_at=now
    )
    return last_sync_time


def _portions(values: Collection[V]) -> list[list[V]]:
    listed = list(values)
    return [
        listed[start : start + VALUES_AT_ONCE] for start in range(0, len(listed), VALUES_AT_ONCE)
    ]
