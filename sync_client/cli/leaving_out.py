"""What this device leaves out: rules of what is ignored, and folders that it does not keep."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sync_client.cli.device import api_of, opened_store, tell_daemon
from sync_client.cli.output import complain, harmless, say

if TYPE_CHECKING:
    from sync_client.config import Deselected, Root, Store
    from sync_client.ignore import Rule

ignore = typer.Typer(
    name="ignore",
    help="Rules of what this device does not sync, in gitignore's syntax.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

_AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]


@ignore.command("add")
def add_rule(
    rule: Annotated[str, typer.Argument(help="Such as '*.o', 'build/' or '!keep.o'.")],
) -> None:
    """Ignore something on this device. What is synced already stays on both sides."""
    from sync_client.ignore import BadRule, check_rule

    try:
        text = check_rule(rule)
    except BadRule as error:
        raise typer.BadParameter(f"{rule!r}: {error}.") from error
    store = opened_store()
    with store.changing():
        config = store.load()
        if text in config.ignore:
            say("This rule is there already.")
            return
        store.save(replace(config, ignore=(*config.ignore, text)))
    tell_daemon("reload")
    say(f"Ignored on this device: {harmless(text)}")


@ignore.command("rm")
def remove_rule(
    rule: Annotated[str, typer.Argument(help="As `drive ignore ls` shows it.")],
) -> None:
    """Take a rule of this device away. What it ignored is merged with the server."""
    from sync_client.linking import Refused

    store = opened_store()
    with store.changing():
        config = store.load()
        if rule not in config.ignore:
            raise Refused(f"No rule of this device is {rule!r}. See: drive ignore ls")
        kept = tuple(each for each in config.ignore if each != rule)
        store.save(replace(config, ignore=kept))
    tell_daemon("reload")
    say(f"No longer ignored by a rule of this device: {harmless(rule)}")


@ignore.command("ls")
def list_rules(as_json: _AsJson = False) -> None:
    """List the rules of this device, and the .driveignore files that were seen."""
    from sync_client.linked import last_view

    store = opened_store()
    config = store.load()
    files = [
        os.path.join(root.path, *folder, ".driveignore")  # noqa: PTH118  (names that are no text)
        for root in config.roots
        for folder in last_view(store, root).rules.files
    ]
    if as_json:
        document = {
            "schema": 1,
            "rules": [_text(rule) for rule in config.ignore],
            "files": [_text(path) for path in sorted(files)],
        }
        say(json.dumps(document, indent=2, ensure_ascii=False))
        return
    for rule in config.ignore:
        say(harmless(rule))
    for path in sorted(files):
        say(f"Also: {harmless(path)}")
    if not config.ignore and not files:
        say("Nothing is ignored. Write rules in .driveignore, or: drive ignore add RULE")


@ignore.command("test")
def explain(
    paths: Annotated[list[str], typer.Argument(help="Paths in a linked folder.")],
    as_json: _AsJson = False,
) -> int:
    """Say which rule ignores a path; exit code 0 if one does for each, else 1."""
    from sync_client.linking import root_around

    store = opened_store()
    config = store.load()
    found = []
    for path in paths:
        root, names = root_around(config, Path(path))
        is_folder = path.endswith("/") or Path(path).is_dir()
        found.append((path, _rule_for(root, names, config.ignore, is_folder=is_folder)))
    if as_json:
        items = [
            {"path": _text(path), "ignored": rule is not None, "rule": rule and _where(rule)}
            for path, rule in found
        ]
        say(json.dumps({"schema": 1, "items": items}, indent=2, ensure_ascii=False))
    else:
        for path, rule in found:
            verdict = f"ignored by {_where(rule)}" if rule else "not ignored"
            say(f"{harmless(path)}: {harmless(verdict)}")
    return 0 if all(rule for _, rule in found) else 1


def _rule_for(
    root: "Root", names: tuple[str, ...], device: tuple[str, ...], *, is_folder: bool
) -> "Rule | None":
    """The rule as of now: the files are read from the disk."""
    from sync_client.ignore import LARGEST_RULES_BYTES, RULES_NAME, Rules
    from sync_client.view import rules_text

    files = {}
    for depth in range(len(names)):
        file = Path(root.path, *names[:depth], RULES_NAME)
        if not file.is_file() or file.is_symlink():
            continue
        content = file.read_bytes()
        if len(content) <= LARGEST_RULES_BYTES:
            files[names[:depth]] = rules_text(content)
    return Rules(device, files).ignoring(names, is_folder=is_folder) if names else None


def _where(rule: "Rule") -> str:
    if rule.folder is None:
        return f"{_text(rule.text)!r}, a rule of this device"
    file = "/".join((*rule.folder, ".driveignore"))
    return f"{_text(rule.text)!r}, line {rule.line} of {_text(file)}"


def select(
    action: Annotated[str, typer.Argument(help="ls, or nothing.", metavar="[ls]")] = "ls",
    add: Annotated[
        Path | None, typer.Option("--add", help="Keep this folder here again.", metavar="PATH")
    ] = None,
    remove: Annotated[
        Path | None,
        typer.Option("--remove", help="Do not keep this folder here.", metavar="PATH"),
    ] = None,
    as_json: _AsJson = False,
) -> int:
    """Choose which folders of the server this device keeps; alone, list those it does not.

    A folder leaves this device once the server has all that is in it; it stays on the server
    and on other devices. PATH is where it is, or would be, on this machine.
    """
    if action != "ls" or (add is not None and remove is not None):
        raise typer.BadParameter("Give ls, --add PATH or --remove PATH.")
    store = opened_store()
    if add is not None:
        return _select(store, add)
    if remove is not None:
        return _deselect(store, remove)
    _list_deselected(store, as_json=as_json)
    return 0


def _deselect(store: "Store", path: Path) -> int:
    from sync_client.config import Deselected
    from sync_client.linking import Refused, root_around

    root, names = root_around(store.load(), path)
    if not names:
        raise Refused("The linked folder itself cannot be deselected. See: drive unlink FOLDER")
    folder_id = _folder_on_server(store, root, names)
    if folder_id is None:
        raise Refused(
            f"{'/'.join(names)!r} is no folder on the server yet. "
            "Wait until it is synced: drive wait"
        )
    with store.changing():
        root = _now(store, root)
        kept = tuple(each for each in root.deselected if each.folder_id != folder_id)
        entry = Deselected(folder_id, "/".join(names))
        store.replace_root(replace(root, deselected=(*kept, entry)))
    if not tell_daemon("reload"):
        say("Deselected. It leaves this device with the next sync. Next: drive start")
        return 0
    return _wait_until_it_left(store, root, entry)


def _wait_until_it_left(store: "Store", root: "Root", entry: "Deselected") -> int:
    from sync_client.control import ask
    from sync_client.linked import last_waiting
    from sync_client.status import Exit

    code = Exit(ask(store.folder, "wait", timeout_seconds=None, once=True)["exit_code"])
    waiting = next((w for w in last_waiting(store, root) if w.item_id == entry.folder_id), None)
    name = harmless(entry.path)
    if waiting is not None:
        say(f"{name} stays here until the server has what is in it:")
        for each in waiting.paths:
            say(f"  {harmless(each)}")
        if waiting.count > len(waiting.paths):
            say(f"  and {waiting.count - len(waiting.paths)} more")
        return Exit.WITH_PROBLEMS
    if code in {Exit.OK, Exit.WITH_PROBLEMS}:
        say(f"{name} is no longer kept here. What was here is in the stash for 7 days.")
        return Exit.OK
    complain(f"{name} leaves this device later. See: drive status")
    return code


def _select(store: "Store", path: Path) -> int:
    from sync_client.linking import Refused, root_around

    root, names = root_around(store.load(), path)
    folder_id = _folder_on_server(store, root, names)
    with store.changing():
        root = _now(store, root)
        kept = tuple(
            each
            for each in root.deselected
            if each.folder_id != folder_id and each.path != "/".join(names)
        )
        if len(kept) == len(root.deselected):
            raise Refused(f"{'/'.join(names)!r} is not deselected. See: drive select ls")
        store.replace_root(replace(root, deselected=kept))
    is_running = tell_daemon("reload")
    say(
        f"{harmless('/'.join(names))} is kept here again."
        + ("" if is_running else " Next: drive start")
    )
    return 0


def _list_deselected(store: "Store", *, as_json: bool) -> None:
    from sync_client.linked import last_waiting

    items = []
    for root in store.load().roots:
        waiting = {each.item_id for each in last_waiting(store, root)}
        items += [
            {
                "path": _text(os.path.join(root.path, each.path)),  # noqa: PTH118
                "folder_id": each.folder_id,
                "is_waiting": each.folder_id in waiting,
            }
            for each in root.deselected
        ]
    if as_json:
        say(json.dumps({"schema": 1, "items": items}, indent=2, ensure_ascii=False))
        return
    for item in items:
        note = "  (still here: see drive status)" if item["is_waiting"] else ""
        say(f"{harmless(str(item['path']))}{note}")
    if not items:
        say("Everything is kept here. To leave a folder out: drive select --remove PATH")


def _folder_on_server(store: "Store", root: "Root", names: tuple[str, ...]) -> str | None:
    """The id of a folder by its path from the linked folder; None where there is none."""
    from sync_client.listing import children

    api = api_of(store)
    try:
        folder_id = root.folder_id
        for name in names:
            found = next(
                (
                    item
                    for item in children(api, folder_id)
                    if item["name"] == name and item["type"] == "folder"
                ),
                None,
            )
            if found is None:
                return None
            folder_id = str(found["folder_id"])
        return folder_id
    finally:
        api.close()


def _now(store: "Store", root: "Root") -> "Root":
    """What is known of a linked folder by now; call it while `changing`."""
    from sync_client.linking import Refused

    found = next((each for each in store.load().roots if each.root_id == root.root_id), None)
    if found is None:
        raise Refused(f"{root.path} is no longer linked.")
    return found


def _text(name: str) -> str:
    """A name for JSON and people: bytes that are no text become "�"."""
    from sync_client.names import printable

    return printable((name,))
