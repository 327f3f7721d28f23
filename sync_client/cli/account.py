"""Sign this device in and out."""

import contextlib
import sys
from typing import Annotated

import typer

from sync_client import __version__
from sync_client.cli.device import api_of, opened_store, tell_daemon
from sync_client.cli.output import complain, harmless, say
from sync_client.errors import ApiProblem, LoginRevoked, NotDrive, NotLinked, SyncError

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


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

    store = opened_store()
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
    tell_daemon("reload")
    say(f"Signed in as {harmless(answer['email'])} on {harmless(name)!r}.")
    for root in dropped:
        linking.unlink_locally(root)
        say(
            f"No longer linked, since this is another account: {harmless(root.path)}. "
            "Its files are still there."
        )
    if not store.load().roots:
        say("Next: drive link FOLDER")


def logout() -> None:
    """Sign this device out: the server forgets it, the folders keep their content."""
    from sync_client import linking, running
    from sync_client.control import NotRunning

    store = opened_store()
    config = store.load()
    config.signed_in()
    with contextlib.suppress(NotRunning):
        running.stop(store)
    if store.has_token():
        api = api_of(store)
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
