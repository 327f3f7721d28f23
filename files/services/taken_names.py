"""Which names are taken in some folders, as a commit of many files needs it."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from uuid import UUID

from files.models import File, FileStatus, Folder
from files.names import name_key

Place = tuple[UUID, str]

# Candidates for a name that are looked up together.
CANDIDATES_AT_ONCE = 16


class TakenNames:
    """The live children of folders by name key: read in bulk, kept up to date by the caller.

    The caller holds the lock of the folders' namespace, so what was read stays true. same:
    gives the one instance that the caller uses for a file's row.
    """

    def __init__(self, same: Callable[[File], File]) -> None:
        self._same = same
        self._known: dict[Place, Folder | File | None] = {}

    def load(self, places: Iterable[Place]) -> None:
        """Look up many places (folder id, name key) with two queries."""
        wanted = set(places) - self._known.keys()
        if not wanted:
            return
        parents = {parent_id for parent_id, _ in wanted}
        keys = {key for _, key in wanted}
        self._known.update(dict.fromkeys(wanted))
        for folder in Folder.objects.filter(
            parent_folder__in=parents, name_key__in=keys, deleted_at__isnull=True
        ):
            if folder.parent_folder_id is not None:
                self._known[folder.parent_folder_id, folder.name_key] = folder
        for file in File.objects.filter(
            parent_folder__in=parents,
            name_key__in=keys,
            deleted_at__isnull=True,
            status=FileStatus.UPLOADED,
        ).select_related("current_version"):
            # A place that was taken since is newer than its row.
            place = file.parent_folder_id, file.name_key
            if self._known.get(place) is None:
                self._known[place] = self._same(file)

    def at(self, place: Place) -> Folder | File | None:
        """Who has a place; None while it is free."""
        self.load([place])
        return self._known[place]

    def take(self, file: File) -> None:
        """A file stands at its place from now on."""
        self._known[file.parent_folder_id, file.name_key] = file

    def first_free(self, parent_id: UUID, candidates: Iterator[str]) -> str:
        """The first of these names, of which there is no end, that is free in the folder."""
        # Mostly the first is free, and it was loaded together with those of other files.
        portion = 1
        while True:
            some = list(islice(candidates, portion))
            self.load((parent_id, name_key(each)) for each in some)
            for each in some:
                if self.at((parent_id, name_key(each))) is None:
                    return each
            portion = CANDIDATES_AT_ONCE
