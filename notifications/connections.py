"""Who is connected to this process: user -> device -> connection -> session details.

Plain data, no input or output. One event loop owns it, so it takes no locks.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from uuid import UUID

from drive_project.common.ids import new_id

# More open connections of one person to one process are refused. A thousand devices on an
# account are promised to work; each connection costs some 50 KB.
MAX_CONNECTIONS_PER_USER = 2_000
# Of one browser: a program that opens tabs without end takes nothing from other devices.
MAX_CONNECTIONS_PER_DEVICE = 50


class Ending(Enum):
    """Why the server ends a connection."""

    REVOKED = "revoked"
    REPLACED = "replaced"


class TooManyConnections(Exception):
    """One person, or one browser, has as many connections to this process as it may."""


class Inbox:
    """What a waiting client is to be told. Signals of one namespace merge into the last."""

    def __init__(self) -> None:
        self._changed: dict[UUID, int] = {}
        self._ending: Ending | None = None
        self._filled = asyncio.Event()

    def put(self, namespace_id: UUID, seq: int) -> None:
        """Say that a namespace has reached this seq."""
        self._changed[namespace_id] = seq
        self._filled.set()

    def end(self, why: Ending) -> None:
        """Say that the connection has to end. The first reason stands."""
        self._ending = self._ending or why
        self._filled.set()

    async def wait(self) -> None:
        """Return once there is something to take."""
        await self._filled.wait()

    def take(self) -> tuple[dict[UUID, int], Ending | None]:
        """All signals since the last take, and whether (and why) to end."""
        changed, self._changed = self._changed, {}
        if self._ending is None:
            self._filled.clear()
        return changed, self._ending


@dataclass(slots=True)
class UserSessionDetails:
    """One connection. `known`: the seq of each namespace that its client has or was told."""

    user_id: UUID
    device_id: UUID
    last_sync_time: datetime | None
    # Each tab of a browser has a connection of its own; any other device has one.
    is_browser: bool
    since: datetime
    connection_id: UUID = field(default_factory=new_id)
    inbox: Inbox = field(default_factory=Inbox)
    known: dict[UUID, int] = field(default_factory=dict)
    # Whether our own word that the device is here has come back to us; until then a word
    # about another connection of it may be older than this one.
    is_announced: bool = False
    # Its long poll was answered: the device will ask again in a moment.
    comes_back: bool = False

    def signal(self, namespace_id: UUID, seq: int) -> None:
        """Tell the client of an event, unless it knows this seq or a later one."""
        if seq > self.known.get(namespace_id, -1):
            self.known[namespace_id] = seq
            self.inbox.put(namespace_id, seq)

    def compare(self, heads: Mapping[UUID, int]) -> None:
        """Tell the client where the heads differ from what it knows, lower ones included.

        A head that went back is that of a restored server.
        """
        for namespace_id, seq in heads.items():
            if self.known.get(namespace_id) != seq:
                self.known[namespace_id] = seq
                self.inbox.put(namespace_id, seq)

    def learn(self, known: Mapping[UUID, int]) -> None:
        """Note what the client knows by itself, and forget signals that say no more."""
        self.known = {**self.known, **known}
        waiting, _ = self.inbox.take()
        for namespace_id, seq in waiting.items():
            if seq > known.get(namespace_id, -1):
                self.known[namespace_id] = seq
                self.inbox.put(namespace_id, seq)


class Connections:
    """The two maps of this process, always in step with each other."""

    def __init__(self) -> None:
        self._of_user: dict[UUID, dict[UUID, set[UUID]]] = {}
        self._count_of_user: Counter[UUID] = Counter()
        self._details: dict[UUID, UserSessionDetails] = {}

    def __len__(self) -> int:
        return len(self._details)

    def __iter__(self) -> Iterator[UserSessionDetails]:
        """All connections of this moment; they may be removed meanwhile."""
        return iter(list(self._details.values()))

    def register(self, details: UserSessionDetails) -> UserSessionDetails | None:
        """Add a connection; the one that it replaces, if the device had one, is removed.

        Raises TooManyConnections; nothing has changed then.
        """
        devices = self._of_user.get(details.user_id, {})
        mine = devices.get(details.device_id, set())
        replaced = None if details.is_browser else next(iter(mine), None)
        is_full = (
            self._count_of_user[details.user_id] >= MAX_CONNECTIONS_PER_USER
            or len(mine) >= MAX_CONNECTIONS_PER_DEVICE
        )
        if replaced is None and is_full:
            raise TooManyConnections
        removed = None if replaced is None else self.remove(replaced)
        self._of_user.setdefault(details.user_id, {}).setdefault(details.device_id, set()).add(
            details.connection_id
        )
        self._details[details.connection_id] = details
        self._count_of_user[details.user_id] += 1
        return removed

    def remove(self, connection_id: UUID) -> UserSessionDetails | None:
        """Take a connection out; None where it is out already (it was replaced)."""
        details = self._details.pop(connection_id, None)
        if details is not None:
            devices = self._of_user[details.user_id]
            devices[details.device_id].discard(connection_id)
            if not devices[details.device_id]:
                del devices[details.device_id]
            self._count_of_user[details.user_id] -= 1
            if not devices:
                del self._of_user[details.user_id]
                del self._count_of_user[details.user_id]
        return details

    def of_users(self, user_ids: Iterable[UUID]) -> list[UserSessionDetails]:
        """Every connection of these people."""
        return [
            self._details[connection_id]
            for user_id in user_ids
            for connection_ids in self._of_user.get(user_id, {}).values()
            for connection_id in connection_ids
        ]

    def of_device(self, user_id: UUID, device_id: UUID) -> list[UserSessionDetails]:
        """The connections of one device: at most one, or a browser's tabs."""
        connection_ids = self._of_user.get(user_id, {}).get(device_id, ())
        return [self._details[connection_id] for connection_id in connection_ids]

    @property
    def user_ids(self) -> set[UUID]:
        """Who is connected."""
        return set(self._of_user)

    @property
    def device_ids(self) -> set[UUID]:
        """Which devices are connected."""
        return {device_id for devices in self._of_user.values() for device_id in devices}
