"""A backup as it lies in its folder.

    drive-backup               marks the folder as a backup's
    manifest.json              written last, so a backup without its own was never completed
    secret.key                 what sessions, cursors and URLs are signed with (mode 0600)
    metadata/BACKUP_ID/        both databases, and the list of objects, of one backup
    objects/b/…, objects/p/…   the objects by their locations, shared by all backups

An object never changes under its location, so the next backup copies only new ones; it
removes what it does not need after its manifest is in place, and nothing before.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

FORMAT = 1


class NotUsable(Exception):
    """One line for the operator: what is wrong with the folder, and the remedy."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the backup, by its path in the folder. columns: of a table, where it is one."""

    path: str
    size_bytes: int
    sha256: str
    table: str = ""
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dump:
    """A database at one moment. migrations: (app, name) of all that it has had."""

    vendor: str
    parts: tuple[Part, ...]
    migrations: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a complete backup consists of. damaged: objects that were not right any more."""

    format: int
    backup_id: str
    drive_version: str
    started_at: str
    finished_at: str
    secret_key_sha256: str
    databases: dict[str, Dump]
    objects: Part
    object_count: int
    object_bytes: int
    damaged: tuple[str, ...]


class ListedObject(NamedTuple):
    """An object as it was copied; sha256 is "" where there was nothing to copy."""

    location: str
    size_bytes: int
    sha256: str


class Archive:
    """The folder and where things are in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = folder / "drive-backup"
        self.manifest_path = folder / "manifest.json"
        self.secret_key = folder / "secret.key"
        self.metadata = folder / "metadata"
        self.objects = folder / "objects"

    def prepare(self) -> None:
        """Make the folder, for this user alone. Raises NotUsable for one of something else."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            is_new = next(self.folder.iterdir(), None) is None
            if not is_new and not self.mark.exists():
                raise NotUsable(
                    f"{self.folder} is neither empty nor a backup. Choose another folder."
                )
            self.mark.write_text(f"A backup of Drive, format {FORMAT}.\n", encoding="utf-8")
            for folder in (self.metadata, self.objects):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise NotUsable(f"{self.folder} cannot be written: {error.strerror}.") from error

    def manifest(self) -> Manifest | None:
        """That of the last complete backup, None where there is none.

        Raises NotUsable for one that cannot be read.
        """
        try:
            text = self.manifest_path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise NotUsable(f"{self.manifest_path} cannot be read: {error.strerror}.") from error
        try:
            fields = json.loads(text)
            if fields["format"] != FORMAT:
                raise NotUsable(
                    f"{self.folder} has format {fields['format']}; this release reads {FORMAT}. "
                    "Use the release that made it."
                )
            fields["databases"] = {
                alias: Dump(
                    dump["vendor"],
                    tuple(_part(part) for part in dump["parts"]),
                    tuple((app, name) for app, name in dump["migrations"]),
                )
                for alias, dump in fields["databases"].items()
            }
            fields["objects"] = _part(fields["objects"])
            fields["damaged"] = tuple(fields["damaged"])
            return Manifest(**fields)
        except (ValueError, TypeError, KeyError) as error:
            raise NotUsable(
                f"{self.manifest_path} is damaged. Use another copy of the backup."
            ) from error

    def write_manifest(self, manifest: Manifest) -> None:
        """Complete a backup: all before it is on the disk when it is."""
        os.sync()
        draft = self.manifest_path.with_suffix(".new")
        with draft.open("w", encoding="utf-8") as file:
            json.dump(asdict(manifest), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.manifest_path)
        os.sync()

    def part(
        self, path: Path, table: str = "", columns: tuple[str, ...] = (), *, sha256: str = ""
    ) -> Part:
        """A finished file as the manifest names it. sha256: where it is known already."""
        name = path.relative_to(self.folder).as_posix()
        return Part(name, path.stat().st_size, sha256 or sha256_of(path), table, columns)

    def check(self, part: Part) -> Path:
        """The file of a part, found right. Raises NotUsable."""
        path = self.folder / part.path
        try:
            is_right = path.stat().st_size == part.size_bytes and sha256_of(path) == part.sha256
        except OSError:
            is_right = False
        if not is_right:
            raise NotUsable(f"{path} is missing or damaged. Use another copy of the backup.")
        return path

    def listed(self, part: Part) -> Iterator[ListedObject]:
        """The objects of a backup, in order of their locations."""
        with (self.folder / part.path).open(encoding="ascii") as lines:
            for line in lines:
                location, size_bytes, sha256 = line.rstrip("\n").split("\t")
                yield ListedObject(location, int(size_bytes), sha256)


def _part(fields: dict[str, object]) -> Part:
    columns = fields["columns"]
    if not isinstance(columns, list):
        raise TypeError(columns)
    return Part(**{**fields, "columns": tuple(columns)})  # type: ignore[arg-type]


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
