"""Where the two sides meet, and how they trust each other: address, TLS, shared token.

Every process checks these settings at its start, so gRPC is not loaded here.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

UNIX = "unix:"
TOKEN_KEY = "authorization"  # noqa: S105 - the name of a header


def token_header(token: str) -> str:
    return f"Bearer {token}"


def host_of(address: str) -> str | None:
    """The host of HOST:PORT (an IPv6 address in brackets); None for unix:PATH.

    Raises ValueError for what is neither.
    """
    if address.startswith(UNIX):
        if address.removeprefix(UNIX):
            return None
        raise ValueError(f"{address!r} names no path")
    host, separator, port = address.rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{address!r} is neither HOST:PORT nor unix:PATH")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"{address!r} needs brackets around its IPv6 address")
    return host.strip("[]")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: one's own certificate and key, and who has signed the other side's.

    Each is "" where there is none.
    """

    certificate: str = ""
    key: str = ""
    authority: str = ""

    @classmethod
    def configured(cls) -> "TlsFiles":
        return cls(
            settings.BLOCK_SERVICE_TLS_CERT,
            settings.BLOCK_SERVICE_TLS_KEY,
            settings.BLOCK_SERVICE_TLS_CA,
        )

    def check(self) -> None:
        """Raises ImproperlyConfigured for what cannot be read or does not belong together.

        At a handshake the same fault would be a riddle.
        """
        if bool(self.certificate) != bool(self.key):
            raise ImproperlyConfigured(
                "BLOCK_SERVICE_TLS_CERT and BLOCK_SERVICE_TLS_KEY go together."
            )
        for name in ("certificate", "key", "authority"):
            self.read(name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key)
        except ssl.SSLError as error:
            raise ImproperlyConfigured(
                f"BLOCK_SERVICE_TLS_CERT {self.certificate} and BLOCK_SERVICE_TLS_KEY "
                f"{self.key} are no certificate and its key in PEM."
            ) from error
        try:
            if self.authority:
                context.load_verify_locations(self.authority)
        except ssl.SSLError as error:
            raise ImproperlyConfigured(
                f"BLOCK_SERVICE_TLS_CA {self.authority} holds no certificate in PEM."
            ) from error

    def read(self, name: str) -> bytes | None:
        """The bytes of `certificate`, `key` or `authority`; None where there is none.

        Raises ImproperlyConfigured.
        """
        path = getattr(self, name)
        if not path:
            return None
        try:
            return Path(path).read_bytes()
        except OSError as error:
            setting = {"certificate": "CERT", "key": "KEY", "authority": "CA"}[name]
            raise ImproperlyConfigured(
                f"BLOCK_SERVICE_TLS_{setting} {path} cannot be read: {error.strerror}."
            ) from error
