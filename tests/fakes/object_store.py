"""An object store in memory. It checks every byte it is sent, as the strictest real one does."""

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import httpx

from blocks.service import SignedRequest
from blocks.storage import StoredFile, get_headers, put_headers
from tests.blocks.devices import Door


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a URL was signed for."""

    method: str
    location: str
    headers: dict[str, str]
    expires_at: datetime
    size_bytes: int = 0
    sha256: str = ""


class FakeObjectStore:
    """`blocks.storage.ObjectStore`; its URLs are good at `FakeDoor` alone."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[bytes, datetime]] = {}
        self._tickets: dict[str, Ticket] = {}

    def enforces_checksums(self) -> bool:
        return True

    def describe(self) -> str:
        return "enforces checksum, length, If-None-Match"

    def sign_put(
        self, location: str, *, size_bytes: int, sha256: str, now: datetime, lifetime: timedelta
    ) -> SignedRequest:
        headers = put_headers(size_bytes, sha256)
        return self._signed(Ticket("PUT", location, headers, now + lifetime, size_bytes, sha256))

    def sign_get(
        self,
        location: str,
        *,
        now: datetime,
        lifetime: timedelta,
        start: int | None = None,
        length: int | None = None,
    ) -> SignedRequest:
        return self._signed(Ticket("GET", location, get_headers(start, length), now + lifetime))

    def _signed(self, ticket: Ticket) -> SignedRequest:
        name = secrets.token_hex(16)
        self._tickets[name] = ticket
        return SignedRequest(
            ticket.method,
            f"https://store.fake/{ticket.location}?ticket={name}",
            dict(ticket.headers),
            ticket.expires_at,
        )

    def sizes(self, locations: Sequence[str]) -> dict[str, int]:
        return {
            location: len(self._objects[location][0])
            for location in locations
            if location in self._objects
        }

    def read(self, location: str, *, start: int = 0, length: int | None = None) -> bytes | None:
        if location not in self._objects:
            return None
        data, _ = self._objects[location]
        return data[start:] if length is None else data[start : start + length]

    def write(self, location: str, data: bytes, *, sha256: str) -> None:
        assert hashlib.sha256(data).hexdigest() == sha256
        self._objects.setdefault(location, (data, datetime.now(UTC)))

    def delete(self, location: str) -> None:
        self._objects.pop(location, None)

    def delete_all(self, locations: Sequence[str]) -> None:
        for location in locations:
            self.delete(location)

    def listing(self) -> Iterator[StoredFile]:
        for location, (data, written_at) in list(self._objects.items()):
            yield StoredFile(location, len(data), written_at)

    def tidy(self, *, older_than: timedelta) -> int:
        return 0

    # --- What devices meet --------------------------------------------------------------

    def answer(
        self, method: str, url: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        """Status and content of a request with a URL that was signed here, or was not."""
        parts = urlsplit(url)
        location = parts.path.removeprefix("/")
        ticket = self._tickets.get(parts.query.removeprefix("ticket="))
        if (
            ticket is None
            or (ticket.method, ticket.location) != (method, location)
            or ticket.expires_at <= datetime.now(UTC)
            or any(headers.get(name) != value for name, value in ticket.headers.items())
        ):
            return 403, b"not what this URL was signed for"
        return self._put(ticket, body) if method == "PUT" else self._get(location, headers)

    def _put(self, ticket: Ticket, body: bytes) -> tuple[int, bytes]:
        if len(body) != ticket.size_bytes or hashlib.sha256(body).hexdigest() != ticket.sha256:
            return 400, b"other bytes"
        if ticket.location in self._objects:
            return 412, b"there already"
        self._objects[ticket.location] = (body, datetime.now(UTC))
        return 201, b""

    def _get(self, location: str, headers: dict[str, str]) -> tuple[int, bytes]:
        if location not in self._objects:
            return 404, b"absent"
        data, _ = self._objects[location]
        if "Range" not in headers:
            return 200, data
        first, last = headers["Range"].removeprefix("bytes=").split("-")
        return 206, data[int(first) : int(last) + 1]


class FakeDoor(Door):
    """Carries signed requests out on a fake store."""

    def __init__(self, store: FakeObjectStore) -> None:
        self._store = store

    def request(
        self,
        signed: SignedRequest,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        sent = signed.headers if headers is None else headers
        status, content = self._store.answer(signed.method, signed.url, body or b"", sent)
        return httpx.Response(status, content=content)
