"""Activity as the page shows it: what one device did to many items of a folder is one line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from files.models import ItemType, UserDevice
from files.queries import Event, What
from files.web import words

# What lies further apart is told apart.
TOGETHER = timedelta(minutes=10)
NAMES_SHOWN = 5

ICONS = {
    What.ADDED: "plus",
    What.EDITED: "pencil",
    What.RENAMED: "pencil",
    What.MOVED: "folder-input",
    What.DELETED: "trash-2",
    What.RESTORED: "rotate-ccw",
    What.CHANGED: "refresh-cw",
}


@dataclass(frozen=True, slots=True)
class Happening:
    """One line: the latest first of `events`, which are alike."""

    events: Sequence[Event]

    @property
    def what(self) -> str:
        return self._latest.what.value

    @property
    def icon(self) -> str:
        return ICONS[self._latest.what]

    @property
    def moment(self) -> datetime:
        return self._latest.change.changed_at

    @property
    def device(self) -> UserDevice | None:
        return self._latest.device

    @property
    def count(self) -> int:
        return len(self.events)

    @property
    def name(self) -> str:
        """Of its only, or its latest item."""
        return _name(self._latest)

    @property
    def old_name(self) -> str:
        return (self._latest.old_path or "").rpartition("/")[2]

    @property
    def old_folder(self) -> str:
        return _folder(self._latest.old_path or "/")

    @property
    def names(self) -> list[str]:
        """The names to be shown of many."""
        return [_name(event) for event in self.events[:NAMES_SHOWN]]

    @property
    def more(self) -> int:
        """How many are not named."""
        return max(0, self.count - NAMES_SHOWN)

    @property
    def folder_id(self) -> str | None:
        """The folder where it happened, as long as it is there."""
        return None if self._latest.place is None else str(self._latest.place.pk)

    @property
    def folder(self) -> str:
        """The path of that folder."""
        return _folder(self._latest.path)

    @property
    def kind(self) -> str:
        """The hue of its icon."""
        return _kind(self._latest)

    @property
    def _latest(self) -> Event:
        return self.events[0]


def together(events: Sequence[Event]) -> Iterator[Happening]:
    """The events of a page, the newest first, as lines."""
    alike: list[Event] = []
    for event in events:
        if alike and not _belongs(alike[-1], event):
            yield Happening(alike)
            alike = []
        alike.append(event)
    if alike:
        yield Happening(alike)


def _belongs(later: Event, earlier: Event) -> bool:
    return (
        later.what is earlier.what
        and later.device == earlier.device
        and _folder(later.path) == _folder(earlier.path)
        # Where each came from is worth a line.
        and later.what is not What.RENAMED
        and _folder(later.old_path or "/") == _folder(earlier.old_path or "/")
        and later.change.changed_at - earlier.change.changed_at <= TOGETHER
    )


def _name(event: Event) -> str:
    return event.path.rpartition("/")[2]


def _folder(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _kind(event: Event) -> str:
    if event.change.item_type == ItemType.FOLDER:
        return "folder"
    return words.kind_of(_name(event))[1]
