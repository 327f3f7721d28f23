"""Which of a person's devices have the current content of a file, as far as they have said."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from drive_project.common.errors import InvalidCursor
from files.journal import START, Position, decode_cursor
from files.models import Change, DeviceKind, File, User, UserDevice
from files.queries.access import get_file
from files.queries.pages import Place, newest_first


class Holding(StrEnum):
    """What a device has of a file. behind: it has not said yet that it has the last change.

    unknown: it has never said how far it is, or speaks of a journal that is not this one.
    """

    CURRENT = "current"
    BEHIND = "behind"
    UNKNOWN = "unknown"


class Holder(NamedTuple):
    """A device and what it has; file_version_id only where that is certain."""

    device: UserDevice
    holding: Holding
    file_version_id: UUID | None


class Holders(NamedTuple):
    """Devices, the newest first; next_place: where the next page begins after."""

    items: Sequence[Holder]
    next_place: Place | None


def holders_of(user: User, file_id: UUID, *, after: Place | None = None, limit: int) -> Holders:
    """The person's own sync devices and what each has of a live file. Raises NotFound.

    Decided by the cursor that each acknowledged last: what it has applied up to the file's
    last entry in the journal, it has. Another member's devices are that member's business.
    """
    file = get_file(user, file_id)
    devices = UserDevice.objects.filter(user=user, kind=DeviceKind.SYNC, revoked_at__isnull=True)
    found, next_place = newest_first(devices, "created_at", after=after, limit=limit)
    positions = {device.pk: _position(device, file.namespace_id) for device in found}
    known = dict(
        Change.objects.filter(
            namespace=file.namespace_id,
            seq__in={position.seq for position in positions.values() if position is not None},
        ).values_list("seq", "change_id")
    )
    return Holders([_holder(each, file, positions[each.pk], known) for each in found], next_place)


def _position(device: UserDevice, namespace_id: UUID) -> Position | None:
    """How far the device is in a namespace; None where it has not said so."""
    if not device.cursor:
        return None
    try:
        return decode_cursor(device.cursor).get(namespace_id, START)
    except InvalidCursor:
        # Sealed with a key that the server has given up since; the next one will be readable.
        return None


def _holder(
    device: UserDevice, file: File, position: Position | None, known: dict[int, UUID]
) -> Holder:
    if position is None or (position != START and known.get(position.seq) != position.change_id):
        return Holder(device, Holding.UNKNOWN, None)
    if position.seq < file.rev:
        return Holder(device, Holding.BEHIND, None)
    return Holder(device, Holding.CURRENT, file.current_version_id)
