"""Only one sync client works on a linked folder, however many settings name it."""

import shutil
from pathlib import Path

import pytest

from sync_client.filesystem import prepare_root
from sync_client.root_lock import InUse, RootLock


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    prepare_root(root, root_id="r", device_id="d")
    return root


def test_a_second_client_is_told_to_leave_the_folder_alone(root: Path):
    first, second = RootLock(root), RootLock(root)
    first.claim()
    first.claim()
    with pytest.raises(InUse, match="Another sync client") as caught:
        second.claim()
    assert caught.value.next_step

    first.release()
    second.claim()
    with pytest.raises(InUse):
        first.claim()
    second.release()


def test_another_disk_at_the_same_place_is_claimed_anew(root: Path, tmp_path: Path):
    lock, other = RootLock(root), RootLock(root)
    lock.claim()
    root.rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError):
        lock.claim()
    shutil.copytree(tmp_path / "away", root)
    lock.claim()
    with pytest.raises(InUse):
        other.claim()
    RootLock(tmp_path / "away").claim()
    lock.release()
