"""Start and stop the daemon, wait for it, or do its work once without it."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any, TypeVar

from sync_client import logs
from sync_client import status as status_document
from sync_client.api import HttpApi
from sync_client.cli.output import Watching, complain, say, status_lines
from sync_client.config import Config, Root, Store
from sync_client.control import NotRunning, ask
from sync_client.daemon import Daemon
from sync_client.daemon_work import AlreadyRunning, only_one
from sync_client.errors import Paused, StateDamaged, SyncError
from sync_client.limits import Limits
from sync_client.linked import LinkedFolder, last_status
from sync_client.names import printable
from sync_client.pending import Status
from sync_client.status import Exit, State

START_SECONDS = 30.0
# A daemon that is told to stop ends within this, if need be in the middle of a request:
# whatever was under way is continued at the next start.
STOP_SECONDS = 8.0
# A cycle that has more to do by itself is repeated after at most this.
LONGEST_PAUSE_SECONDS = 2.0
# A file that somebody keeps writing to is left for the next time after this.
LONGEST_BUSY_SECONDS = 30.0

T = TypeVar("T")


def run_here(store: Store, *, is_detached: bool = False) -> int:
    """Be the daemon until a signal or `drive stop` ends it."""
    if is_detached:
        logs.log_to_file(store.log_path)
    else:
        logs.log_to_terminal()
    daemon = Daemon(store)

    def end_in_time() -> None:
        daemon.stopping.wait()
        time.sleep(STOP_SECONDS)
        os._exit(Exit.OK)

    def on_signal(number: int, frame: object) -> None:
        # On a thread: a handler may not take locks that the code it interrupts may hold.
        threading.Thread(target=daemon.stop, daemon=True).start()

    threading.Thread(target=end_in_time, daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, on_signal)
    daemon.run()
    return Exit.OK


def start_detached(store: Store) -> bool:
    """Start a daemon of its own session; False where one runs already.

    Returns once it answers. Raises AlreadyRunning while another command does the daemon's
    work, and SyncError when it does not come up.
    """
    if _is_running(store):
        return False
    with only_one(store.folder):
        # Not while `drive sync --once` works on the folders.
        pass
    package_parent = os.fspath(Path(__file__).resolve().parent.parent)
    paths = [package_parent, *filter(None, [os.environ.get("PYTHONPATH")])]
    with store.log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "sync_client.running"],
            cwd="/",
            env={
                **os.environ,
                "DRIVE_CONFIG_DIR": os.fspath(store.folder),
                "PYTHONPATH": os.pathsep.join(paths),
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if _is_running(store):
            # Not ours to wait for: it outlives this command.
            process.returncode = 0
            return True
        if process.poll() is not None:
            break
        time.sleep(0.05)
    process.returncode = 0
    raise SyncError(f"The sync client did not start. {logs.last_line(store.log_path)}")


def stop(store: Store) -> None:
    """End the daemon and wait until it has ended. Raises NotRunning."""
    ask(store.folder, "stop")
    until = time.monotonic() + STOP_SECONDS + 4
    while time.monotonic() < until:
        try:
            with only_one(store.folder):
                return
        except AlreadyRunning:
            time.sleep(0.05)
    raise SyncError("The sync client does not stop. See its log: drive log")


def wait_until_left(store: Store, root: Root) -> None:
    """Have the daemon take notice that a folder is linked no more. Raises NotRunning."""
    ask(store.folder, "reload")
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        roots = ask(store.folder, "status")["status"]["roots"]
        if printable((root.path,)) not in [each["path"] for each in roots]:
            return
        time.sleep(0.05)
    raise SyncError("The sync client does not let go of the folder. See its log: drive log")


def sync_quietly(store: Store) -> Exit:
    """Do all there is now, by the daemon or without it; how it ended. It is not reported."""
    try:
        answer = ask(store.folder, "wait", timeout_seconds=None, once=True)
    except NotRunning:
        return Exit(sync_once(store, is_reported=False))
    return Exit(answer["exit_code"])


def wait_for_daemon(
    store: Store, *, timeout_seconds: float | None = None, once: bool = False
) -> int:
    """Have the daemon do all there is now; how it ended. Raises NotRunning."""
    details: dict[str, Any] = {"once": once}
    if timeout_seconds is not None:
        details["wait_seconds"] = timeout_seconds

    def look() -> tuple[dict[str, int], dict[str, int]]:
        answer = ask(store.folder, "status")
        return answer["status"]["pending"], answer["moved_bytes"]

    answer = while_watching(
        lambda: ask(store.folder, "wait", timeout_seconds=None, **details), look, end=lambda: None
    )
    return _report(Exit(answer["exit_code"]), answer["status"])


def sync_once(store: Store, *, is_reported: bool = True) -> int:
    """Do the daemon's work until nothing is left that could be done now."""
    try:
        return _sync_once(store, is_reported)
    except StateDamaged:
        # Opened again, what is damaged is moved aside, and begun anew.
        return _sync_once(store, is_reported)


