"""Signed URLs: a short-lived right to do one request, for S3 and for the embedded store.

Both carry the same shape (method, URL, headers, expiry), so a device cannot tell them
apart. A URL is a secret; nothing here logs one.
"""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from drive_project.common.errors import InvalidUrl


def checksum_header(sha256: str) -> str:
    """A SHA-256 in hex as `x-amz-checksum-sha256` spells it."""
    return b64encode(bytes.fromhex(sha256)).decode()


def range_header(start: int, length: int) -> str:
    return f"bytes={start}-{start + length - 1}"


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


class S3Presigner:
    """Signs as AWS Signature Version 4 says, in the query, with path-style addresses.

    The same signature as botocore's (a test holds it to that) at a tenth of its cost: a
    file of 10 GiB needs thousands of URLs.
    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
    """

    def __init__(
        self, *, endpoint: str, bucket: str, region: str, access_key: str, secret_key: str
    ) -> None:
        parts = urlsplit(endpoint)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._host = parts.netloc
        self._path = f"{parts.path.rstrip('/')}/{bucket}/"
        self._region = region
        self._access_key = access_key
        self._secret_key = secret_key
        self._day_key = ("", b"")

    def sign(
        self,
        method: str,
        key: str,
        *,
        now: datetime,
        lifetime: timedelta,
        headers: Mapping[str, str],
    ) -> str:
        """A URL for one request; `headers` (any case) must then be sent exactly so."""
        moment = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        day = moment[:8]
        scope = f"{day}/{self._region}/s3/aws4_request"
        signed = sorted(
            [("host", self._host), *((name.lower(), value) for name, value in headers.items())]
        )
        names = ";".join(name for name, _ in signed)
        query = (
            "X-Amz-Algorithm=AWS4-HMAC-SHA256"
            f"&X-Amz-Credential={quote(f'{self._access_key}/{scope}', safe='')}"
            f"&X-Amz-Date={moment}"
            f"&X-Amz-Expires={int(lifetime.total_seconds())}"
            f"&X-Amz-SignedHeaders={quote(names, safe='')}"
        )
        path = self._path + quote(key, safe="/~")
        request = "\n".join(
            [
                method,
                path,
                query,
                *(f"{name}:{value}" for name, value in signed),
                "",
                names,
                "UNSIGNED-PAYLOAD",
            ]
        )
        to_sign = "\n".join(
            [
                "AWS4-HMAC-SHA256",
                moment,
                scope,
                hashlib.sha256(request.encode()).hexdigest(),
            ]
        )
        signature = hmac.new(self._key(day), to_sign.encode(), "sha256").hexdigest()
        return f"{self._origin}{path}?{query}&X-Amz-Signature={signature}"

    def _key(self, day: str) -> bytes:
        known_day, key = self._day_key
        if known_day != day:
            key = ("AWS4" + self._secret_key).encode()
            for part in (day, self._region, "s3", "aws4_request"):
                key = _hmac(key, part)
            # One assignment: threads may meet here.
            self._day_key = (day, key)
        return key


@dataclass(frozen=True, slots=True)
class LocalRequest:
    """What a URL of the embedded store allows.

    size_bytes and sha256 belong to a PUT (`sha256` is that of the whole object); start and
    length to a GET of a part. Those that do not apply are empty.
    """

    method: str
    location: str
    expires_at: datetime
    size_bytes: int | None = None
    sha256: str = ""
    start: int | None = None
    length: int | None = None


class LocalPresigner:
    """Signs requests to the embedded store with a key derived from SECRET_KEY."""

    PREFIX = "/blocks/"

    def __init__(self, secret_key: str) -> None:
        if not secret_key:
            raise ValueError("An empty key would let anyone sign.")
        # A key of its own: a signature made for another purpose is none here.
        self._key = _hmac(secret_key.encode(), "drive.blocks.presign")

    def sign(self, request: LocalRequest) -> str:
        fields = self._fields(request)
        fields["signature"] = self._signature(request.location, request.method, fields)
        return f"{self.PREFIX}{request.location}?{urlencode(fields)}"

    def read(self, method: str, location: str, query: str, *, now: datetime) -> LocalRequest:
        """What the URL allows. Raises InvalidUrl when it was changed, or its time is over.

        A URL for GET is good for HEAD too.
        """
        try:
            pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=8)
        except ValueError as error:
            raise InvalidUrl("The query is none of ours.") from error
        fields = dict(pairs)
        signature = fields.pop("signature", "")
        signed_method = "GET" if method == "HEAD" else method
        expected = self._signature(location, signed_method, fields)
        if len(pairs) != len(fields) + 1 or not hmac.compare_digest(
            signature.encode(), expected.encode()
        ):
            raise InvalidUrl("The signature does not fit.")
        # What is signed was written here, so it can be read without doubt.
        expires_at = datetime.fromtimestamp(int(fields["expires"]), UTC)
        if expires_at <= now:
            raise InvalidUrl("The time of this URL is over.")
        return LocalRequest(
            method=signed_method,
            location=location,
            expires_at=expires_at,
            size_bytes=_integer(fields.get("size")),
            sha256=fields.get("sha256", ""),
            start=_integer(fields.get("start")),
            length=_integer(fields.get("length")),
        )

    @staticmethod
    def _fields(request: LocalRequest) -> dict[str, str]:
        fields = {
            "expires": int(request.expires_at.timestamp()),
            "size": request.size_bytes,
            "sha256": request.sha256 or None,
            "start": request.start,
            "length": request.length,
        }
        return {name: str(value) for name, value in fields.items() if value is not None}

    def _signature(self, location: str, method: str, fields: Mapping[str, str]) -> str:
        text = "\n".join([method, location, urlencode(sorted(fields.items()))])
        return hmac.new(self._key, text.encode(), "sha256").hexdigest()


def _integer(text: str | None) -> int | None:
    return None if text is None else int(text)
