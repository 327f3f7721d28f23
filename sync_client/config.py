"""What a device knows across restarts: its server, its login and its linked folders.

One folder per device (`DRIVE_CONFIG_DIR`), so that several devices can live on one machine.
Only its owner may look inside: the token in it is the device's login.
"""

import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from fcntl import LOCK_EX, LOCK_UN, flock
from pathlib import Path
from typing import Any

from sync_client.errors import NotLinked, SyncError
from sync_client.limits import Rates
from sync_client.stash import STASH_KEPT_NS

SCHEMA = 1


class ConfigProblem(SyncError):
    """The configuration folder cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Deselected:
    """A folder of the server that is not kept here. `path`: where it was when that was said,
    from the linked folder; the id is what counts."""

    folder_id: str
    path: str


@dataclass(frozen=True, slots=True)
class Root:
    """A linked folder: where it is here, and which folder of the server it is the same as."""

    root_id: str
    path: str
    remote_path: str
    namespace_id: str
    folder_id: str
    deselected: tuple[Deselected, ...] = ()


@dataclass(frozen=True, slots=True)
class Login:
    """Which server knows this device, and as what."""

    server_url: str
    email: str
    user_id: str
    device_id: str
    device_name: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing is synced. until: seconds since 1970 at which it ends; None: when told to."""

    until: float | None = None

    def is_over(self, now: float) -> bool:
        return self.until is not None and now >= self.until


@dataclass(frozen=True, slots=True)
class Config:
    """Everything but the token. No login: nobody signed in, or signed out again."""

    login: Login | None = None
    roots: tuple[Root, ...] = ()
    pause: Pause | None = None
    rates: Rates = field(default_factory=Rates)
    # Rules of this device, besides those of `.driveignore` files, for all folders.
    ignore: tuple[str, ...] = ()

    def signed_in(self) -> Login:
        """The login. Raises NotLinked without one."""
        if self.login is None:
            raise NotLinked("This device is not signed in. Sign in first: drive login URL")
        return self.login

    def pause_now(self) -> Pause | None:
        """The pause, unless its time is over."""
        return None if self.pause is None or self.pause.is_over(time.time()) else self.pause

    def linked(self) -> tuple[Root, ...]:
        """The linked folders. Raises NotLinked without login or folder."""
        self.signed_in()
        if not self.roots:
            raise NotLinked("No folder is linked yet. Link one: drive link FOLDER")
        return self.roots


def config_dir() -> Path:
    """The folder of this device: `DRIVE_CONFIG_DIR`, else the usual place of the system."""
    configured = os.environ.get("DRIVE_CONFIG_DIR")
    if configured:
        return Path(configured).expanduser().absolute()
    from platformdirs import user_config_path

    return user_config_path("drive")


