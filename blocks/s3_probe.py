"""What an S3 store enforces, found by trying: a store's own reports are no evidence.

| checksum | If-None-Match | what a URL could still do | so an upload is |
|---|---|---|---|
| yes | yes | nothing, once it was used | trusted when it is there with its length |
| yes | no | write the same bytes again | trusted when it is there with its length |
| no | either | write other bytes, now or later | read, hashed, copied to where no URL leads |

The length is signed as well. Where it is not enforced, a URL can put more bytes than were
announced, until the upload is looked at; without checksums that costs room, never content.
A store that takes a forged signature is refused: anybody could write to it.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import urllib3
from django.core.exceptions import ImproperlyConfigured

from blocks.locations import block_location
from drive_project.common.errors import ServiceUnavailable
from drive_project.common.ids import new_id

log = logging.getLogger(__name__)

# Objects of the probe; a probe that was killed leaves some.
PREFIX = "probe/"
LIFETIME = timedelta(minutes=1)
TIMEOUT_SECONDS = 20
RIGHT, WRONG = b"the right bytes", b"the wrong bytes"
SHA256 = hashlib.sha256(RIGHT).hexdigest()


@dataclass(frozen=True, slots=True)
class Enforced:
    """What the store refuses: other bytes, another length, a second PUT to one location.

    origin: whether a browser on our pages may PUT; None where that is not known.
    """

    checksum: bool
    length: bool
    once: bool
    origin: bool | None = None

    def __str__(self) -> str:
        named = {"checksum": self.checksum, "length": self.length, "If-None-Match": self.once}
        words = [name if is_so else f"not {name}" for name, is_so in named.items()]
        browsers = {None: "not checked", True: "allowed", False: "refused"}[self.origin]
        return f"enforces {', '.join(words)}; browsers {browsers}"


@dataclass(frozen=True, slots=True)
class Door:
    """How the probe reaches the store. sign: (method, location, headers, now, lifetime) → URL.

    headers: those of a signed PUT of RIGHT. size: of an object that is there, else None.
    """

    sign: Callable[[str, str, Mapping[str, str], datetime, timedelta], str]
    headers: Mapping[str, str]
    size: Callable[[str], int | None]
    delete: Callable[[str], None]
    # A URL as devices get it, to ask whether a page at `origin` may use it ("" for none).
    public_url: str
    origin: str


def probe(door: Door) -> Enforced:
    """Try what must be refused, and what must not.

    Raises ImproperlyConfigured when not even the right bytes are taken (address, keys or
    bucket are wrong), or when a forged signature is; ServiceUnavailable when nobody answers.
    """
    try:
        # Not httpx: it logs whole URLs, and these are secrets.
        with urllib3.PoolManager(timeout=TIMEOUT_SECONDS, retries=False) as client:
            return _Probe(door, client).run()
    except urllib3.exceptions.HTTPError as error:
        raise ServiceUnavailable("The object store does not answer.") from error


class _Probe:
    def __init__(self, door: Door, client: urllib3.PoolManager) -> None:
        self._door = door
        self._client = client

    def run(self) -> Enforced:
        location, url = self._signed()
        try:
            taken = self._put(url, RIGHT)
            if taken not in {200, 201, 204}:
                raise ImproperlyConfigured(
                    f"The object store refuses a PUT to a signed URL (status {taken}). "
                    "Check S3_ENDPOINT, S3_BUCKET, S3_REGION, S3_SERVER_SIDE_ENCRYPTION and "
                    "the S3 keys."
                )
            once = self._put(url, RIGHT) == 412
        finally:
            self._door.delete(location)
        if not self._refuses(RIGHT, forged=True):
            raise ImproperlyConfigured(
                "The object store takes requests with a forged signature: anybody could write."
            )
        return Enforced(
            checksum=self._refuses(WRONG),
            length=self._refuses(RIGHT + b"!"),
            once=once,
            origin=self._allows_origin(),
        )

    def _refuses(self, body: bytes, *, forged: bool = False) -> bool:
        """Whether a PUT of this body is refused, and leaves nothing behind."""
        location, url = self._signed()
        if forged:
            url = url[:-1] + ("0" if url[-1] != "0" else "1")
        try:
            status = self._put(url, body)
            return 400 <= status < 500 and self._door.size(location) is None
        finally:
            self._door.delete(location)

    def _signed(self) -> tuple[str, str]:
        location = PREFIX + block_location(SHA256, new_id())
        now = datetime.now(UTC)
        return location, self._door.sign("PUT", location, self._door.headers, now, LIFETIME)

    def _put(self, url: str, body: bytes) -> int:
        headers = {**self._door.headers, "Content-Length": str(len(body))}
        return self._client.request("PUT", url, body=body, headers=headers).status

    def _allows_origin(self) -> bool | None:
        """Whether the store's answer to a preflight lets a page of ours send a block."""
        if not self._door.origin:
            return None
        asked = sorted(name.lower() for name in self._door.headers if name != "Content-Length")
        try:
            answer = self._client.request(
                "OPTIONS",
                self._door.public_url,
                headers={
                    "Origin": self._door.origin,
                    "Access-Control-Request-Method": "PUT",
                    "Access-Control-Request-Headers": ",".join(asked),
                },
            )
        except urllib3.exceptions.HTTPError:
            # Devices reach that address, this server perhaps not.
            return None
        allowed = {
            name: {part.strip().lower() for part in answer.headers.get(name, "").split(",")}
            for name in (
                "Access-Control-Allow-Origin",
                "Access-Control-Allow-Methods",
                "Access-Control-Allow-Headers",
            )
        }
        origins, methods, headers = allowed.values()
        return (
            answer.status < 300
            and not origins.isdisjoint({self._door.origin.lower(), "*"})
            and not methods.isdisjoint({"put", "*"})
            and ("*" in headers or headers.issuperset(asked))
        )