def _sync_once(store: Store, is_reported: bool) -> int:
    config = store.load()
    login = config.signed_in()
    if resting := status_document.paused(config):
        raise Paused(f"{resting[0]} Resume: drive resume")
    interrupt = threading.Event()
    limits = Limits(config.rates)
    moved = {"up": 0, "down": 0}

    def note_bytes(up: int, down: int) -> None:
        moved["up"] += up
        moved["down"] += down

    with only_one(store.folder):
        store.drop_old_states()
        api = HttpApi(login.server_url, store.token(), sleep=interrupt.wait)
        folders = [
            LinkedFolder(
                store,
                login,
                root,
                api,
                stopping=interrupt,
                limits=limits,
                ignore=config.ignore,
                on_bytes=note_bytes,
            )
            for root in config.linked()
        ]

        def work() -> bool:
            settled = [_settle(folder, interrupt) for folder in folders]
            account = api.request("GET", "account")
            store.save_account({key: account[key] for key in ("used_bytes", "quota_bytes")})
            return all(settled)

        def look() -> tuple[dict[str, int], dict[str, int]]:
            statuses = [folder.engine.status() for folder in folders]
            return _pending(statuses), dict(moved)

        def end() -> None:
            interrupt.set()
            for folder in folders:
                folder.stop()

        try:
            is_settled = while_watching(work, look, end=end)
        finally:
            end()
            for folder in folders:
                folder.close()
            api.close()
    document = resting_document(store, is_done=True)
    statuses = [last_status(store, root) for root in config.roots]
    code = status_document.exit_code_of(statuses)
    if code is Exit.OK and not is_settled:
        code = Exit.WITH_PROBLEMS
    return _report(code, document) if is_reported else code


def confirm_deletes(store: Store) -> int:
    """Let held deletions go ahead with the next sync; how many are held."""
    config = store.load()
    login = config.signed_in()
    held = 0
    with only_one(store.folder):
        api = HttpApi(login.server_url, store.token())
        for root in config.linked():
            folder = LinkedFolder(store, login, root, api, stopping=threading.Event())
            here = folder.engine.status().held_deletions
            folder.engine.confirm_deletes(here)
            held += here
            folder.close()
        api.close()
    return held


def resting_document(store: Store, *, is_done: bool = False) -> dict[str, Any]:
    """The status while no daemon runs: what was known when one last did.

    is_done: the work was done just now, without a daemon.
    """
    config = store.load()
    statuses = [last_status(store, root) for root in config.roots]
    state, reason, next_step = _resting_state(store, config, statuses, is_done=is_done)
    return status_document.document(
        config,
        is_running=False,
        state=state,
        reason=reason,
        next_step=next_step,
        account=store.account(),
        is_connected=is_done,
        statuses=statuses,
    )


def _resting_state(
    store: Store, config: Config, statuses: list[Status], *, is_done: bool
) -> tuple[State, str | None, str | None]:
    if config.login is None or not store.has_token():
        return State.NEEDS_LOGIN, "This device is not signed in.", "drive login URL"
    if not config.roots:
        return State.OFFLINE, "No folder is linked yet.", "drive link FOLDER"
    if not is_done and any(status.is_rebuilt for status in statuses):
        return State.ATTENTION, *(status_document.attention(statuses) or (None, None))
    if not is_done:
        return State.OFFLINE, "The sync client is not running.", "drive start"
    if found := status_document.attention(statuses):
        return State.ATTENTION, *found
    return State.UP_TO_DATE, None, None


def _settle(folder: LinkedFolder, interrupt: threading.Event) -> bool:
    """Cycle until there is nothing left to do; whether both sides are equal then."""
    folder.check_root()
    result = folder.engine.cycle(rescan=True, pull=True, retry=True)
    busy_since = time.monotonic()
    while not result.is_finished and time.monotonic() - busy_since < LONGEST_BUSY_SECONDS:
        interrupt.wait(min(result.retry_after or 0.05, LONGEST_PAUSE_SECONDS))
        result = folder.engine.cycle(pull=False)
        if result.operations:
            busy_since = time.monotonic()
    return result.is_settled


def while_watching(
    work: Callable[[], T],
    look: Callable[[], tuple[dict[str, int], dict[str, int]]],
    *,
    end: Callable[[], None],
) -> T:
    """What `work` answers or raises; it runs on a thread of its own, and progress is shown.

    end: called when the user interrupts; makes `work` come to its end soon.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again by future.result()
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        with Watching(look) as watching:
            while not future.done():
                wait([future], timeout=0.2)
                if not future.done():
                    with contextlib.suppress(NotRunning):
                        watching.show()
    except KeyboardInterrupt:
        end()
        wait([future], timeout=STOP_SECONDS)
        raise
    return future.result()


def _pending(statuses: list[Status]) -> dict[str, int]:
    return {
        "up_files": sum(status.up_files for status in statuses),
        "up_bytes": sum(status.up_bytes for status in statuses),
        "down_files": sum(status.down_files for status in statuses),
        "down_bytes": sum(status.down_bytes for status in statuses),
    }


def _is_running(store: Store) -> bool:
    try:
        ask(store.folder, "ping")
    except NotRunning:
        return False
    return True


def _report(code: Exit, document: dict[str, Any]) -> int:
    """Tell people how it ended."""
    if code is Exit.OK:
        say("Up to date.")
    elif code is Exit.TIMED_OUT:
        complain("not done in time; it goes on in the background. See: drive status")
    elif code is Exit.NOT_RUNNING:
        raise NotRunning
    elif document["state"] == State.PAUSED:
        raise Paused(f"{document['reason']} Resume: {document['next']}")
    else:
        for line in status_lines(document):
            say(line)
    return code


if __name__ == "__main__":
    from sync_client.config import config_dir

    try:
        sys.exit(run_here(Store(config_dir()), is_detached=True))
    except SyncError as error:
        sys.exit(f"drive: {error}")
