"""What could keep the sync client from doing its work, each with what to do about it."""

import email.utils
import errno
import os
import pathlib
import shutil
import socket
import sqlite3
import ssl
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from urllib.parse import urlsplit

import httpx

from sync_client import linux
from sync_client.api import USER_AGENT
from sync_client.config import Config, ConfigProblem, Root, Store
from sync_client.control import NotRunning, ask
from sync_client.database import SCHEMA_VERSION, read_only
from sync_client.errors import RootMissing, SyncError
from sync_client.filesystem import LocalFileSystem
from sync_client.linked import TREES, link_command
from sync_client.names import OWN_FOLDER, printable
from sync_client.trust import trusted

ANSWER_SECONDS = 15.0
# Signed URLs live 5 to 15 minutes, and logs are compared between machines.
SKEW_NOTED_SECONDS = 30
SKEW_FATAL_SECONDS = 240
LITTLE_SPACE_BYTES = 500_000_000
CERTIFICATE_DAYS = 14
_INOTIFY = pathlib.Path("/proc/sys/fs/inotify/max_user_watches")


class Level(StrEnum):
    """failure: something does not work. warning: it works, but not as well, or not for long."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. remedy: what to do, unless all is well."""

    check: str
    level: Level
    message: str
    remedy: str | None = None


def examine(store: Store) -> Iterator[Finding]:
    """Look at everything, one after another, and change nothing but a probe in `.drive`."""
    try:
        config = store.load()
    except ConfigProblem as problem:
        yield Finding("settings", Level.FAILURE, str(problem), "Move it away, then drive login URL")
        return
    yield Finding("settings", Level.OK, f"{store.folder} can be read.")
    if config.login is None:
        yield Finding(
            "login", Level.FAILURE, "This device is not signed in.", "drive login URL --email E"
        )
    else:
        yield from _server(store, config.login.server_url)
    yield _daemon(store, config)
    if not config.roots:
        yield Finding("folders", Level.WARNING, "No folder is linked.", "drive link FOLDER")
    for root in config.roots:
        yield from _root(store, root)
    if config.roots:
        yield _watches(store, config.roots)


def _server(store: Store, url: str) -> Iterator[Finding]:
    """Reached, its clock, its certificate, and whether it knows this device: one request."""
    headers = {"User-Agent": USER_AGENT, "Accept": "application/json"}
    if store.has_token():
        headers["Authorization"] = f"Bearer {store.token()}"
    try:
        began = time.time()
        answer = httpx.get(
            f"{url}/api/v1/account", headers=headers, timeout=ANSWER_SECONDS, verify=trusted()
        )
    except httpx.ConnectError as error:
        if "CERTIFICATE" in str(error).upper():
            yield _refused_certificate(url, str(error))
        else:
            yield _unreachable(url)
        return
    except httpx.TransportError:
        yield _unreachable(url)
        return
    is_drive = answer.headers.get("Content-Type", "").startswith(
        ("application/json", "application/problem+json")
    )
    if not is_drive or answer.status_code >= 500:
        yield Finding(
            "server",
            Level.FAILURE,
            f"{url} answers {answer.status_code}, but not as a Drive server that works.",
            "Look for a proxy or the sign-in page of a network; ask who runs the server.",
        )
        return
    yield Finding("server", Level.OK, f"{url} answers in {time.time() - began:.2f} s.")
    yield _tls(url)
    yield _clock(answer.headers.get("Date"), began)
    if answer.status_code == 401:
        message = "The server does not know this device (any more)."
        yield Finding("login", Level.FAILURE, message, f"drive login {url} --email E")
    else:
        yield Finding("login", Level.OK, "This device is signed in.")


def _refused_certificate(url: str, reason: str) -> Finding:
    """What is wrong with a certificate, from the words of OpenSSL."""
    if "expired" in reason:
        what, remedy = "has expired", "Renew it on the server, and look at the clock here."
    elif "mismatch" in reason:
        what = "is for another name"
        remedy = "Sign in with the address that it is for: drive login"
    else:
        what = "is not one that this system trusts"
        remedy = "Add its authority to this system, or give the server one of a known authority."
    return Finding("tls", Level.FAILURE, f"The certificate of {url} {what}.", remedy)


