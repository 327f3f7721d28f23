"""What is on the server, for people and scripts: list, get, put, move, remove."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sync_client.cli.device import opened_store, server_of
from sync_client.cli.output import complain, harmless, local_time, say, say_json, size_text

if TYPE_CHECKING:
    from sync_client.api import HttpApi
    from sync_client.config import Store
    from sync_client.copying import Copying, Report

Force = Annotated[
    bool, typer.Option("--force", "-f", help="Replace what is there with other content.")
]


def list_folder(
    path: Annotated[str, typer.Argument(help="Folder or file of the server.")] = "/",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """List a folder of the server."""
    from sync_client.listing import items_at

    with server_of(opened_store()) as api:
        items = items_at(api, path)
    if as_json:
        say_json({"items": items})
        return
    for item in items:
        if item["type"] == "folder":
            say(f"{'-':>9}  {local_time(item['modified_at'])}  {harmless(item['name'])}/")
        else:
            size = size_text(item["size_bytes"])
            say(f"{size:>9}  {local_time(item['modified_at'])}  {harmless(item['name'])}")


def get(
    remote: Annotated[str, typer.Argument(help="File or folder of the server.")],
    local: Annotated[
        Path, typer.Argument(help="Where to; into it, where it is a folder that exists.")
    ] = Path(),
    force: Force = False,
) -> int:
    """Copy a file or folder of the server to this machine.

    Every block is checked, and a file appears only when it is complete. Files that are here
    already with the same content are left alone; with other content, they need --force.
    """
    from sync_client.linking import Refused
    from sync_client.listing import item_at

    store = opened_store()
    with server_of(store) as api:
        item = item_at(api, remote)
        target = local.expanduser()
        if target.is_dir() and item["name"]:
            target = target / item["name"]
        target = _absolute(target)
        if not target.parent.is_dir():
            raise Refused(f"{target.parent} is not a folder of this machine: make it first.")
        for root in store.load().roots:
            if target.is_relative_to(root.path):
                raise Refused(
                    f"{target} lies in {root.path}, which is kept the same as the server by "
                    "itself. Choose another place."
                )
        copying = _copying(store, api, force=force)
        report = _copy(copying, lambda: copying.get(item, target), "down")
    is_folder = item["type"] == "folder"
    return _report(report, "Got", harmless(os.fspath(target)), is_folder=is_folder)


def put(
    local: Annotated[Path, typer.Argument(help="File or folder of this machine.")],
    remote: Annotated[
        str, typer.Argument(help="Path on the server; into it, where it is a folder.")
    ],
    force: Force = False,
) -> int:
    """Copy a file or folder of this machine to the server.

    Only what the server lacks is sent; repeat an interrupted command to go on. With --force, a
    file there gets a new version, and keeps its old ones.
    """
    from sync_client.arranging import path_of, target_of

    store = opened_store()
    source = local.expanduser().resolve()
    with server_of(store) as api:
        folder, name = target_of(api, remote, source.name)
        path = path_of(api, folder, name)
        copying = _copying(store, api, force=force)
        report = _copy(copying, lambda: copying.put(source, folder["folder_id"], name), "up")
    return _report(report, "Sent", harmless(path), is_folder=source.is_dir())


def mv(
    source: Annotated[str, typer.Argument(help="File or folder of the server.")],
    target: Annotated[str, typer.Argument(help="New path; into it, where it is a folder.")],
) -> None:
    """Move or rename on the server. Nothing is overwritten."""
    from sync_client.arranging import move

    with server_of(opened_store()) as api:
        say(f"Moved to {harmless(move(api, source, target))}")


def rm(
    paths: Annotated[list[str], typer.Argument(help="Files and folders of the server.")],
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Folders too, with all that is in them.")
    ] = False,
) -> None:
    """Put files and folders of the server into its trash."""
    from sync_client.arranging import remove

    store = opened_store()
    with server_of(store) as api:
        for path in paths:
            remove(api, store.load(), path, is_recursive=recursive)
            say(f"In the trash: {harmless(path)}")


def mkdir(
    path: Annotated[str, typer.Argument(help="Folder of the server.")],
    parents: Annotated[
        bool, typer.Option("--parents", "-p", help="With the folders above; fine if it is there.")
    ] = False,
) -> None:
    """Make a folder on the server."""
    from sync_client.arranging import make_folder
    from sync_client.linking import remote_folder, remote_names

    with server_of(opened_store()) as api:
        if parents:
            remote_folder(api, remote_names(path))
        else:
            make_folder(api, path)
    say(f"Made {harmless(path)}")


def _copying(store: "Store", api: "HttpApi", *, force: bool) -> "Copying":
    from sync_client.copying import Copying

    rates = store.load().rates
    return Copying(api, store.folder / "transfers.sqlite3", force=force, rates=rates)


def _copy(copying: "Copying", work: Callable[[], "Report"], direction: str) -> "Report":
    """Do it while progress is shown."""
    from sync_client.running import while_watching

    def look() -> tuple[dict[str, int], dict[str, int]]:
        report = copying.report
        nothing = {"up_files": 0, "up_bytes": 0, "down_files": 0, "down_bytes": 0}
        pending = {
            **nothing,
            f"{direction}_files": report.left_files,
            f"{direction}_bytes": report.left_bytes,
        }
        return pending, {"up": 0, "down": 0, direction: report.moved_bytes}

    try:
        return while_watching(work, look, end=copying.stop)
    finally:
        copying.close()


def _report(report: "Report", verb: str, place: str, *, is_folder: bool) -> int:
    """Tell how it went; the exit code."""
    from sync_client.status import FATAL_CODES, Exit

    for problem in report.problems:
        complain(f"{harmless(problem.path)}: {problem}")
    size = size_text(report.size_bytes)
    if not is_folder:
        if report.files:
            say(f"{verb} {place} ({size})")
        elif report.same:
            say(f"Nothing to do: {place} has this content already.")
    else:
        noun = "file" if report.files == 1 else "files"
        text = f"{verb} {report.files} {noun}, {size}: {place}"
        if report.same:
            text += f" ({report.same} with the same content were there already)"
        say(text)
    if any(problem.code in FATAL_CODES for problem in report.problems):
        return Exit.FATAL
    if not report.problems:
        return Exit.OK
    return Exit.WITH_PROBLEMS if is_folder else Exit.OTHER


def _absolute(path: Path) -> Path:
    """A path without links on the way to it; what is at it may be one."""
    path = path.absolute()
    return path.parent.resolve() / path.name
