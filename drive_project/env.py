"""Typed readers of the environment: one declaration per setting.

Every reader records what it read in `DECLARED`, from which `docs/settings.md` is
generated, so a setting cannot exist without a sentence that explains it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from django.core.exceptions import ImproperlyConfigured

from drive_project.common.redis_urls import is_cluster


@dataclass(frozen=True, slots=True)
class Declared:
    """One setting of the environment: its name, kind, default as text, and meaning."""

    name: str
    kind: str
    default: str
    meaning: str


T = TypeVar("T")

DECLARED: dict[str, Declared] = {}


def _read(
    name: str,
    *,
    kind: str,
    default: str,
    meaning: str,
    parse: Callable[[str], T],
    fallback: T,
) -> T:
    DECLARED[name] = Declared(name, kind, default, meaning)
    raw = os.environ.get(name, "").strip()
    if not raw:
        return fallback
    try:
        return parse(raw)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} is not {kind}: {error}") from error


def text(name: str, *, meaning: str, default: str = "", shown_default: str | None = None) -> str:
    """A string. `shown_default` replaces the default in the documentation."""
    return _read(
        name,
        kind="a text",
        default=default if shown_default is None else shown_default,
        meaning=meaning,
        parse=str,
        fallback=default,
    )


def redis_url(name: str, *, meaning: str, shown_default: str, may_be_cluster: bool = False) -> str:
    """The URL of a Redis, or nothing. See drive_project.common.redis_urls."""

    def parse(raw: str) -> str:
        if is_cluster(raw) and not may_be_cluster:
            raise ValueError(
                "Celery's queues cannot be in a Redis Cluster. Name one server or Sentinels "
                "here, and the cluster in EVENTS_REDIS_URL, which takes the event streams."
            )
        return raw

    return _read(
        name,
        kind="a Redis URL" + (", also of a cluster" if may_be_cluster else ""),
        default=shown_default,
        meaning=meaning,
        parse=parse,
        fallback="",
    )


def folder(name: str, *, meaning: str, default: Path, shown_default: str) -> Path:
    """An absolute folder; a relative one is taken from the current folder."""
    return _read(
        name,
        kind="a folder",
        default=shown_default,
        meaning=meaning,
        parse=lambda raw: Path(raw).expanduser().absolute(),
        fallback=default,
    )


def boolean(name: str, *, meaning: str, default: bool = False) -> bool:
    """1, true, yes or on; 0, false, no or off."""

    def parse(raw: str) -> bool:
        match raw.lower():
            case "1" | "true" | "yes" | "on":
                return True
            case "0" | "false" | "no" | "off":
                return False
        raise ValueError(f"{raw!r} (use 1 or 0)")

    shown = "1" if default else "0"
    return _read(
        name,
        kind="a yes or no",
        default=shown,
        meaning=meaning,
        parse=parse,
        fallback=default,
    )


def integer(name: str, *, meaning: str, default: int, minimum: int = 0) -> int:
    """A whole number not below `minimum`."""

    def parse(raw: str) -> int:
        value = int(raw)
        if value < minimum:
            raise ValueError(f"{value} is below {minimum}")
        return value

    return _read(
        name,
        kind="a whole number",
        default=str(default),
        meaning=meaning,
        parse=parse,
        fallback=default,
    )


def optional_integer(name: str, *, meaning: str, shown_default: str) -> int | None:
    """A whole number of at least 1, or None where nothing is set."""

    def parse(raw: str) -> int | None:
        value = int(raw)
        if value < 1:
            raise ValueError(f"{value} is below 1")
        return value

    return _read(
        name,
        kind="a whole number",
        default=shown_default,
        meaning=meaning,
        parse=parse,
        fallback=None,
    )


def texts(name: str, *, meaning: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
    """A comma-separated list."""
    return _read(
        name,
        kind="a comma-separated list",
        default=",".join(default),
        meaning=meaning,
        parse=lambda raw: tuple(part.strip() for part in raw.split(",") if part.strip()),
        fallback=default,
    )


def bind(name: str, *, meaning: str, default: str) -> tuple[str, int]:
    """HOST:PORT, where HOST may be a bracketed IPv6 address."""

    def parse(raw: str) -> tuple[str, int]:
        host, separator, port = raw.rpartition(":")
        if not separator or not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"{raw!r} (use HOST:PORT, for example 127.0.0.1:8000)")
        return host.strip("[]"), int(port)

    return _read(
        name,
        kind="HOST:PORT",
        default=default,
        meaning=meaning,
        parse=parse,
        fallback=parse(default),
    )
