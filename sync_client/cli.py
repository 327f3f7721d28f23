"""The command `drive`. Text for people on stdout, diagnostics on stderr, exit codes as in
`status.Exit`; a password never stands in the arguments, where every process could read it.

Modules that take long to load are imported by the commands that need them.
"""

import contextlib
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sync_client import __version__
from sync_client.cli_output import complain, harmless, say, size_text, status_lines
from sync_client.config import ConfigProblem, Store, config_dir
from sync_client.errors import (
    ApiProblem,
    LoginRevoked,
    MustStop,
    NotDrive,
    NotLinked,
    RootMissing,
    SyncError,
    Transient,
)

if TYPE_CHECKING:
    from sync_client.api import HttpApi

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}

app = typer.Typer(
    name="drive",
    help="Keep folders the same on all your devices.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> int:
    """Run one command; the answer is its exit code."""
    from sync_client.control import NotRunning
    from sync_client.status import FATAL_CODES, Exit

    try:
        answer = app(standalone_mode=False)
        return answer if isinstance(answer, int) else Exit.OK
    except typer.TyperException as error:
        complain(f"{error.format_message()} Try: drive --help")
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough, such as `head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OTHER
    except SyncError as error:
        complain(str(error))
        match error:
            case NotRunning():
                return Exit.NOT_RUNNING
            case Transient():
                return Exit.TEMPORARY
            case NotLinked() | LoginRevoked():
                return Exit.NOT_LINKED
            case RootMissing() | MustStop() | ConfigProblem():
                return Exit.FATAL
            case ApiProblem() if error.code in FATAL_CODES:
                return Exit.FATAL
        from sync_client.linking import Refused

        return Exit.USAGE if isinstance(error, Refused) else Exit.OTHER


def _version(wanted: bool) -> None:
    if wanted:
        say(__version__)
        raise typer.Exit


@app.callback()
def drive(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Keep folders the same on all your devices."""


@app.command()
def login(
    url: Annotated[str, typer.Argument(help="Address of the server.", metavar="URL")],
    email: Annotated[str, typer.Option(help="E-mail address of your account.")],
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    device: Annotated[
        str, typer.Option(help="Name of this device; default: the computer's name.")
    ] = "",
) -> None:
    """Sign this device in."""
    import platform

    from sync_client import linking
    from sync_client.api import HttpApi
    from sync_client.config import Login
    from sync_client.linking import Refused

    store = _store()
    server_url = _server_url(url)
    if server_url.startswith("http://") and not _is_this_machine(server_url):
        complain("warning: without https:// others on the network can read password and files.")
    password = _password(password_stdin)
    name = device or platform.node() or "device"
    before = store.load()
    old_token = store.token() if before.login and store.has_token() else None
    api = HttpApi(server_url, None)
    try:
        answer = api.request(
            "POST",
            "devices/sign-in",
            json={
                "email": email,
                "password": password,
                "name": name,
                "platform": platform.system().lower(),
                "client_version": __version__,
            },
        )
    except LoginRevoked:
        raise NotLinked("E-mail address or password is wrong.") from None
    except ApiProblem as problem:
        if problem.code == "not-found":
            raise Refused(f"No Drive server answers at {server_url}. {problem.detail}") from problem
        raise
    except NotDrive as error:
        raise Refused(f"No Drive server answers at {server_url}. {error}") from error
    finally:
        api.close()
    dropped = store.sign_in(
        Login(
            server_url=server_url,
            email=answer["email"],
            user_id=answer["user_id"],
            device_id=answer["device_id"],
            device_name=name,
        ),
        answer["token"],
    )
    if before.login and old_token:
        _revoke(before.login.server_url, old_token)
    _tell_daemon("reload")
    say(f"Signed in as {harmless(answer['email'])} on {harmless(name)!r}.")
    for root in dropped:
        linking.unlink_locally(root)
        say(
            f"No longer linked, since this is another account: {harmless(root.path)}. "
            "Its files are still there."
        )
    if not store.load().roots:
        say("Next: drive link FOLDER")


@app.command()
def link(
    folder: Annotated[Path, typer.Argument(help="Folder of this machine; made if missing.")],
    path: Annotated[
        str, typer.Option("--path", help="Folder of the server; made if missing.")
    ] = "/",
) -> None:
    """Keep a folder the same as one of the server. Equal files are adopted, nothing is deleted."""
    from sync_client import linking

    store = _store()
    with store.changing():
        config = store.load()
        api = _api(store)
        try:
            root = linking.link(store, config, api, folder=folder, remote=path)
        finally:
            api.close()
    say(f"Linked {harmless(root.path)} with {harmless(root.remote_path)}.")
    if not _tell_daemon("reload"):
        say("Next: drive start")


@app.command()
def start(
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay here and log to the terminal.")
    ] = False,
) -> int:
    """Start the sync client; without --foreground in the background."""
    from sync_client import running

    store = _store()
    store.load().linked()
    if foreground:
        return running.run_here(store)
    if running.start_detached(store):
        say("Started. See: drive status")
    else:
        say("Running already. See: drive status")
    return 0


@app.command()
def stop() -> None:
    """Stop the sync client. Nothing is lost; the next start goes on where it stopped."""
    from sync_client import running

    running.stop(_store())
    say("Stopped.")


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> int:
    """Show how it stands."""
    import json

    from sync_client.control import NotRunning, ask
    from sync_client.running import resting_document
    from sync_client.status import Exit

    store = _store()
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


@app.command()
def sync(
    once: Annotated[bool, typer.Option("--once", help="Sync until nothing is left, then end.")],
) -> int:
    """Sync now. A running sync client does it, else this command does."""
    from sync_client import running
    from sync_client.control import NotRunning

    store = _store()
    store.load().linked()
    try:
        return running.wait_for_daemon(store, once=True)
    except NotRunning:
        return running.sync_once(store)


@app.command()
def wait(
    timeout: Annotated[
        str, typer.Option(help="Longest time to wait: seconds, or like 10m.", metavar="TIME")
    ] = "",
) -> int:
    """Wait until all that was written here or committed there before now is synced."""
    from sync_client import running

    seconds = _duration(timeout) if timeout else None
    return running.wait_for_daemon(_store(), timeout_seconds=seconds)


@app.command("confirm-deletes")
def confirm_deletes() -> int:
    """Let a deletion go ahead that was held because it takes so much."""
    from sync_client import running
    from sync_client.control import NotRunning, ask

    store = _store()
    store.load().linked()
    try:
        held = ask(store.folder, "confirm-deletes")["held_deletions"]
    except NotRunning:
        held = running.confirm_deletes(store)
    noun = "deletion goes" if held == 1 else "deletions go"
    say(f"{held} {noun} ahead with the next sync." if held else "No deletion is held.")
    return 0


@app.command("ls")
def list_folder(
    path: Annotated[str, typer.Argument(help="Folder or file of the server.")] = "/",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """List a folder of the server."""
    import json

    from sync_client.listing import items_at

    store = _store()
    store.load().signed_in()
    api = _api(store)
    try:
        items = items_at(api, path)
    finally:
        api.close()
    if as_json:
        say(json.dumps({"schema": 1, "items": items}, indent=2, ensure_ascii=False))
        return
    for item in items:
        if item["type"] == "folder":
            say(f"{'-':>9}  {item['modified_at'][:16]}  {harmless(item['name'])}/")
        else:
            size = size_text(item["size_bytes"])
            say(f"{size:>9}  {item['modified_at'][:16]}  {harmless(item['name'])}")


@app.command()
def log(
    lines: Annotated[int, typer.Option("-n", "--lines", help="How many lines.", min=0)] = 50,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as lines come.")] = False,
) -> None:
    """Show what the sync client has logged."""
    from sync_client.logs import show

    show(_store().log_path, lines=lines, follow=follow)


@app.command()
def logout() -> None:
    """Sign this device out: the server forgets it, the folders keep their content."""
    from sync_client import linking, running
    from sync_client.control import NotRunning

    store = _store()
    config = store.load()
    config.signed_in()
    with contextlib.suppress(NotRunning):
        running.stop(store)
    if store.has_token():
        api = _api(store)
        try:
            api.request("DELETE", "devices/this")
        except LoginRevoked:
            # Revoked there already: what is left is to forget it here.
            pass
        finally:
            api.close()
    else:
        complain("warning: the login is lost; revoke the device in the browser.")
    for root in config.roots:
        linking.unlink_locally(root)
    store.sign_out()
    say("Signed out. Your files are still here; they are no longer synced.")


def _store() -> Store:
    store = Store(config_dir())
    store.prepare()
    return store


def _api(store: Store) -> "HttpApi":
    from sync_client.api import HttpApi

    return HttpApi(store.load().signed_in().server_url, store.token())


def _tell_daemon(command: str) -> bool:
    """Whether a daemon runs and has heard it."""
    from sync_client.control import NotRunning, ask

    try:
        ask(_store().folder, command)
    except NotRunning:
        return False
    return True


def _server_url(url: str) -> str:
    """A full address without a path's final slash. Raises UsageError for what is none."""
    from urllib.parse import urlsplit

    if "://" not in url:
        host = url.split("/")[0].rsplit(":", 1)[0]
        url = ("http://" if host in _LOOPBACK else "https://") + url
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        raise typer.BadParameter(f"{url!r} is no server address; write https://drive.example.org.")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _is_this_machine(server_url: str) -> bool:
    from urllib.parse import urlsplit

    return urlsplit(server_url).hostname in _LOOPBACK


def _password(from_stdin: bool) -> str:
    """The password, without the newline that ends the line."""
    if from_stdin:
        password = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    elif sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, err=True)
    else:
        raise typer.BadParameter("Give the password on standard input, with --password-stdin.")
    if not password:
        raise typer.BadParameter("The password is empty.")
    return password


def _revoke(server_url: str, token: str) -> None:
    """Have the server forget the login that a new one replaces."""
    from sync_client.api import HttpApi

    api = HttpApi(server_url, token)
    try:
        api.request("DELETE", "devices/this")
    except SyncError as error:
        # It stays in the list of devices, where it can be revoked by hand.
        complain(f"warning: the login before this one could not be revoked: {error}")
    finally:
        api.close()


def _duration(text: str) -> float:
    """Seconds of a time like 90, 90s, 10m or 2h."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if not found:
        raise typer.BadParameter(f"{text!r} is no time; write seconds, or like 10m.")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]
