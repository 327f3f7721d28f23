"""Conflicts: which there are, and which content counts."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sync_client.cli.device import api_of, opened_store
from sync_client.cli.output import complain, harmless, say

if TYPE_CHECKING:
    from sync_client.settling import HereConflict

app = typer.Typer(help="List conflicts, and settle them.", invoke_without_command=True)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]


class Keep(StrEnum):
    """What is kept: by where the edit was made, or by which file has it."""

    LOCAL = "local"
    REMOTE = "remote"
    BOTH = "both"
    COPY = "copy"
    ORIGINAL = "original"


@app.callback()
def conflicts(context: typer.Context, as_json: AsJson = False) -> None:
    """List conflicts, and settle them."""
    if context.invoked_subcommand is None:
        list_conflicts(as_json=as_json)


@app.command("ls")
def list_conflicts(as_json: AsJson = False) -> None:
    """List the conflicts that are to be settled."""
    import json

    from sync_client import settling

    store = opened_store()
    config = store.load()
    device_id = config.signed_in().device_id
    api = api_of(store)
    try:
        found = settling.find(store, config, api)
    finally:
        api.close()
    if as_json:
        listed = [settling.as_json(each, device_id=device_id) for each in found]
        say(json.dumps({"schema": 1, "conflicts": listed}, indent=2, ensure_ascii=False))
        return
    if not found:
        say("No conflicts.")
        return
    for each in found:
        for line in _lines(each, device_id):
            say(line)
    if any(each.conflict for each in found):
        say("Next: drive conflicts resolve FILE --keep local|remote|both")


@app.command()
def resolve(
    file: Annotated[Path, typer.Argument(help="The file or its conflicted copy, here.")],
    keep: Annotated[
        Keep,
        typer.Option(
            help="local: the edit made on this device; remote: the other one; both: both files. "
            "Or by file: copy, original."
        ),
    ],
) -> int:
    """Settle a conflict. What is not kept stays in the trash or among the versions."""
    from sync_client import running, settling
    from sync_client.errors import SyncError
    from sync_client.status import Exit

    store = opened_store()
    config = store.load()
    config.linked()
    device_id = config.signed_in().device_id
    # First, so that the server knows of every edit that was made here.
    code = running.sync_quietly(store)
    if code not in {Exit.OK, Exit.WITH_PROBLEMS}:
        complain("nothing was settled, since the folder cannot be synced now. See: drive status")
        return code
    api = api_of(store)
    try:
        found = settling.pick(settling.find(store, config, api), file)
        word = settling.settle(api, found, keep=keep.value, device_id=device_id)
    finally:
        api.close()
    match word:
        case "mine":
            say("The copy's content is the file's now. The one before: see its versions.")
        case "theirs":
            say("The file stays as it is; the copy is in the trash.")
        case "both":
            say("Both files stay; the copy has a name of its own.")
    try:
        has_followed = running.sync_quietly(store) in {Exit.OK, Exit.WITH_PROBLEMS}
    except SyncError as error:
        # It is settled, whatever comes after.
        complain(str(error))
        has_followed = False
    if not has_followed:
        say("This device follows with its next sync. See: drive status")
    return 0


def _lines(found: "HereConflict", device_id: str) -> list[str]:
    """An entry for people."""
    from sync_client.settling import shown_path

    def where(side: str) -> str:
        place = found.original if side == "original" else found.copy
        if place is not None:
            return harmless(shown_path(place.path))
        name = found.conflict[side]["file"]["name"] if found.conflict else ""
        return f"{harmless(name)} (not in a linked folder)"

    conflict = found.conflict
    if conflict is None:
        return [where("copy"), "    named like a conflicted copy: rename it or delete it"]
    lines = [where("original")]
    for side in ("original", "copy"):
        told = conflict[side]
        device = harmless(told["device"] or "a device that is gone")
        by = "this device" if told["device_id"] == device_id else device
        when = (told["committed_at"] or conflict["created_at"])[:16]
        lines.append(f"    {side:<8}  {when}  by {by}")
    return [*lines, f"    copy: {where('copy')}"]
