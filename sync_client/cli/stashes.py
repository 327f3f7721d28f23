"""What was removed from the linked folders here, and is kept for 7 days."""

import datetime
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sync_client.cli.daemon import duration
from sync_client.cli.device import opened_store
from sync_client.cli.output import harmless, say, size_text

if TYPE_CHECKING:
    from sync_client.config import Root, Store
    from sync_client.filesystem import LocalFileSystem
    from sync_client.stash import Stashed

stash = typer.Typer(
    name="stash",
    help="Files that were removed or replaced here, for 7 days.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

_REASONS = {
    "replaced": "another content came",
    "deleted": "deleted elsewhere",
    "deselected": "folder deselected",
    "left-over": "left by a crash",
    "unknown": "removed",
}


@stash.command("list")
def list_stash(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """List them, the latest first."""
    from sync_client.names import printable
    from sync_client.stash import STASH_KEPT_NS

    found = _found(opened_store())
    if as_json:
        items = [
            {
                "id": each.entry,
                "root": printable((root.path,)),
                "path": printable(each.path),
                "why": each.why.value,
                "removed_at": _moment(each.removed_ns).isoformat(timespec="seconds"),
                "kept_until": _moment(each.removed_ns + STASH_KEPT_NS).isoformat(
                    timespec="seconds"
                ),
                "size_bytes": each.size_bytes,
            }
            for root, _, each in found
        ]
        say(json.dumps({"schema": 1, "items": items}, indent=2, ensure_ascii=False))
        return
    for root, _, each in found:
        moment = _moment(each.removed_ns).astimezone().strftime("%Y-%m-%d %H:%M")
        path = harmless(printable((root.path, *each.path)))
        why = _REASONS[each.why.value]
        say(f"{each.entry}  {moment}  {size_text(each.size_bytes):>9}  {path}  ({why})")
    if not found:
        say("The stash is empty.")


@stash.command("restore")
def restore_stash(
    entry: Annotated[
        str,
        typer.Argument(
            help="As `drive stash list` shows it, or the file's path.", metavar="ID|PATH"
        ),
    ],
    to: Annotated[
        Path | None, typer.Option("--to", help="Another place in the linked folder.")
    ] = None,
) -> None:
    """Give a file back at its place, or beside what is there now. Nothing is overwritten."""
    from sync_client import stash as stash_entries
    from sync_client.linking import Refused, root_around
    from sync_client.names import printable

    store = opened_store()
    wanted = Path(entry).expanduser().absolute()
    matching = (
        (root, fs, each)
        for root, fs, each in _found(store)
        if each.entry == entry or Path(root.path, *each.path) == wanted
    )
    found = next(matching, None)
    if found is None:
        raise Refused(f"{entry!r} is not in the stash. See: drive stash list")
    root, fs, each = found
    target = each.path
    if to is not None:
        other, target = root_around(store.load(), to)
        if other.root_id != root.root_id:
            raise Refused(f"{to} is in another linked folder than the file was: {root.path}.")
        if not target or Path(root.path, *target).is_dir():
            target = (*target, each.path[-1])
    now = datetime.datetime.now(datetime.UTC).date()
    placed = stash_entries.restore(fs, each, target, day=now)
    say(f"Restored: {harmless(printable((root.path, *placed)))}")


@stash.command("empty")
def empty_stash(
    older: Annotated[
        str,
        typer.Option("--older", help="Only what is there longer, like 2h or 3d.", metavar="TIME"),
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete for ever what is in the stash, to make room. Nothing on the server changes."""
    from sync_client.linking import Refused

    before_ns = time.time_ns() - (round(duration(older) * 1e9) if older else 0)
    found = [each for each in _found(opened_store()) if each[2].removed_ns <= before_ns]
    if not found:
        say("There is nothing to delete.")
        return
    size = size_text(sum(each.size_bytes for _, _, each in found))
    noun = "file" if len(found) == 1 else "files"
    if not yes:
        if not sys.stdin.isatty():
            raise Refused("It would be deleted for ever. Say --yes if you mean it.")
        typer.confirm(f"Delete {len(found)} {noun} ({size}) for ever?", abort=True, err=True)
    for _, fs, each in found:
        fs.delete_stashed(each)
    say(f"Deleted: {len(found)} {noun}, {size}.")


def _found(store: "Store") -> "list[tuple[Root, LocalFileSystem, Stashed]]":
    from sync_client.errors import RootMissing
    from sync_client.filesystem import LocalFileSystem

    found: list[tuple[Root, LocalFileSystem, Stashed]] = []
    for root in store.load().linked():
        fs = LocalFileSystem(Path(root.path), root_id=root.root_id, stash=store.stash_dir(root))
        try:
            fs.check_root()
        except RootMissing:
            # A disk that is not there: the others have their say.
            continue
        found += [(root, fs, each) for each in fs.stashed()]
    return sorted(found, key=lambda each: each[2].removed_ns, reverse=True)


def _moment(nanoseconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(nanoseconds / 1e9, datetime.UTC)
