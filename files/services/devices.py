"""Devices: signing in, being recognised, being named, being revoked."""

import hashlib
import time
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.contrib.auth.hashers import make_password
from django.core.cache import cache
from django.db import transaction
from django.utils import timezone

from drive_project.common.errors import (
    NotAuthenticated,
    NotFound,
    ServiceUnavailable,
    TooManyRequests,
)
from drive_project.common.tokens import new_token, token_digest
from files import events, outbox
from files.models import DeviceKind, User, UserDevice
from files.queries.pages import Place, newest_first

# A guesser gets this many wrong passwords for one account from one address in a window.
MAX_WRONG_SIGN_INS = 10
SIGN_IN_WINDOW_SECONDS = 15 * 60
# Written at most this often: a busy device must not cost a write for each request.
SEEN_AFTER = timedelta(minutes=1)


class SignedIn(NamedTuple):
    """A new device and its token, which is shown this once."""

    device: UserDevice
    token: str


def connect_device(
    *,
    user: User,
    name: str,
    platform: str = "",
    client_version: str = "",
    kind: DeviceKind = DeviceKind.SYNC,
) -> SignedIn:
    """A new device of a person who has proved who they are."""
    token = new_token()
    device = UserDevice.objects.create(
        user=user,
        kind=kind,
        name=name,
        platform=platform,
        client_version=client_version,
        token_digest=token_digest(token),
        last_seen_at=timezone.now(),
    )
    return SignedIn(device, token)


def sign_in(
    *,
    email: str,
    password: str,
    name: str,
    platform: str,
    client_version: str,
    address: str,
) -> SignedIn:
    """A new device for the right e-mail address and password.

    address: where the request comes from. Raises NotAuthenticated, alike and after the same
    work for a wrong password, an unknown and an inactive person; TooManyRequests before any
    password is hashed.
    """
    email = email.lower()
    attempt = _count_attempt(email, address)
    user = User.objects.filter(email=email).first()
    if user is None:
        # As slow as a real comparison, so that the time tells nobody who has an account.
        make_password(password)
        is_right = False
    else:
        is_right = user.check_password(password) and user.is_active
    if user is None or not is_right:
        raise NotAuthenticated("The e-mail address or the password is wrong.")
    # Only wrong ones count, yet each is counted beforehand: many at once get no more tries.
    cache.decr(attempt)
    return connect_device(user=user, name=name, platform=platform, client_version=client_version)


def _count_attempt(email: str, address: str) -> str:
    """Count a sign-in of this account from this address; the key under which it is counted."""
    window, elapsed = divmod(int(time.time()), SIGN_IN_WINDOW_SECONDS)
    who = hashlib.sha256(f"{email}\n{address}".encode()).hexdigest()
    key = f"sign-in:{who}:{window}"
    # Lives longer than its window, so it cannot expire between these two lines.
    cache.add(key, 0, timeout=2 * SIGN_IN_WINDOW_SECONDS)
    if cache.incr(key) > MAX_WRONG_SIGN_INS:
        raise TooManyRequests(
            "Too many wrong passwords; wait before you try again.",
            retry_after_seconds=SIGN_IN_WINDOW_SECONDS - elapsed,
        )
    return key


def device_of_token(token: str) -> UserDevice:
    """The device that holds a bearer token. Raises NotAuthenticated."""
    device = (
        UserDevice.objects.select_related("user").filter(token_digest=token_digest(token)).first()
    )
    if device is None or device.kind == DeviceKind.BROWSER:
        raise NotAuthenticated("This token is not known.")
    return _checked(device)


def devices_of_tokens(tokens: Collection[str]) -> dict[str, UserDevice]:
    """Those of these bearer tokens that sign a device in, by one question for all of them."""
    token_of = {token_digest(token): token for token in tokens}
    found = {
        token_of[device.token_digest]: device
        for device in UserDevice.objects.filter(
            token_digest__in=token_of, revoked_at__isnull=True, user__is_active=True
        ).exclude(kind=DeviceKind.BROWSER)
    }
    now = timezone.now()
    unseen = [device.pk for device in found.values() if _is_unseen(device, now)]
    if unseen:
        with transaction.atomic():
            # In one order, and none that somebody else writes just now: they are seen then.
            rows = UserDevice.objects.select_for_update(skip_locked=True)
            free = list(rows.filter(pk__in=unseen).order_by("pk").values_list("pk", flat=True))
            UserDevice.objects.filter(pk__in=free).update(last_seen_at=now)
    return found


def browser_device(user: User, session_key: str) -> UserDevice:
    """The device that a browser's session is, made on its first use.

    Raises NotAuthenticated when the session was revoked from another device.
    """
    device, _ = UserDevice.objects.select_related("user").get_or_create(
        # Never a bearer token: tokens are digested bare, sessions with this prefix.
        token_digest=token_digest(f"session:{session_key}"),
        defaults={
            "user": user,
            "kind": DeviceKind.BROWSER,
            "name": "Browser",
            "last_seen_at": timezone.now(),
        },
    )
    if device.user_id != user.pk:
        raise NotAuthenticated
    return _checked(device)


def _checked(device: UserDevice) -> UserDevice:
    if device.is_revoked:
        raise NotAuthenticated("This device has been signed out.")
    if not device.user.is_active:
        raise NotAuthenticated("This account is switched off.")
    now = timezone.now()
    if _is_unseen(device, now):
        device.last_seen_at = now
        UserDevice.objects.filter(pk=device.pk).update(last_seen_at=now)
    return device


def _is_unseen(device: UserDevice, now: datetime) -> bool:
    return device.last_seen_at is None or now - device.last_seen_at > SEEN_AFTER


def devices_of(
    user: User, *, after: Place | None = None, limit: int
) -> tuple[Sequence[UserDevice], Place | None]:
    """The person's devices that are signed in, newest first; where the next page begins after."""
    devices = UserDevice.objects.filter(user=user, revoked_at__isnull=True)
    return newest_first(devices, "created_at", after=after, limit=limit)


def online_among(devices: Iterable[UserDevice]) -> set[UUID]:
    """Which of these have an open connection; none while Redis, which knows it, is away."""
    try:
        return events.online_devices(device.pk for device in devices)
    except ServiceUnavailable:
        return set()


def get_device(user: User, device_id: UUID) -> UserDevice:
    """One of the person's signed-in devices. Raises NotFound."""
    device = UserDevice.objects.filter(user=user, pk=device_id, revoked_at__isnull=True).first()
    if device is None:
        raise NotFound
    return device


def rename_device(*, user: User, device_id: UUID, name: str) -> UserDevice:
    """Give a device another name; conflict copies that it makes from now on carry it."""
    device = get_device(user, device_id)
    device.name = name
    device.save(update_fields=["name"])
    return device


def revoke_device(*, user: User, device_id: UUID) -> None:
    """Sign a device out: its next request is refused and its open connection is closed."""
    with transaction.atomic():
        device = get_device(user, device_id)
        device.revoked_at = timezone.now()
        device.save(update_fields=["revoked_at"])
        outbox.add_revoked(device.pk)
