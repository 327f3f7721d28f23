"""When and how fast contents move: pause, resume, limits."""

import re
from dataclasses import replace
from typing import Annotated

import typer

from sync_client.cli.daemon import duration
from sync_client.cli.device import opened_store, tell_daemon
from sync_client.cli.output import say, size_text

_FACTORS = {"": 1, "K": 1_000, "M": 1_000_000, "G": 1_000_000_000}


def pause(
    time: Annotated[
        str, typer.Option("--for", help="How long: seconds, or like 10m or 2h.", metavar="TIME")
    ] = "",
) -> None:
    """Sync nothing until `drive resume`, or for some time. Also across restarts."""
    import time as clock

    from sync_client import status
    from sync_client.config import Pause

    store = opened_store()
    seconds = duration(time) if time else None
    if seconds == 0:
        raise typer.BadParameter("A pause takes some time; write seconds, or like 10m.")
    with store.changing():
        config = store.load()
        config.signed_in()
        until = None if seconds is None else clock.time() + seconds
        config = replace(config, pause=Pause(until))
        store.save(config)
    tell_daemon("reload")
    found = status.paused(config)
    say(f"{found[0] if found else 'Paused.'} Resume: drive resume")


def resume() -> None:
    """End a pause."""
    store = opened_store()
    with store.changing():
        config = store.load()
        was_paused = config.pause_now() is not None
        store.save(replace(config, pause=None))
    if not was_paused:
        say("Nothing was paused.")
        return
    if tell_daemon("reload"):
        say("Resumed.")
    else:
        say("Resumed. Next: drive start")


def restart() -> int:
    """Stop the sync client, if it runs, and start it."""
    import contextlib

    from sync_client import running
    from sync_client.control import NotRunning

    store = opened_store()
    store.load().linked()
    with contextlib.suppress(NotRunning):
        running.stop(store)
    running.start_detached(store)
    say("Started again. See: drive status")
    return 0


def limit(
    up: Annotated[
        str | None,
        typer.Option(
            help="Bytes a second to the server, like 500K or 2M; off: none.", metavar="RATE"
        ),
    ] = None,
    down: Annotated[
        str | None, typer.Option(help="Bytes a second from the server.", metavar="RATE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Limit how fast contents go up and down, at once and from now on; alone, show it."""
    import json

    from sync_client.limits import Rates

    store = opened_store()
    if up is not None or down is not None:
        with store.changing():
            config = store.load()
            rates = Rates(
                up=config.rates.up if up is None else _rate(up),
                down=config.rates.down if down is None else _rate(down),
            )
            store.save(replace(config, rates=rates))
        tell_daemon("limit")
    rates = store.load().rates
    if as_json:
        document = {
            "schema": 1,
            "up_bytes_per_second": rates.up,
            "down_bytes_per_second": rates.down,
        }
        say(json.dumps(document, indent=2))
        return
    say(f"Up:   {_rate_text(rates.up)}")
    say(f"Down: {_rate_text(rates.down)}")


def _rate(text: str) -> int | None:
    """Bytes a second of a rate like 500K, 1.5M or off."""
    from sync_client.limits import SLOWEST_BYTES_PER_SECOND

    if text.strip().lower() in {"off", "none", "unlimited"}:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)i?(?:B(?:/s)?)?", text.strip(), re.IGNORECASE)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no rate; write bytes a second, 500K, 2M, or off.")
    rate = int(float(found[1]) * _FACTORS[found[2].upper()])
    if rate < SLOWEST_BYTES_PER_SECOND:
        raise typer.BadParameter(
            f"{text!r} is too slow for a block to get through: at least 10K, or drive pause."
        )
    return rate


def _rate_text(rate: int | None) -> str:
    return "no limit" if rate is None else f"{size_text(rate)}/s"