def _unreachable(url: str) -> Finding:
    return Finding(
        "server",
        Level.FAILURE,
        f"{url} cannot be reached.",
        "Look at the network and whether the server runs; if its address has changed: drive login",
    )


def _tls(url: str) -> Finding:
    parts = urlsplit(url)
    if parts.scheme != "https":
        if parts.hostname in {"localhost", "127.0.0.1", "::1"}:
            return Finding("tls", Level.OK, "Not needed: the server is on this machine.")
        return Finding(
            "tls",
            Level.WARNING,
            "The connection is not encrypted: others on the network can read files and login.",
            "Give the server https://, then sign in there: drive login",
        )
    try:
        expires = _certificate_ends(parts.hostname or "", parts.port or 443)
    except OSError:
        return Finding("tls", Level.OK, "The certificate is trusted.")
    days = (expires - datetime.now(UTC)).days
    if days < CERTIFICATE_DAYS:
        message = f"The server's certificate ends in {days} days."
        return Finding("tls", Level.WARNING, message, "Renew it on the server.")
    return Finding("tls", Level.OK, f"The certificate is trusted, for {days} more days.")


def _certificate_ends(host: str, port: int) -> datetime:
    with (
        socket.create_connection((host, port), timeout=ANSWER_SECONDS) as raw,
        trusted().wrap_socket(raw, server_hostname=host) as secured,
    ):
        found = secured.getpeercert() or {}
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(found["notAfter"])), UTC)


def _clock(date: str | None, now: float) -> Finding:
    try:
        there = email.utils.parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return Finding("clock", Level.OK, "The server does not tell its time.")
    skew = abs(now - there)
    if skew < SKEW_NOTED_SECONDS:
        return Finding("clock", Level.OK, "The clocks of server and device agree.")
    ahead = "ahead of" if now > there else "behind"
    return Finding(
        "clock",
        Level.FAILURE if skew > SKEW_FATAL_SECONDS else Level.WARNING,
        f"The clock of this device is {skew:.0f} s {ahead} the server's.",
        "Have it set from the network: timedatectl set-ntp true",
    )


def _daemon(store: Store, config: Config) -> Finding:
    try:
        status = ask(store.folder, "status")["status"]
    except NotRunning:
        remedy = "drive start" if config.roots else None
        level = Level.WARNING if config.roots else Level.OK
        return Finding("daemon", level, "The sync client is not running.", remedy)
    except SyncError as error:
        return Finding("daemon", Level.FAILURE, str(error), "drive restart")
    if status["state"] in {"attention", "needs_login", "offline"}:
        message = f"It runs, and says: {status['reason']}"
        return Finding("daemon", Level.WARNING, message, status["next"] or "drive status")
    problems = len(status["problems"])
    if problems:
        noun = "path" if problems == 1 else "paths"
        message = f"It runs; {problems} {noun} cannot be synced."
        return Finding("daemon", Level.WARNING, message, "drive status")
    return Finding("daemon", Level.OK, "The sync client is running.")


def _root(store: Store, root: Root) -> Iterator[Finding]:
    """The folder, its disk, what its file system can do, and what is recorded of it."""
    shown = printable((root.path,))
    path = pathlib.Path(root.path)
    try:
        LocalFileSystem(path, root_id=root.root_id).check_root()
    except RootMissing as error:
        yield Finding(
            "folder",
            Level.FAILURE,
            str(error),
            f"Bring it back (an unplugged disk?), or link it again: {link_command(root)}",
        )
        return
    yield Finding("folder", Level.OK, f"{shown} is there.")
    free = shutil.disk_usage(path).free
    text = f"{free / 1e9:.1f} GB are free for {shown}."
    if free < LITTLE_SPACE_BYTES:
        yield Finding("disk", Level.WARNING, text, "Free some space, or: drive select --remove")
    else:
        yield Finding("disk", Level.OK, text)
    yield from _file_system(path, shown)
    yield _record(store.state_dir(root) / TREES, shown)


