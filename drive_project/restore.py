"""`manage.py restore`: a backup becomes a server again.

Everything is checked before anything is written, and the databases come last: what breaks off
before is no server yet. At the end both databases are made to agree (`fsck --repair`), since
the copies are of two moments. Devices notice by themselves that the journal has gone another
way, and send again what came after the backup.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.db import connections
from django.utils import timezone

from blocks import scrub
from blocks.models import Hold
from blocks.scrub import Scrubbed
from blocks.storage import ObjectStore
from blocks.transactions import chunks
from drive_project import dumps, fsck, up
from drive_project.archive import Archive, ListedObject, Manifest, NotUsable
from drive_project.databases import migrate_all
from drive_project.problems import Problem
from files.models import OutboxMessage
from files.outbox import CHANGED
from files.services.damage import note_damage

THREADS = 8
BATCH = 500
# What may be in a data folder that was never used: made by this very command, and by others.
UNUSED = {"secret.key", "drive.pid", "migrate.lock"}


def check(archive: Archive) -> Manifest:
    """The manifest, when all of the backup is there and this server is empty. Raises NotUsable."""
    manifest = archive.manifest()
    if manifest is None:
        raise NotUsable(
            f"{archive.folder} holds no complete backup."
            if archive.mark.exists()
            else f"{archive.folder} is no backup."
        )
    _check_key(archive, manifest)
    for dump in manifest.databases.values():
        for part in dump.parts:
            archive.check(part)
    archive.check(manifest.objects)
    for item in archive.listed(manifest.objects):
        if item.sha256 and _size(archive.objects / item.location) != item.size_bytes:
            raise NotUsable(
                f"{archive.objects / item.location} is missing or damaged. "
                "Use another copy of the backup."
            )
    return manifest


def check_empty(manifest: Manifest, store: ObjectStore) -> None:
    """Raises NotUsable unless data folder, databases and store hold nothing yet."""
    data_dir = Path(settings.DATA_DIR)
    in_use = sorted({path.name for path in data_dir.iterdir()} - UNUSED)
    if in_use:
        raise NotUsable(
            f"The data folder {data_dir} is not empty (it has {in_use[0]}). "
            "Choose a new one with DRIVE_DATA_DIR."
        )
    for alias, dump in manifest.databases.items():
        name = connections[alias].settings_dict["NAME"]
        if connections[alias].vendor == "sqlite" and Path(name).exists():
            raise NotUsable(f"There is a database {name} already. Move it away.")
        dumps.check_fits(alias, dump)
    if next(iter(store.listing()), None) is not None:
        raise NotUsable("The object store is not empty. Restore into a new folder or bucket.")


def _check_key(archive: Archive, manifest: Manifest) -> None:
    try:
        key = archive.secret_key.read_text(encoding="utf-8")
    except OSError as error:
        raise NotUsable(f"{archive.secret_key} cannot be read: {error.strerror}.") from error
    if hashlib.sha256(key.encode()).hexdigest() != manifest.secret_key_sha256:
        raise NotUsable(f"{archive.secret_key} is not the key of this backup.")
    if os.environ.get("SECRET_KEY") and key != settings.SECRET_KEY:
        raise NotUsable(
            f"SECRET_KEY is set to another key than the backup's, which is in "
            f"{archive.secret_key}. Set it to that one, or unset it."
        )


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


@contextmanager
def stopped() -> Iterator[None]:
    """Nobody starts Drive on this data folder meanwhile. Raises NotUsable where it runs."""
    try:
        settings.DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
        with up.lock(settings.DATA_DIR):
            yield
    except up.CannotStart as error:
        raise NotUsable(str(error)) from error


def restore(
    folder: Path, *, store: ObjectStore, report: fsck.Report, say: Callable[[str], object]
) -> Iterator[Problem]:
    """Restore, and then every problem that is left.

    Raises NotUsable, before anything was written.
    """
    archive = Archive(folder)
    with stopped():
        manifest = check(archive)
        check_empty(manifest, store)
        lost = _write_objects(archive, manifest, store)
        say(f"{manifest.object_count - lost} objects are restored.")
        _write_key(archive)
        for alias, dump in manifest.databases.items():
            dumps.load(alias, archive, dump)
        migrate_all()
        say(f"Both databases are restored as they were at {manifest.started_at}.")
        # The backup's own, which was in force when the copy was made.
        Hold.objects.all().delete()
        # Signals for devices that were connected then; now each asks by itself.
        OutboxMessage.objects.filter(topic=CHANGED).delete()
        if lost or manifest.damaged:
            for _ in scrub.scrub(store=store, done=Scrubbed(), verified_before=timezone.now()):
                pass
            note_damage()
        yield from fsck.run(store=store, report=report, repair=True)


def _write_objects(archive: Archive, manifest: Manifest, store: ObjectStore) -> int:
    """Write all objects, each verified; how many could not be restored."""
    lost = 0
    with ThreadPoolExecutor(THREADS) as threads:
        for batch in chunks(archive.listed(manifest.objects), BATCH):
            for is_written in threads.map(lambda item: _write_object(archive, item, store), batch):
                lost += not is_written
    return lost


def _write_object(archive: Archive, item: ListedObject, store: ObjectStore) -> bool:
    if not item.sha256:
        return False
    data = (archive.objects / item.location).read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    # Also what is not right any more: of a pack, most may be; the check at the end tells.
    store.write(item.location, data, sha256=sha256)
    return sha256 == item.sha256


def _write_key(archive: Archive) -> None:
    if os.environ.get("SECRET_KEY"):
        return
    key = settings.DATA_DIR / "secret.key"
    draft = key.with_suffix(".new")
    draft.touch(mode=0o600)
    draft.write_text(archive.secret_key.read_text(encoding="utf-8"), encoding="utf-8")
    draft.replace(key)
