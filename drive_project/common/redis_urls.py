"""What a Redis URL names: one server, the master that Sentinels know, or a cluster.

    redis://[USER:PASSWORD@]HOST[:PORT][/DB]   rediss://… (TLS)   unix:///SOCKET[?db=DB]
    redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…]/SERVICE[/DB][?sentinel_password=…]
    redis+cluster://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…]

User and password are those of the Redis servers; percent-encode what a URL cannot carry.
Sentinels and clusters are spoken to without TLS: a URL that asks for it is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

SINGLE_SCHEMES = frozenset({"redis", "rediss", "unix"})
SENTINEL_SCHEME = "redis+sentinel"
CLUSTER_SCHEME = "redis+cluster"
# What one would write for TLS, and what is there instead.
WITHOUT_TLS = {f"rediss+{kind}": f"redis+{kind}" for kind in ("sentinel", "cluster")}
SENTINEL_PORT = 26379
CLUSTER_PORT = 6379
FORMS = "redis://HOST/DB, unix:///SOCKET, redis+sentinel://HOST:PORT,HOST:PORT/SERVICE"


@dataclass(frozen=True, slots=True)
class SingleRedis:
    """One server; its URL is understood by every client."""

    url: str


@dataclass(frozen=True, slots=True)
class SentinelRedis:
    """Whichever server the Sentinels at `hosts` call the master of `service`."""

    hosts: tuple[tuple[str, int], ...]
    service: str
    db: int = 0
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    # What the Sentinels themselves ask for, if anything.
    sentinel_credentials: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class ClusterRedis:
    """The cluster of which the servers at `hosts` are a part."""

    hosts: tuple[tuple[str, int], ...]
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)


RedisPlace = SingleRedis | SentinelRedis | ClusterRedis


def place_of(url: str) -> RedisPlace:
    """Raises ValueError, which never shows the password."""
    parts = urlsplit(url)
    if parts.scheme in SINGLE_SCHEMES:
        return SingleRedis(url)
    if parts.scheme == SENTINEL_SCHEME:
        return _sentinel(parts)
    if parts.scheme == CLUSTER_SCHEME:
        if parts.path.strip("/") or parts.query:
            raise ValueError("a cluster has no databases and no options; end after its hosts")
        return ClusterRedis(_hosts(parts, CLUSTER_PORT), _credentials(parts))
    if parts.scheme in WITHOUT_TLS:
        raise ValueError(
            "TLS to Sentinels or to a cluster is not supported. Name one server (rediss://HOST), "
            f"or use {WITHOUT_TLS[parts.scheme]}:// within a network that encrypts by itself, "
            "such as WireGuard"
        )
    raise ValueError(f"{parts.scheme or 'nothing'!r} is no known scheme (use {FORMS})")


def is_cluster(url: str) -> bool:
    """Whether keys of different slots cannot be asked about together."""
    return isinstance(place_of(url), ClusterRedis)


def _sentinel(parts: SplitResult) -> SentinelRedis:
    service, _, db = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("name the service that the Sentinels watch: …/SERVICE or …/SERVICE/DB")
    if db and not (db.isascii() and db.isdigit()):
        raise ValueError(f"{db!r} is no number of a database")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    sentinel_credentials = {
        name: options.pop(f"sentinel_{name}")
        for name in ("username", "password")
        if f"sentinel_{name}" in options
    }
    if options:
        raise ValueError(f"{', '.join(sorted(options))} is no known option")
    return SentinelRedis(
        hosts=_hosts(parts, SENTINEL_PORT),
        service=unquote(service),
        db=int(db or 0),
        credentials=_credentials(parts),
        sentinel_credentials=sentinel_credentials,
    )


def _credentials(parts: SplitResult) -> dict[str, str]:
    userinfo, at, _ = parts.netloc.rpartition("@")
    if not at:
        return {}
    username, _, password = userinfo.partition(":")
    given = {"username": unquote(username), "password": unquote(password)}
    return {name: value for name, value in given.items() if value}


def _hosts(parts: SplitResult, default_port: int) -> tuple[tuple[str, int], ...]:
    return tuple(_host(each, default_port) for each in parts.netloc.rpartition("@")[2].split(","))


def _host(text: str, default_port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text.strip()}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{text!r} is not HOST:PORT") from error
    if not host or port == 0:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return host, port or default_port


def celery_settings(url: str) -> tuple[str, dict[str, Any]]:
    """The same broker as Celery spells it: its URL, and options for its transport."""
    place = place_of(url)
    match place:
        case SingleRedis():
            # Its scheme for a socket is its own.
            if url.startswith("unix://"):
                return "redis+socket://" + url.removeprefix("unix://"), {}
            # Celery alone would take any certificate if it is not told to look at it.
            if url.startswith("rediss://") and "ssl_cert_reqs=" not in url:
                url += ("&" if urlsplit(url).query else "?") + "ssl_cert_reqs=required"
            return url, {}
        case SentinelRedis(hosts, service, db, credentials, sentinel_credentials):
            userinfo = ":".join(
                quote(credentials.get(name, ""), safe="") for name in ("username", "password")
            )
            at = f"{userinfo}@" if credentials else ""
            urls = [f"sentinel://{at}{_spelled(host, port)}/{db}" for host, port in hosts]
            options: dict[str, Any] = {"master_name": service}
            if sentinel_credentials:
                options["sentinel_kwargs"] = dict(sentinel_credentials)
            return ";".join(urls), options
        case ClusterRedis():
            raise ValueError("a cluster cannot carry Celery's queues")


def channel_host(url: str) -> dict[str, Any]:
    """The same server as the channel layer names it."""
    place = place_of(url)
    match place:
        case SingleRedis():
            return {"address": url}
        case SentinelRedis(hosts, service, db, credentials, sentinel_credentials):
            return {
                "master_name": service,
                "sentinels": list(hosts),
                "sentinel_kwargs": dict(sentinel_credentials),
                "db": db,
                **credentials,
            }
        case ClusterRedis():
            raise ValueError("a cluster cannot carry the channel layer")


def _spelled(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
