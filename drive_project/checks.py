"""Settings that must agree. Where they do not, every command and server refuses to start."""

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from blocks.rpc.trust import TlsFiles, host_of

MIN_SECRET_KEY_CHARACTERS = 50
MIN_TOKEN_CHARACTERS = 32


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach a server that listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@register()
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Every contradiction, each with its remedy."""
    return list(_contradictions())


def _contradictions() -> Iterator[CheckMessage]:
    if settings.DEBUG and not is_loopback(settings.BIND_HOST):
        yield Error(
            f"DEBUG shows secrets to everybody who reaches {settings.BIND_HOST}.",
            hint="Unset DEBUG, or bind to 127.0.0.1.",
            id="drive.E001",
        )
    if len(settings.SECRET_KEY) < MIN_SECRET_KEY_CHARACTERS:
        yield Error(
            f"SECRET_KEY has {len(settings.SECRET_KEY)} characters; "
            f"below {MIN_SECRET_KEY_CHARACTERS} it can be guessed.",
            hint="Unset it (one is made and kept), or make one with: openssl rand -base64 48",
            id="drive.E002",
        )
    if settings.PUBLIC_URL:
        yield from _check_public_url(settings.PUBLIC_URL)
    yield from _check_store()
    yield from _check_block_service()
    files, blocks = (settings.DATABASES[alias] for alias in ("default", "blocks"))
    place = ("ENGINE", "HOST", "PORT", "NAME")
    if [files.get(key) for key in place] == [blocks.get(key) for key in place]:
        yield Error(
            "DATABASE_URL and BLOCKS_DATABASE_URL name the same database.",
            hint="Give the Block Service a database of its own.",
            id="drive.E007",
        )


def _check_public_url(url: str) -> Iterator[CheckMessage]:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path:
        yield Error(
            f"PUBLIC_URL {url!r} is not of the form https://HOST[:PORT].",
            hint="Name scheme and host, without a path.",
            id="drive.E003",
        )


def _check_block_service() -> Iterator[CheckMessage]:
    hosts: dict[str, str | None] = {}
    for name in ("BLOCK_SERVICE_ADDRESS", "BLOCK_SERVICE_BIND"):
        if address := getattr(settings, name):
            try:
                hosts[name] = host_of(address)
            except ValueError as error:
                yield Error(
                    f"{name}: {error}.",
                    hint="Use for example 127.0.0.1:50051, [::1]:50051 or unix:/run/blocks.sock.",
                    id="drive.E006",
                )
    host = hosts.get("BLOCK_SERVICE_BIND")
    token = settings.BLOCK_SERVICE_TOKEN
    if host and not is_loopback(host) and not token:
        yield Error(
            f"Whoever reaches {host} could read every block: BLOCK_SERVICE_TOKEN is not set.",
            hint="Make one with: openssl rand -hex 32; or set BLOCK_SERVICE_BIND to loopback.",
            id="drive.E008",
        )
    if token and (len(token) < MIN_TOKEN_CHARACTERS or not token.isascii()):
        yield Error(
            f"BLOCK_SERVICE_TOKEN is not {MIN_TOKEN_CHARACTERS} or more ASCII characters; "
            "it could be guessed, or not be sent.",
            hint="Make one with: openssl rand -hex 32",
            id="drive.E009",
        )
    try:
        TlsFiles.configured().check()
    except ImproperlyConfigured as error:
        yield Error(
            str(error),
            hint="Name PEM files that this user can read, or unset BLOCK_SERVICE_TLS_*.",
            id="drive.E010",
        )


def _check_store() -> Iterator[CheckMessage]:
    needed = ("S3_ENDPOINT", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY")
    if settings.S3_BUCKET:
        lacking = [name for name in needed if not getattr(settings, name)]
        if lacking:
            yield Error(
                f"S3_BUCKET is set, but {', '.join(lacking)} is not.",
                hint="Set them all, or unset S3_BUCKET to keep blocks on local disk.",
                id="drive.E004",
            )
        if settings.S3_SERVER_SIDE_ENCRYPTION not in {"", "AES256", "aws:kms"}:
            yield Error(
                f"S3_SERVER_SIDE_ENCRYPTION {settings.S3_SERVER_SIDE_ENCRYPTION!r} is unknown.",
                hint="Use AES256 or aws:kms, or unset it.",
                id="drive.E011",
            )
    else:
        # The pages name the store's origin also where another process holds its keys.
        public = () if settings.BLOCK_SERVICE_ADDRESS else ("S3_PUBLIC_ENDPOINT",)
        unused = [name for name in (*needed, *public) if getattr(settings, name)]
        if unused:
            yield Error(
                f"{', '.join(unused)} is set, but S3_BUCKET is not: blocks would go to local disk.",
                hint="Set S3_BUCKET, or unset the others.",
                id="drive.E005",
            )
