"""All commands, in the order of the help."""

from typing import Annotated

import typer

from sync_client import __version__
from sync_client.cli import (
    account,
    conflicts,
    daemon,
    files,
    folders,
    leaving_out,
    pace,
    server,
    stashes,
    system,
)
from sync_client.cli.output import say

app = typer.Typer(
    name="drive",
    help="Keep folders the same on all your devices.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


app.command()(account.login)
app.command()(folders.link)
app.command()(folders.unlink)
app.command()(leaving_out.select)
app.add_typer(leaving_out.ignore)
app.command()(daemon.start)
app.command()(daemon.stop)
app.command()(pace.restart)
app.command()(pace.pause)
app.command()(pace.resume)
app.command()(pace.limit)
app.command()(daemon.status)
app.command()(daemon.sync)
app.command()(daemon.wait)
app.command()(daemon.confirm_deletes)
app.add_typer(stashes.stash)
app.add_typer(conflicts.app, name="conflicts")
app.command("ls")(server.list_folder)
app.command()(server.get)
app.command()(server.put)
app.command()(server.mkdir)
app.command()(server.mv)
app.command()(server.rm)
app.command()(files.info)
app.command()(files.why)
app.command()(files.history)
app.command()(files.diff)
app.command()(files.restore)
app.add_typer(files.trash)
app.command()(files.activity)
app.command()(files.devices)
app.command()(daemon.log)
app.command()(system.doctor)
app.add_typer(system.service)
app.command()(system.completion)
app.command()(account.logout)
