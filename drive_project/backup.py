"""`manage.py backup`: a copy of everything, made while Drive runs.

First the file metadata, then the block metadata, then the objects that the second names. All
that time nothing is released, rewritten or deleted (`blocks.holds`), so whatever a version of
the first copy names is in the second, and in the store until it is copied.
"""

import fcntl
import hashlib
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db import connections
from django.utils import timezone

from blocks import holds
from blocks.storage import ObjectStore
from blocks.transactions import chunks
from drive_project import __version__, dumps
from drive_project.archive import Archive, ListedObject, Manifest, NotUsable
from drive_project.common.rendering import rfc3339

# How often the hold is renewed.
RENEW_EVERY = timedelta(minutes=1)
# Objects that are copied at once, and rows that are read at a time.
THREADS = 8
BATCH = 500
# All that the block metadata says must be in the store, in the order of its bytes.
OBJECTS = """
SELECT s3_location, size_bytes FROM (
    SELECT s3_location, size_bytes FROM blocks_storedobject
    UNION
    SELECT s3_location, size_bytes FROM blocks_blockupload WHERE verified_at IS NOT NULL
) AS objects ORDER BY s3_location COLLATE "{collation}"
"""
COLLATIONS = {"sqlite": "BINARY", "postgresql": "C"}


def make(folder: Path, *, store: ObjectStore, say: Callable[[str], object]) -> Manifest:
    """Back up into the folder; only what is not there yet is copied of the objects.

    What an earlier backup needs is kept until this one is complete. say: is told of each
    step. Raises NotUsable, HoldLost, and ServiceUnavailable when the store does not answer.
    """
    if folder.resolve().is_relative_to(Path(settings.DATA_DIR).resolve()):
        raise NotUsable(f"{folder} is inside the data folder, and would be lost with it.")
    archive = Archive(folder)
    archive.prepare()
    with _alone(archive), _held() as renew:
        started_at = timezone.now()
        before = archive.manifest()
        backup_id = f"{started_at:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        metadata = archive.metadata / backup_id
        metadata.mkdir(mode=0o700)
        wanted = metadata / "wanted.tsv"

        def list_objects(rows: dumps.Rows) -> None:
            query = OBJECTS.format(collation=COLLATIONS[connections["blocks"].vendor])
            with wanted.open("w", encoding="ascii") as file:
                for location, size_bytes in rows(query):
                    file.write(f"{location}\t{size_bytes}\n")

        databases = {"default": dumps.dump("default", archive, metadata / "default", renew=renew)}
        renew()
        databases["blocks"] = dumps.dump(
            "blocks", archive, metadata / "blocks", renew=renew, look=list_objects
        )
        renew()
        say("Both databases are copied.")
        listed = metadata / "objects.tsv"
        copied = _Copied()
        copier = _Copier(archive, store, before)
        with wanted.open(encoding="ascii") as rows, listed.open("w", encoding="ascii") as file:
            for item in copier.copy_all(rows, renew):
                file.write(f"{item.location}\t{item.size_bytes}\t{item.sha256}\n")
                copied.add(item)
        wanted.unlink()
        say(f"{copied.count} objects, {copier.new_count} of them new.")
        _write_secret_key(archive)
        # The hold was in force to the end, or this raises.
        renew(now=True)
        manifest = Manifest(
            format=1,
            backup_id=backup_id,
            drive_version=__version__,
            started_at=rfc3339(started_at),
            finished_at=rfc3339(timezone.now()),
            secret_key_sha256=hashlib.sha256(settings.SECRET_KEY.encode()).hexdigest(),
            databases=databases,
            objects=archive.part(listed),
            object_count=copied.count,
            object_bytes=copied.size_bytes,
            damaged=tuple(copied.damaged),
        )
        archive.write_manifest(manifest)
        _remove_what_is_old(archive, manifest)
    return manifest


@contextmanager
def _alone(archive: Archive) -> Iterator[None]:
    with archive.mark.open("r") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotUsable(f"Another backup into {archive.folder} is being made.") from None
        yield


