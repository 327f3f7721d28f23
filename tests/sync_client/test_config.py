"""What a device keeps across restarts, and what a crash in the middle of writing leaves."""

import json
import os
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sync_client.config import (
    Config,
    ConfigProblem,
    Deselected,
    Login,
    Pause,
    Root,
    Store,
    config_dir,
)
from sync_client.errors import NotLinked
from sync_client.limits import Rates

LOGIN = Login("https://drive.example.org", "alice@example.org", "u1", "d1", "laptop")
ROOT = Root("r1", "/home/alice/Drive", "/", "n1", "f1")


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "config")
    store.prepare()
    return store


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_nothing_is_configured_at_first(store):
    assert store.load() == Config()
    with pytest.raises(NotLinked):
        store.token()
    with pytest.raises(NotLinked):
        store.load().linked()


def test_login_and_folders_come_back(store):
    store.sign_in(LOGIN, "secret")
    with store.changing():
        store.put_root(ROOT)
    again = Store(store.folder)
    assert again.load() == Config(LOGIN, (ROOT,))
    assert again.token() == "secret"


def test_what_somebody_has_chosen_comes_back(store):
    chosen = Config(
        login=LOGIN,
        roots=(replace(ROOT, deselected=(Deselected("f2", "Photos/n\udcff"),)),),
        pause=Pause(until=12.5),
        rates=Rates(up=10_000),
        ignore=("*.o", "n\udcff"),
    )
    with store.changing():
        store.save(chosen)
    assert Store(store.folder).load() == chosen


def test_what_an_older_release_wrote_is_read(store):
    store.sign_in(LOGIN, "secret")
    path = store.folder / "config.json"
    document = json.loads(path.read_text())
    for key in ("pause", "rates", "ignore"):
        del document[key]
    path.write_text(json.dumps(document))
    assert store.load() == Config(LOGIN)


def test_a_pause_ends_by_itself():
    assert Config(pause=Pause()).pause_now() == Pause()
    assert Config(pause=Pause(until=0)).pause_now() is None
    assert Config(pause=Pause(until=1e12)).pause_now() == Pause(until=1e12)


def test_a_folder_that_is_linked_no_more_keeps_its_stash_for_a_while(store):
    store.sign_in(LOGIN, "secret")
    with store.changing():
        store.put_root(ROOT)
    now = time.time_ns()
    for entry in (f"{now}-00000000", f"{now - 8 * 24 * 3600 * 10**9}-00000000"):
        (store.stash_dir(ROOT) / entry).mkdir(parents=True)
        (store.stash_dir(ROOT) / entry / "a").write_text("text")
    store.state_dir(ROOT)
    store.drop_root(ROOT)
    store.drop_old_states()

    assert store.load().roots == ()
    assert not (store.folder / "roots" / "r1").exists()
    assert [each.name for each in store.stash_dir(ROOT).iterdir()] == [f"{now}-00000000"]


def test_only_the_owner_can_read_what_is_there(store):
    old_mask = os.umask(0)
    try:
        store.sign_in(LOGIN, "secret")
    finally:
        os.umask(old_mask)
    assert mode_of(store.folder) == 0o700
    assert mode_of(store.folder / "token") == 0o600
    assert mode_of(store.folder / "config.json") == 0o600


def test_a_folder_that_others_could_enter_is_closed(tmp_path):
    (tmp_path / "config").mkdir(mode=0o755)
    Store(tmp_path / "config").prepare()
    assert mode_of(tmp_path / "config") == 0o700


def test_the_token_stands_in_no_other_file(store):
    store.sign_in(LOGIN, "secret-token")
    for path in store.folder.iterdir():
        if path.name != "token":
            assert "secret-token" not in path.read_text()


def test_a_path_that_is_no_text_survives(store):
    odd = Root("r1", os.fsdecode(b"/home/alice/caf\xe9"), "/", "n1", "f1")
    with store.changing():
        store.put_root(odd)
    assert os.fsencode(store.load().roots[0].path) == b"/home/alice/caf\xe9"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_crash_while_writing_leaves_the_old_settings(store, monkeypatch, step):
    store.sign_in(LOGIN, "secret")

    def die(*args, **kwargs):
        raise KeyboardInterrupt

    target = os if step == "fsync" else Path
    with monkeypatch.context() as patch:
        patch.setattr(target, step, die)
        with pytest.raises(KeyboardInterrupt):
            store.save(Config())
    assert Store(store.folder).load() == Config(LOGIN)


def test_a_full_disk_is_said_and_the_old_settings_stay(store, monkeypatch):
    store.sign_in(LOGIN, "secret")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _no_space)
        with pytest.raises(ConfigProblem, match="No space left"):
            store.save(Config())
    assert store.load() == Config(LOGIN)
    assert sorted(path.name for path in store.folder.iterdir()) == [
        "config.json",
        "config.lock",
        "token",
    ]


def _no_space(descriptor):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 2, "login": null, "roots": []}'])
def test_damaged_settings_are_said_with_the_remedy(store, text):
    (store.folder / "config.json").write_text(text)
    with pytest.raises(ConfigProblem, match="Move it away"):
        store.load()


def test_signing_in_again_keeps_the_folders_of_the_same_person(store):
    store.sign_in(LOGIN, "old")
    with store.changing():
        store.put_root(ROOT)
    # The address of a server can be written in many ways.
    again = Login("https://DRIVE.example.org:443", LOGIN.email, LOGIN.user_id, "d2", "laptop")
    assert store.sign_in(again, "new") == ()
    assert store.load().roots == (ROOT,)
    assert store.token() == "new"


def test_somebody_elses_login_links_nothing_and_says_what_was_linked(store):
    store.sign_in(LOGIN, "old")
    with store.changing():
        store.put_root(ROOT)
    other = Login(LOGIN.server_url, "bob@example.org", "u2", "d2", "laptop")
    assert store.sign_in(other, "new") == (ROOT,)
    assert store.load().roots == ()


def test_signing_out_forgets_everything(store):
    store.sign_in(LOGIN, "secret")
    store.sign_out()
    assert store.load() == Config()
    assert not (store.folder / "token").exists()


def test_the_folder_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("DRIVE_CONFIG_DIR", str(tmp_path / "here"))
    assert config_dir() == tmp_path / "here"


def test_without_it_the_folder_is_where_the_system_keeps_settings(monkeypatch, tmp_path):
    monkeypatch.delenv("DRIVE_CONFIG_DIR", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert config_dir() == tmp_path / "drive"


def test_the_settings_are_readable_json(store):
    store.sign_in(LOGIN, "secret")
    document = json.loads((store.folder / "config.json").read_text())
    assert document["schema"] == 1
    assert document["login"]["device_name"] == "laptop"