def _file_system(root: pathlib.Path, shown: str) -> Iterator[Finding]:
    try:
        probe = pathlib.Path(tempfile.mkdtemp(prefix="doctor-", dir=root / OWN_FOLDER))
    except OSError as error:
        message = f"{shown} cannot be written: {error.strerror}."
        yield Finding("file-system", Level.FAILURE, message, "Look at its owner and its mount.")
        return
    try:
        lacking = _lacking(probe)
    except OSError as error:
        message = f"{shown} cannot be written: {error.strerror}."
        yield Finding("file-system", Level.FAILURE, message, "Free some space; look at its mount.")
        return
    finally:
        shutil.rmtree(probe, ignore_errors=True)
    if not lacking:
        text = f"{shown} exchanges files, tells birth times, keeps attributes and case."
        yield Finding("file-system", Level.OK, text)
    for what in lacking:
        yield Finding(
            "file-system",
            Level.WARNING,
            f"{shown}: {what}",
            "Nothing is lost by it. To have it better, link a folder on a Linux file system.",
        )


def _lacking(probe: pathlib.Path) -> list[str]:
    """What the file system cannot do, and what that means."""
    one, two = probe / "one", probe / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    lacking = []
    if not _renames(one, two, linux.RENAME_EXCHANGE):
        lacking.append("two files cannot change places: while one is replaced, its name is free.")
    if not _renames(one, probe / "three", linux.RENAME_NOREPLACE):
        lacking.append("no rename without overwriting: each is made by a second name first.")
    if not linux.statx(linux.AT_FDCWD, os.fspath(two)).signature.birth_ns:
        lacking.append("no birth times: some renames are seen as a new file and a deletion.")
    try:
        os.setxattr(two, "user.drive.probe", b"1")
    except OSError:
        lacking.append("no attributes: the mark of the link is kept in a file, seen by diff -r.")
    if (probe / "TWO").exists():
        lacking.append("names that differ only in case are the same: of two, one is set aside.")
    return lacking


def _renames(source: pathlib.Path, target: pathlib.Path, flags: int) -> bool:
    try:
        linux.renameat2(
            *(linux.AT_FDCWD, os.fspath(source), linux.AT_FDCWD, os.fspath(target)), flags=flags
        )
    except OSError as error:
        if error.errno in linux.UNSUPPORTED or error.errno == errno.EPERM:
            return False
        raise
    return True


def _record(state: pathlib.Path, shown: str) -> Finding:
    if not state.exists():
        return Finding("record", Level.OK, f"Nothing is recorded of {shown} yet.")
    try:
        with read_only(state) as connection:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        verdict, version = str(error), SCHEMA_VERSION
    if verdict != "ok":
        return Finding(
            "record",
            Level.WARNING,
            f"What is recorded of {shown} is damaged: {verdict}.",
            "Nothing to do: the next sync begins it anew by merging, and deletes nothing.",
        )
    if version != SCHEMA_VERSION:
        text = f"What is recorded of {shown} is of another release; the next sync takes care of it."
        return Finding("record", Level.OK, text)
    return Finding("record", Level.OK, f"What is recorded of {shown} is sound.")


def _watches(store: Store, roots: tuple[Root, ...]) -> Finding:
    """Folders against how many the system lets be watched."""
    folders = sum(_folders_of(store.state_dir(root) / TREES) for root in roots)
    try:
        limit = int(_INOTIFY.read_text())
    except (OSError, ValueError):
        return Finding("watches", Level.OK, f"{folders} folders are to be watched.")
    text = f"{folders} folders are to be watched, of {limit} that all programs may watch."
    if folders < limit * 0.8:
        return Finding("watches", Level.OK, text)
    enough = max(524_288, 2 * folders)
    return Finding(
        "watches",
        Level.WARNING,
        f"{text} What is not watched is found by a scan only.",
        f"sudo sysctl fs.inotify.max_user_watches={enough} (and in /etc/sysctl.d to keep it)",
    )


def _folders_of(state: pathlib.Path) -> int:
    try:
        with read_only(state) as connection:
            query = "SELECT count(*) FROM local WHERE kind = 'folder'"
            return int(connection.execute(query).fetchone()[0])
    except sqlite3.Error:
        # No record, or a damaged one, which is a finding of its own.
        return 0