class _Renewer:
    """Renews the hold when it is time."""

    def __init__(self, hold_id: UUID) -> None:
        self._hold_id = hold_id
        self._last = time.monotonic()

    def __call__(self, *, now: bool = False) -> None:
        if now or time.monotonic() - self._last > RENEW_EVERY.total_seconds():
            holds.renew(self._hold_id)
            self._last = time.monotonic()


@contextmanager
def _held() -> Iterator[_Renewer]:
    hold_id = holds.begin("a backup is being made")
    try:
        yield _Renewer(hold_id)
    finally:
        holds.end(hold_id)


class _Copied:
    """What the list of objects adds up to."""

    def __init__(self) -> None:
        self.count = self.size_bytes = 0
        self.damaged: list[str] = []

    def add(self, item: ListedObject) -> None:
        self.count += 1
        self.size_bytes += item.size_bytes
        if item.sha256 != _promised(item.location):
            self.damaged.append(item.location)


def _promised(location: str) -> str:
    """The SHA-256 that an object has by its name."""
    return location.split("/")[2]


class _Copier:
    """Copies objects by their locations, each verified by its hash."""

    def __init__(self, archive: Archive, store: ObjectStore, before: Manifest | None) -> None:
        self._archive = archive
        self._store = store
        # What a complete backup wrote was on the disk when it was complete, and was right.
        manifest = archive.manifest_path
        self._trusted_until = manifest.stat().st_mtime if before is not None else 0.0
        self._doubted = set() if before is None else set(before.damaged)
        self._lock = threading.Lock()
        self.new_count = 0

    def copy_all(self, rows: Iterator[str], renew: Callable[[], None]) -> Iterator[ListedObject]:
        """Copy what is not there yet, in the order of the list, several at a time."""
        with ThreadPoolExecutor(THREADS) as threads:
            for batch in chunks(rows, BATCH):
                places = [line.rstrip("\n").split("\t") for line in batch]
                for item in threads.map(self._copy, *zip(*places, strict=True)):
                    renew()
                    yield item

    def _copy(self, location: str, size_text: str) -> ListedObject:
        size_bytes = int(size_text)
        path = self._archive.objects / location
        if self._is_there(path, location, size_bytes):
            return ListedObject(location, size_bytes, _promised(location))
        data = self._store.read(location)
        if data is None:
            return ListedObject(location, 0, "")
        # Also where it is not right any more: of a pack, most may be.
        self._write(path, data)
        with self._lock:
            self.new_count += 1
        return ListedObject(location, len(data), hashlib.sha256(data).hexdigest())

    def _is_there(self, path: Path, location: str, size_bytes: int) -> bool:
        try:
            status = path.stat()
        except FileNotFoundError:
            return False
        if status.st_size != size_bytes or location in self._doubted:
            return False
        if status.st_mtime <= self._trusted_until:
            return True
        # Left by a backup that was not completed, perhaps by a power cut.
        return hashlib.sha256(path.read_bytes()).hexdigest() == _promised(location)

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.new")
        draft.write_bytes(data)
        draft.replace(path)


def _write_secret_key(archive: Archive) -> None:
    draft = archive.secret_key.with_suffix(".new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600, exist_ok=False)
    draft.write_text(settings.SECRET_KEY, encoding="utf-8")
    draft.replace(archive.secret_key)


def _remove_what_is_old(archive: Archive, manifest: Manifest) -> None:
    """Remove what only earlier backups, and such as were not completed, needed."""
    for folder in archive.metadata.iterdir():
        if folder.name != manifest.backup_id:
            shutil.rmtree(folder)
    # Both in order, so neither has to fit into memory.
    needed = archive.listed(manifest.objects)
    current = next(needed, None)
    for path in _files_in_order(archive.objects):
        location = path.relative_to(archive.objects).as_posix()
        while current is not None and current.location < location:
            current = next(needed, None)
        if current is None or current.location != location:
            path.unlink()


def _files_in_order(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield from _files_in_order(path)
        else:
            yield path
