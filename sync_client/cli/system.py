"""The client and this machine: what could hinder it, starting at login, completion."""

import contextlib
from enum import StrEnum
from typing import Annotated

import typer

from sync_client.cli.device import opened_store
from sync_client.cli.output import harmless, say, say_json

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]

service = typer.Typer(name="service", help="Start the sync client at login (systemd).")


class Shell(StrEnum):
    """Shells that can complete our commands."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def doctor(as_json: AsJson = False) -> int:
    """Look for what could hinder the sync client, and say what to do about it."""
    from sync_client.doctor import Level, examine
    from sync_client.status import Exit

    findings = []
    for finding in examine(opened_store()):
        findings.append(finding)
        if as_json:
            continue
        say(f"{finding.level:<8} {finding.check}: {harmless(finding.message)}")
        if finding.remedy:
            say(f"         {harmless(finding.remedy)}")
    if as_json:
        say_json(
            {
                "findings": [
                    {
                        "check": each.check,
                        "level": each.level,
                        "message": each.message,
                        "remedy": each.remedy,
                    }
                    for each in findings
                ]
            }
        )
    is_well = all(finding.level is Level.OK for finding in findings)
    return Exit.OK if is_well else Exit.WITH_PROBLEMS


@service.command("install")
def install() -> None:
    """Have systemd start the sync client now, at login and after a crash."""
    from sync_client import running
    from sync_client import service as units
    from sync_client.control import NotRunning

    store = opened_store()
    store.load().linked()
    units.check_systemd()
    with contextlib.suppress(NotRunning):
        # The service takes over from one that was started by hand.
        running.stop(store)
    path = units.install(store)
    say(f"Installed {path}; the sync client runs. See: drive service status")
    say("To let it run also while you are not logged in: loginctl enable-linger")


@service.command("uninstall")
def uninstall() -> None:
    """Stop the sync client and no longer start it at login. The files stay."""
    from sync_client import service as units

    if units.uninstall(opened_store()):
        say("Uninstalled; the sync client was stopped. To start it by hand: drive start")
    else:
        say("Nothing to do: no service is installed for this device.")


@service.command("status")
def service_status(as_json: AsJson = False) -> int:
    """Show whether systemd starts the sync client."""
    from sync_client import service as units
    from sync_client.status import Exit

    found = units.state(opened_store())
    if as_json:
        say_json(found)
    elif not found["is_installed"]:
        say("Not installed. To have it started at login: drive service install")
    else:
        enabled = "starts at login" if found["is_enabled"] else "does not start at login"
        active = "runs" if found["is_active"] else "does not run; see: drive log"
        say(f"{found['unit']}: {enabled}; {active}")
    return Exit.OK if found["is_active"] else Exit.NOT_RUNNING


def completion(
    shell: Annotated[Shell, typer.Argument(help="Your shell.")],
) -> None:
    """Print what lets a shell complete commands and options.

    bash: put  eval "$(drive completion bash)"  into ~/.bashrc. zsh: the same with zsh into
    ~/.zshrc, after compinit. fish: drive completion fish > ~/.config/fish/completions/drive.fish
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    script = get_completion_script(
        prog_name="drive", complete_var="_DRIVE_COMPLETE", shell=shell.value
    )
    say(script)
