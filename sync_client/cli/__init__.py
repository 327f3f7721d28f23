"""The command `drive`. Text for people on stdout, diagnostics on stderr, exit codes as in
`status.Exit`; a password never stands in the arguments, where every process could read it.

`app` lists the commands; a module for each subject has them. What takes long to load is
imported by the functions that need it, here too: the daemon uses `output` and no command.
"""

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sync_client.errors import SyncError


def main() -> int:
    """Run one command; the answer is its exit code."""
    import typer

    from sync_client.cli.app import app
    from sync_client.cli.output import complain
    from sync_client.errors import SyncError
    from sync_client.status import Exit

    if "_DRIVE_COMPLETE" in os.environ:
        # The script of `drive completion` asks.
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
    try:
        answer = app(standalone_mode=False)
        return answer if isinstance(answer, int) else Exit.OK
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "drive"
        complain(f"{error.format_message()} Try: {command} --help")
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough, such as `head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OTHER
    except SyncError as error:
        complain(str(error))
        return _exit_code_of(error)


def _exit_code_of(error: "SyncError") -> int:
    from sync_client.config import ConfigProblem
    from sync_client.control import NotRunning
    from sync_client.errors import (
        ApiProblem,
        LoginRevoked,
        MustStop,
        NotLinked,
        RootMissing,
        Transient,
    )
    from sync_client.linking import Refused
    from sync_client.status import FATAL_CODES, Exit

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
        case Refused():
            return Exit.USAGE
    return Exit.OTHER
