"""A backup is made while people work, and becomes a server again that has lost nothing."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.test import override_settings

from blocks import holds
from blocks.models import Hold
from blocks.storage import LocalObjectStore, get_object_store
from drive_project import backup, dumps
from drive_project.archive import Archive, Dump, NotUsable
from drive_project.restore import check
from files.models import File, FileStatus, UserDevice
from tests.blocks.worlds import let_time_pass
from tests.files.uploading import Uploader
from tests.people import PASSWORD
from tests.plugin import runs_on_postgres
from tests.services.drive import RunningDrive

# What a backup copies must be committed.
pytestmark = pytest.mark.django_db(transaction=True)

ONE, OTHER = b"a" * 300_000, b"b" * 300_000


@pytest.fixture(autouse=True)
def blocks_dir(tmp_path: Path) -> Iterator[Path]:
    with override_settings(BLOCKS_DIR=tmp_path / "blocks"):
        get_object_store.cache_clear()
        yield tmp_path / "blocks"
        get_object_store.cache_clear()


@pytest.fixture
def uploader(laptop: UserDevice) -> Uploader:
    uploader = Uploader(laptop)
    file = uploader.put(ONE + OTHER, name="film", block_bytes=300_000)["file"]
    uploader.edit(file, OTHER)
    for number in range(5):
        uploader.put(b"%d" % number, name=f"small {number}")
    uploader.begin(b"open", name="open")
    return uploader


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[RunningDrive]:
    """Another machine: an empty data folder, and empty databases of the same kind."""
    with ExitStack() as stack:
        drive = RunningDrive(tmp_path / "elsewhere")
        if runs_on_postgres():
            drive.environment |= stack.enter_context(EmptyDatabases())
        yield drive


class EmptyDatabases:
    """Two new databases on the server of the tests."""

    def __enter__(self) -> dict[str, str]:
        own = os.environ["DATABASE_URL"]
        self._server = urlunsplit(urlsplit(own)._replace(path="/postgres"))
        self._names = {"DATABASE_URL": "restored_files", "BLOCKS_DATABASE_URL": "restored_blocks"}
        self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", "CREATE DATABASE {}")
        return {
            variable: urlunsplit(urlsplit(own)._replace(path=f"/{name}"))
            for variable, name in self._names.items()
        }

    def __exit__(self, *error: object) -> None:
        self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)")

    def _run(self, *statements: str) -> None:
        with psycopg.connect(self._server, autocommit=True) as server:
            for name in self._names.values():
                for statement in statements:
                    server.execute(statement.format(name))


def make(folder: Path) -> str:
    output = StringIO()
    call_command("backup", str(folder), stdout=output)
    return output.getvalue()


def restore(drive: RunningDrive, folder: Path) -> None:
    done = drive.manage("restore", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No problems." in done.stdout


def deep_check(drive: RunningDrive) -> dict[str, Any]:
    done = drive.manage("fsck", "--deep", "--json")
    assert done.stdout, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def names(drive: RunningDrive) -> set[str]:
    done = drive.manage(
        *("shell", "-v0", "-c"),
        "from files.models import File; import json;"
        "print(json.dumps(list(File.objects.filter(status='uploaded')"
        ".values_list('name', flat=True))))",
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def own_names() -> set[str]:
    return set(File.objects.filter(status=FileStatus.UPLOADED).values_list("name", flat=True))


def test_a_backup_becomes_a_server_again(
    uploader: Uploader, elsewhere: RunningDrive, tmp_path: Path
) -> None:
    assert "complete" in make(tmp_path / "backup")

    restore(elsewhere, tmp_path / "backup")

    assert names(elsewhere) == own_names()
    report = deep_check(elsewhere)
    assert (report["problems"], report["checked"]["bytes"]) == ([], 600_005)
    key = elsewhere.data_dir / "secret.key"
    assert key.read_text() == settings.SECRET_KEY
    assert key.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "backup" / "secret.key").stat().st_mode & 0o777 == 0o600
    if runs_on_postgres():
        # New rows get numbers that are free.
        made = elsewhere.manage(
            "create_user", "new@example.com", "--password-stdin", stdin=PASSWORD
        )
        assert made.returncode == 0, made.stderr


def test_the_next_backup_copies_only_what_is_new_and_keeps_no_more_than_it_needs(
    uploader: Uploader, elsewhere: RunningDrive, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    make(folder)
    [old_metadata] = (folder / "metadata").iterdir()
    objects = {path: path.stat().st_ino for path in (folder / "objects").rglob("*/*/*/*")}
    stray = folder / "objects" / "b" / "aa" / ("aa" * 32) / "left by a broken backup"
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"?")
    uploader.put(b"added", name="added")

    assert "8 objects, 1 of them new" in make(folder)

    now = {path: path.stat().st_ino for path in (folder / "objects").rglob("*/*/*/*")}
    assert objects.items() <= now.items()
    assert len(now) == 8
    assert not stray.exists()
    assert not old_metadata.exists()
    restore(elsewhere, folder)
    assert "added" in names(elsewhere)


def test_a_backup_that_broke_off_leaves_the_one_before(
    uploader: Uploader, elsewhere: RunningDrive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backup"
    make(folder)
    uploader.put(b"added", name="added")
    read = LocalObjectStore.read

    def break_off(store: LocalObjectStore, location: str, **options: int) -> bytes | None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalObjectStore, "read", break_off)
    with pytest.raises(KeyboardInterrupt):
        make(folder)
    monkeypatch.setattr(LocalObjectStore, "read", read)

    assert not Hold.objects.exists()
    restore(elsewhere, folder)
    assert "added" not in names(elsewhere)


def test_nothing_is_taken_away_while_a_backup_is_made(
    uploader: Uploader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []
    read = LocalObjectStore.read

    def look(store: LocalObjectStore, location: str, **options: int) -> bytes | None:
        held.append(Hold.objects.exists())
        connections.close_all()  # of the copier's thread
        return read(store, location, **options)

    monkeypatch.setattr(LocalObjectStore, "read", look)
    monkeypatch.setattr(backup, "THREADS", 1)

    make(tmp_path / "backup")

    assert held == [True] * 7
    assert not holds.is_held()


def test_a_hold_that_ran_out_spoils_the_backup(
    uploader: Uploader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump = dumps.dump

    def dump_and_sleep(alias: str, *arguments: Any, **options: Any) -> Dump:
        done = dump(alias, *arguments, **options)
        let_time_pass(holds.LIFETIME + timedelta(seconds=1))
        return done

    monkeypatch.setattr(dumps, "dump", dump_and_sleep)

    with pytest.raises(CommandError, match="Try again") as error:
        make(tmp_path / "backup")

    assert error.value.returncode == 2
    assert not (tmp_path / "backup" / "manifest.json").exists()


def test_what_is_damaged_in_the_store_does_not_keep_the_rest_from_being_saved(
    uploader: Uploader, elsewhere: RunningDrive, tmp_path: Path, blocks_dir: Path
) -> None:
    whole, gone = sorted(
        (path for path in blocks_dir.rglob("*") if path.is_file()),
        key=lambda path: path.stat().st_size,
    )[-2:]
    gone.unlink()
    whole.write_bytes(b"x" * 300_000)
    folder = tmp_path / "backup"

    with pytest.raises(SystemExit) as end:
        make(folder)

    assert end.value.code == 1
    done = elsewhere.manage("restore", str(folder))
    assert done.returncode == 1, done.stderr
    assert "/film" in done.stdout
    assert {each["path"] for each in deep_check(elsewhere)["problems"]} == {"/film"}
    assert names(elsewhere) == own_names()


# --- What is refused ------------------------------------------------------------------------


def size_of(path: Path) -> int:
    return path.stat().st_size


def files_in(folder: Path) -> list[Path]:
    """All but what any command leaves in a data folder."""
    return sorted(
        path for path in folder.rglob("*") if path.name not in {"drive.pid", "secret.key"}
    )


def refused(drive: RunningDrive, folder: Path) -> str:
    before = files_in(drive.data_dir)
    done = drive.manage("restore", str(folder))
    assert (done.returncode, done.stdout) == (2, "")
    assert files_in(drive.data_dir) == before
    [line] = done.stderr.splitlines()
    return line


def test_only_a_whole_backup_is_restored(
    uploader: Uploader, elsewhere: RunningDrive, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    make(folder)
    first = next(path for path in (folder / "objects").rglob("*") if path.is_file())
    for path, how in {
        first: "missing or damaged",
        next(folder.rglob("objects.tsv")): "missing or damaged",
        max((folder / "metadata").glob("*/default/*"), key=size_of): "missing or damaged",
        folder / "secret.key": "not the key",
        folder / "manifest.json": "damaged",
    }.items():
        data = path.read_bytes()
        path.write_bytes(data[:-1])
        with pytest.raises(NotUsable, match=how):
            check(Archive(folder))
        path.write_bytes(data)
    assert check(Archive(folder)).object_count == 7
    (folder / "manifest.json").unlink()
    assert "no complete backup" in refused(elsewhere, folder)
    assert "is no backup" in refused(elsewhere, tmp_path / "nothing")


def test_only_an_empty_server_is_restored_into(
    uploader: Uploader, elsewhere: RunningDrive, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    make(folder)
    elsewhere.data_dir.mkdir()
    (elsewhere.data_dir / "blocks").mkdir()
    assert "not empty" in refused(elsewhere, folder)
    (elsewhere.data_dir / "blocks").rmdir()
    elsewhere.environment["SECRET_KEY"] = "x" * 60
    assert "another key" in refused(elsewhere, folder)
    del elsewhere.environment["SECRET_KEY"]
    restore(elsewhere, folder)
    assert "not empty" in refused(elsewhere, folder)
    if runs_on_postgres():
        shutil.rmtree(elsewhere.data_dir)
        assert "not empty (it has rows in" in refused(elsewhere, folder)


def test_a_folder_of_something_else_is_left_alone(uploader: Uploader, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()

    with pytest.raises(CommandError, match="neither empty nor a backup") as error:
        make(tmp_path / "photos")

    assert error.value.returncode == 2
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cat.jpg"]


def test_a_backup_does_not_lie_in_what_it_is_a_copy_of(uploader: Uploader) -> None:
    inside = Path(settings.DATA_DIR) / "copies" / "backup"

    with pytest.raises(CommandError, match="inside the data folder") as error:
        make(inside)

    assert error.value.returncode == 2
    assert not inside.parent.exists()


def test_the_wrong_kind_of_database_is_said(uploader: Uploader, tmp_path: Path) -> None:
    make(tmp_path / "backup")
    manifest = check(Archive(tmp_path / "backup"))

    with pytest.raises(NotUsable, match=f"is of another, .* is {connection.vendor}"):
        dumps.check_fits("default", replace(manifest.databases["default"], vendor="another"))
    newer = replace(manifest.databases["default"], migrations=(("files", "0999_later"),))
    with pytest.raises(NotUsable, match="newer release"):
        dumps.check_fits("default", newer)
