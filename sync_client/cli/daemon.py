"""Start and stop the sync client, see how it stands, wait for it."""

import re
from typing import Annotated

import typer

from sync_client.cli.device import opened_store
from sync_client.cli.output import say, status_lines


def start(
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay here and log to the terminal.")
    ] = False,
) -> int:
    """Start the sync client; without --foreground in the background."""
    from sync_client import running

    store = opened_store()
    store.load().linked()
    if foreground:
        return running.run_here(store)
    if running.start_detached(store):
        say("Started. See: drive status")
    else:
        say("Running already. See: drive status")
    return 0


def stop() -> None:
    """Stop the sync client. Nothing is lost; the next start goes on where it stopped."""
    from sync_client import running

    running.stop(opened_store())
    say("Stopped.")


def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> int:
    """Show how it stands."""
    import json

    from sync_client.control import NotRunning, ask
    from sync_client.running import resting_document
    from sync_client.status import Exit

    store = opened_store()
    code = Exit.OK
    try:
        document = ask(store.folder, "status")["status"]
    except NotRunning:
        document = resting_document(store)
        code = Exit.NOT_RUNNING
    if as_json:
        say(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        for line in status_lines(document):
            say(line)
    return code


def sync(
    once: Annotated[bool, typer.Option("--once", help="Sync until nothing is left, then end.")],
) -> int:
    """Sync now. A running sync client does it, else this command does."""
    from sync_client import running
    from sync_client.control import NotRunning

    store = opened_store()
    store.load().linked()
    try:
        return running.wait_for_daemon(store, once=True)
    except NotRunning:
        return running.sync_once(store)


def wait(
    timeout: Annotated[
        str, typer.Option(help="Longest time to wait: seconds, or like 10m.", metavar="TIME")
    ] = "",
) -> int:
    """Wait until all that was written here or committed there before now is synced."""
    from sync_client import running

    seconds = duration(timeout) if timeout else None
    return running.wait_for_daemon(opened_store(), timeout_seconds=seconds)


def confirm_deletes() -> int:
    """Let a deletion go ahead that was held because it takes so much."""
    from sync_client import running
    from sync_client.control import NotRunning, ask

    store = opened_store()
    store.load().linked()
    try:
        held = ask(store.folder, "confirm-deletes")["held_deletions"]
    except NotRunning:
        held = running.confirm_deletes(store)
    noun = "deletion goes" if held == 1 else "deletions go"
    say(f"{held} {noun} ahead with the next sync." if held else "No deletion is held.")
    return 0


def log(
    lines: Annotated[int, typer.Option("-n", "--lines", help="How many lines.", min=0)] = 50,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as lines come.")] = False,
) -> None:
    """Show what the sync client has logged."""
    from sync_client.logs import show

    show(opened_store().log_path, lines=lines, follow=follow)


def duration(text: str) -> float:
    """Seconds of a time like 90, 90s, 10m, 2h or 3d."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if not found:
        raise typer.BadParameter(f"{text!r} is no time; write seconds, or like 10m.")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}[found[2]]
