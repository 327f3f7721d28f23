"""One file: how it stands, its versions, what hinders it; the trash; what happened lately."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sync_client.cli.device import opened_store, server_of
from sync_client.cli.output import complain, harmless, local_time, say, say_json, size_text

if TYPE_CHECKING:
    from sync_client.config import Store
    from sync_client.subject import Subject

File = Annotated[
    str,
    typer.Argument(
        help="A path in a linked folder, or of the server (it begins with /).", metavar="FILE"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]

trash = typer.Typer(name="trash", help="What was deleted, and bring it back.")


def info(file: File, as_json: AsJson = False) -> None:
    """Show a file or folder: its state, its version, where it is."""
    from sync_client.listing import NotThere, id_of
    from sync_client.standing import devices_of, standing_of
    from sync_client.subject import item_of

    store = opened_store()
    subject, state = _subject(store, file)
    standing = standing_of(store, subject)
    item: dict[str, Any] | None = None
    devices: list[dict[str, Any]] = []
    with server_of(store) as api:
        try:
            item = item_of(api, subject, state=state)
        except NotThere:
            if not standing["is_here"]:
                raise
        else:
            if item["type"] == "file":
                item = api.request("GET", f"files/{item['file_id']}")
                devices = devices_of(api, item)
    if as_json:
        say_json({"path": subject.shown, **standing, "item": item, "devices": devices})
        return
    say(harmless(subject.shown))
    _say_standing(standing)
    if item is None:
        say("Server   not there")
        return
    say(f"Server   {harmless(subject.remote_path)}  {item['type']} {id_of(item)}")
    say(f"Changed  {local_time(item['modified_at'])}")
    if item["type"] == "file":
        say(f"Size     {size_text(item['size_bytes'])} ({item['size_bytes']:,} bytes)")
        count = item["version_count"]
        say(f"Versions {count}" + ("  see: drive history" if count > 1 else ""))
        if item["is_damaged"]:
            say("Damaged  the server has lost a part of it; a device that has it sends it again")
    _say_devices(devices, with_this=not standing["local_path"])


def why(file: File, as_json: AsJson = False) -> None:
    """Say why a path is as it is: who has which version, what each waits for, what hinders it."""
    from sync_client.listing import NotThere
    from sync_client.standing import devices_of, standing_of
    from sync_client.subject import item_of

    store = opened_store()
    subject, state = _subject(store, file)
    standing = standing_of(store, subject)
    devices: list[dict[str, Any]] = []
    is_there: bool | None = None
    with server_of(store) as api:
        try:
            item = item_of(api, subject, state=state)
        except NotThere:
            if not standing["is_here"]:
                raise
            is_there = False
        except _offline() as error:
            # What is known here counts also without the server.
            complain(f"warning: what the server has is not known: {error}")
        else:
            is_there = True
            if item["type"] == "file":
                devices = devices_of(api, item)
    if as_json:
        document = {"path": subject.shown, **standing, "on_server": is_there, "devices": devices}
        say_json(document)
        return
    say(harmless(subject.shown))
    _say_standing(standing)
    if is_there is not None:
        say("Server   " + ("has it" if is_there else "does not have it"))
    _say_devices(devices, with_this=not standing["local_path"])


def history(file: File, as_json: AsJson = False) -> None:
    """List the versions of a file, newest first."""
    from sync_client.subject import file_of
    from sync_client.versions import history_of

    store = opened_store()
    subject, state = _subject(store, file)
    with server_of(store) as api:
        versions = history_of(api, file_of(api, subject, state=state))
    if as_json:
        say_json({"path": subject.remote_path, "versions": versions})
        return
    for version in versions:
        marks = "  current" * version["is_current"] + "  damaged" * version["is_damaged"]
        by = harmless(version["device"] or version["author"])
        say(
            f"{version['number']:>5}  {local_time(version['committed_at'])}  "
            f"{size_text(version['size_bytes']):>9}  {by}{marks}"
        )


def restore(
    file: File,
    version: Annotated[
        str, typer.Option(help="Number or id of an old version, see: drive history.", metavar="N")
    ] = "",
    deleted: Annotated[
        bool, typer.Option("--deleted", help="Bring it back from the trash.")
    ] = False,
) -> int:
    """Go back to an old version, or bring back what was deleted. Nothing is lost by it."""
    from sync_client import running
    from sync_client.status import Exit
    from sync_client.subject import file_of
    from sync_client.versions import history_of, restore_version, version_named

    if bool(version) == deleted:
        raise typer.BadParameter("Give either --version N, or --deleted.")
    store = opened_store()
    subject, state = _subject(store, file)
    if subject.is_local and not deleted:
        # First, so that what was changed here is a version like any other, and no conflict.
        code = running.sync_quietly(store)
        if code not in {Exit.OK, Exit.WITH_PROBLEMS}:
            complain("nothing was restored, since the folder cannot be synced now: drive status")
            return code
    with server_of(store) as api:
        if deleted:
            _bring_back(api, subject.remote_path)
            return 0
        item = file_of(api, subject, state=state)
        versions = history_of(api, item)
        wanted = version_named(versions, version)
        if wanted["is_current"]:
            say(f"Nothing to do: version {wanted['number']} is the current one.")
            return 0
        restore_version(api, item, wanted)
    say(
        f"{harmless(subject.shown)} has the content of version {wanted['number']} again, "
        f"as a new version. What it was until now is version {versions[0]['number']}."
    )
    return 0


def diff(
    file: File,
    older: Annotated[
        str, typer.Argument(help="Number or id of a version; default: the one before.")
    ] = "",
    newer: Annotated[str, typer.Argument(help="Another one; default: the current one.")] = "",
) -> None:
    """Show what changed between two versions of a text."""
    from sync_client.linking import Refused
    from sync_client.subject import file_of
    from sync_client.versions import difference, history_of, version_named

    store = opened_store()
    subject, state = _subject(store, file)
    with server_of(store) as api:
        item = file_of(api, subject, state=state)
        versions = history_of(api, item)
        if not older and len(versions) == 1:
            raise Refused(f"{subject.shown!r} has only one version: there is nothing to compare.")
        first = version_named(versions, older) if older else versions[1]
        second = version_named(versions, newer) if newer else versions[0]
        lines = difference(api, item, first, second)
    if lines is None:
        say(
            f"Versions {first['number']} and {second['number']} differ; they are no texts, or too "
            f"large to be compared ({size_text(first['size_bytes'])}, "
            f"{size_text(second['size_bytes'])})."
        )
        return
    if not lines:
        complain(f"versions {first['number']} and {second['number']} have the same content.")
    # For a program, such as patch, exactly as it is; a terminal must not be steered.
    is_seen = sys.stdout.isatty()
    for line in lines:
        say("\t".join(map(harmless, line.split("\t"))) if is_seen else line)


@trash.command("ls")
def list_trash(as_json: AsJson = False) -> None:
    """List what is in the trash, the latest first."""
    from sync_client import versions

    with server_of(opened_store()) as api:
        items = versions.trash(api)
    if as_json:
        say_json({"items": items})
        return
    if not items:
        complain("the trash is empty.")
    for item in items:
        size = "-" if item["type"] == "folder" else size_text(item["size_bytes"])
        slash = "/" if item["type"] == "folder" else ""
        path = harmless(item["original_path"])
        say(f"{size:>9}  {local_time(item['deleted_at'])}  {path}{slash}")


@trash.command("restore")
def restore_from_trash(
    path: Annotated[str, typer.Argument(help="Its path on the server, or its id.")],
) -> None:
    """Bring back a file, or a folder with all that was in it."""
    with server_of(opened_store()) as api:
        _bring_back(api, path)


def activity(
    count: Annotated[int, typer.Option("-n", "--count", help="How many.", min=1)] = 20,
    as_json: AsJson = False,
) -> None:
    """Show what happened lately, on all devices, newest first."""
    from sync_client.activity import recent

    with server_of(opened_store()) as api:
        changes = recent(api, count=count)
    if as_json:
        say_json({"changes": changes})
        return
    for change in changes:
        slash = "/" if change["type"] == "folder" else ""
        path = harmless(change["path"]) + slash
        if change["old_path"]:
            path = f"{harmless(change['old_path'])}{slash} -> {path}"
        device = harmless(change["device"] or "another device")
        say(f"{local_time(change['changed_at'])}  {change['what']:<8} {path}  ({device})")


def devices(as_json: AsJson = False) -> None:
    """List the devices that are signed in to your account."""
    from sync_client.listing import pages

    with server_of(opened_store()) as api:
        found = list(pages(api, "devices"))
    if as_json:
        say_json({"devices": found})
        return
    for device in found:
        when = "connected" if device["is_online"] else f"last seen {_when(device['last_seen_at'])}"
        this = "  this device" if device["is_this"] else ""
        say(f"{harmless(device['name'])}  {device['kind']}  {when}{this}")


def _subject(store: "Store", text: str) -> tuple["Subject", Path | None]:
    """What FILE means, and the state database of the linked folder that it is in."""
    from sync_client.linked import TREES
    from sync_client.subject import subject_of

    config = store.load()
    config.signed_in()
    subject = subject_of(config, text)
    return subject, store.state_dir(subject.root) / TREES if subject.root else None


def _offline() -> type[Exception]:
    from sync_client.errors import Transient

    return Transient


def _bring_back(api: Any, path: str) -> None:
    from sync_client.arranging import path_of
    from sync_client.versions import restore_deleted

    item, others = restore_deleted(api, path)
    folder = api.request("GET", f"folders/{item['parent_folder_id']}")
    say(f"Restored: {harmless(path_of(api, folder, item['name']))}")
    if others:
        noun = "thing" if others == 1 else "things"
        complain(f"{others} more {noun} of this path in the trash. See: drive trash ls")


def _say_standing(standing: dict[str, Any]) -> None:
    from sync_client.cli.output import STATES

    if standing["local_path"]:
        say(f"State    {STATES[standing['state']]}")
        if standing["reason"]:
            say(f"         {harmless(standing['reason'])}")
        if standing["next"]:
            say(f"         next: {standing['next']}")
        here = "" if standing["is_here"] else "  (not here)"
        say(f"Here     {harmless(standing['local_path'])}{here}")
    else:
        say("Here     not in a linked folder")


def _say_devices(devices: list[dict[str, Any]], *, with_this: bool) -> None:
    """with_this: not where the state has said it of this device, better than the server can."""
    texts = {
        "current": "has the current version",
        "behind": "has not got the current version yet",
        "unknown": "has not said yet what it has",
    }
    for device in devices:
        if device["is_this"] and not with_this:
            continue
        name = harmless(device["name"]) + (" (this device)" if device["is_this"] else "")
        line = f"Device   {name}  {texts[device['has']]}"
        if device["has"] != "current" and not device["is_online"]:
            line += f"; not connected, last seen {_when(device['last_seen_at'])}"
        say(line)


def _when(moment: str | None) -> str:
    return "never" if moment is None else local_time(moment)
