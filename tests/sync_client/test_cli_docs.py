"""The page about the sync client against the commands that there are."""

import re
from pathlib import Path

import typer.main

from sync_client.cli.app import app
from sync_client.status import Exit, State

PAGE = (Path(__file__).parents[2] / "docs" / "sync-client.md").read_text()


def commands():
    """Every command as people write it, `trash ls` too, with the spellings of its options."""
    found = {}
    for name, command in vars(typer.main.get_command(app))["commands"].items():
        below = getattr(command, "commands", None)
        for sub, each in (below or {"": command}).items():
            found[f"{name} {sub}".strip()] = [
                parameter.opts
                for parameter in each.params
                if parameter.param_type_name == "option" and "--help" not in parameter.opts
            ]
    return found


def test_every_command_and_option_has_its_place_on_the_page():
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    for name, options in commands().items():
        about = [row for row in rows if re.search(rf"`{re.escape(name)}[` \[]", row)]
        assert about, f"docs/sync-client.md says nothing of `{name}`"
        for option in options:
            assert any(spelling in row for spelling in option for row in about), (
                f"docs/sync-client.md says nothing of {option} of `{name}`"
            )


def test_every_exit_code_and_state_is_on_the_page():
    for code in Exit:
        assert re.search(rf"^\| {int(code)} \|", PAGE, re.MULTILINE)
    for state in State:
        assert f"`{state}`" in PAGE