class Store:
    """The configuration folder. Every write replaces a whole file, so a crash leaves the
    old one or the new one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def log_path(self) -> Path:
        return self.folder / "daemon.log"

    def prepare(self) -> None:
        """Make the folder, for its owner only. Raises ConfigProblem where that fails."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.folder.stat().st_mode & 0o077:
                self.folder.chmod(0o700)
        except OSError as error:
            raise ConfigProblem(
                f"{self.folder} cannot be used: {error.strerror}. "
                "Set DRIVE_CONFIG_DIR to a folder of your own."
            ) from error

    def load(self) -> Config:
        """The configuration; an empty one where none was written yet."""
        try:
            text = (self.folder / "config.json").read_text(encoding="ascii")
        except FileNotFoundError:
            return Config()
        except OSError as error:
            raise ConfigProblem(f"{self.folder} cannot be read: {error.strerror}.") from error
        try:
            return _config_of(json.loads(text))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigProblem(
                f"{self.folder / 'config.json'} is damaged. Move it away, then sign in and "
                "link again: nothing is lost, equal files are found again."
            ) from error

    def save(self, config: Config) -> None:
        document = {
            "schema": SCHEMA,
            "login": asdict(config.login) if config.login else None,
            "roots": [asdict(root) for root in config.roots],
            "pause": asdict(config.pause) if config.pause else None,
            "rates": asdict(config.rates),
            "ignore": config.ignore,
        }
        # ASCII: a path that is not UTF-8 has lone surrogates, which only escapes can carry.
        self._replace("config.json", json.dumps(document, indent=1) + "\n")

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the right to read and write the configuration; other commands wait."""
        self.prepare()
        with (self.folder / "config.lock").open("w") as lock:
            flock(lock, LOCK_EX)
            try:
                yield
            finally:
                flock(lock, LOCK_UN)

    def token(self) -> str:
        """The device's token. Raises NotLinked where there is none."""
        try:
            return (self.folder / "token").read_text(encoding="ascii").strip()
        except FileNotFoundError:
            raise NotLinked(
                "This device is not signed in. Sign in first: drive login URL"
            ) from None

    def has_token(self) -> bool:
        return (self.folder / "token").exists()

    def sign_in(self, login: Login, token: str) -> tuple[Root, ...]:
        """Keep a login. Linked folders stay linked when it is the same user of the same server;
        the answer is those that do not."""
        with self.changing():
            before = self.load()
            # The id says which server it is, too: its address can be written in many ways.
            same = before.login is not None and before.login.user_id == login.user_id
            # Token first: a config that names a device whose token is missing is worse than
            # a token that nothing names.
            self._replace("token", token + "\n")
            self.save(replace(before, login=login, roots=before.roots if same else ()))
            return () if same else before.roots

    def sign_out(self) -> None:
        """Forget login and links. What is in the folders stays."""
        with self.changing():
            (self.folder / "token").unlink(missing_ok=True)
            (self.folder / "account.json").unlink(missing_ok=True)
            before = self.load()
            self.save(Config(rates=before.rates, ignore=before.ignore))
            self.drop_old_states()

    def put_root(self, root: Root, *, instead_of: Root | None = None) -> None:
        """Remember a linked folder, perhaps in the place of another; call it while `changing`."""
        config = self.load()
        kept = tuple(each for each in config.roots if each != instead_of)
        self.save(replace(config, roots=(*kept, root)))

    def replace_root(self, root: Root) -> None:
        """Change what is known of a linked folder; call it while `changing`."""
        config = self.load()
        self.save(
            replace(
                config,
                roots=tuple(
                    root if each.root_id == root.root_id else each for each in config.roots
                ),
            )
        )

    def drop_root(self, root: Root) -> None:
        """Link a folder no longer; its state goes with `drop_old_states`."""
        with self.changing():
            config = self.load()
            kept = tuple(each for each in config.roots if each.root_id != root.root_id)
            self.save(replace(config, roots=kept))

    def drop_old_states(self) -> None:
        """Delete what is kept of folders that are no longer linked: it holds their names.

        Call it while nobody works on the folders.
        """
        linked = {root.root_id for root in self.load().roots}
        with contextlib.suppress(FileNotFoundError):
            for state in (self.folder / "roots").iterdir():
                if state.name not in linked:
                    shutil.rmtree(state)
        with contextlib.suppress(FileNotFoundError):
            for stash in (self.folder / "stash").iterdir():
                if stash.name not in linked:
                    _drop_old_entries(stash)

    def account(self) -> dict[str, Any]:
        """What the server last said of the account's storage; empty if it never did."""
        try:
            found = json.loads((self.folder / "account.json").read_text(encoding="ascii"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def save_account(self, account: dict[str, Any]) -> None:
        self._replace("account.json", json.dumps(account) + "\n")

    def state_dir(self, root: Root) -> Path:
        """Where the state of one linked folder is kept; made if missing."""
        folder = self.folder / "roots" / root.root_id
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def stash_dir(self, root: Root) -> Path:
        """Where files go that were removed from a linked folder, where its disk is this one."""
        return self.folder / "stash" / root.root_id

    def _replace(self, name: str, text: str) -> None:
        draft = self.folder / f".{name}.{secrets.token_hex(4)}"
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            draft.replace(self.folder / name)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise ConfigProblem(f"{self.folder} cannot be written: {error.strerror}.") from error
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _drop_old_entries(stash: Path) -> None:
    """Empty the stash of a folder that is linked no more of what is old enough."""
    before_ns = time.time_ns() - STASH_KEPT_NS
    for entry in stash.iterdir():
        stamp = entry.name.partition("-")[0]
        if stamp.isdecimal() and int(stamp) < before_ns:
            shutil.rmtree(entry)
    with contextlib.suppress(OSError):
        # It is empty, or it is not yet time.
        stash.rmdir()


def _config_of(document: dict[str, Any]) -> Config:
    if document["schema"] != SCHEMA:
        raise ValueError(f"schema {document['schema']}")
    return Config(
        login=Login(**document["login"]) if document["login"] else None,
        roots=tuple(_root_of(root) for root in document["roots"]),
        # Not there in what an older release wrote.
        pause=Pause(**document["pause"]) if document.get("pause") else None,
        rates=Rates(**document.get("rates", {})),
        ignore=tuple(document.get("ignore", ())),
    )


def _root_of(document: dict[str, Any]) -> Root:
    return Root(
        **{
            **document,
            "deselected": tuple(Deselected(**each) for each in document.get("deselected", ())),
        }
    )
