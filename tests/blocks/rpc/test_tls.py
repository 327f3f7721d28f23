"""Who may speak with whom, by certificates."""

import ipaddress
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from blocks.rpc.client import RemoteBlockService
from blocks.rpc.trust import TlsFiles
from drive_project.common.errors import ServiceUnavailable
from tests.blocks.rpc.served import TOKEN, serving
from tests.fakes.blocks import FakeBlockService


class Authority:
    """Signs certificates for 127.0.0.1, as files in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.path = self._write(f"{name}.pem", self._signed(self._name, self._key, is_ca=True))

    def _write(self, name: str, pem: bytes) -> str:
        path = self._folder / name
        path.write_bytes(pem)
        return str(path)

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_ca: bool) -> bytes:
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)

    def files_for(self, name: str, *, trusts: str = "") -> TlsFiles:
        """A certificate of this authority and its key; whom its owner trusts."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return TlsFiles(
            self._write(f"{name}.crt", self._signed(subject, key, is_ca=False)),
            self._write(f"{name}.key", pem),
            trusts,
        )


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ours")


@pytest.fixture
def theirs(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "theirs")


@pytest.fixture
def address(ours: Authority) -> Iterator[str]:
    """A service with a certificate of ours, for whoever has the token."""
    with serving(FakeBlockService(), tls=ours.files_for("server")) as address:
        yield address


@pytest.fixture
def mutual(ours: Authority) -> Iterator[str]:
    """A service that also wants a certificate of ours."""
    with serving(FakeBlockService(), tls=ours.files_for("server", trusts=ours.path)) as address:
        yield address


def can_ask(address: str, tls: TlsFiles) -> bool:
    away = RemoteBlockService(address, token=TOKEN, tls=tls)
    try:
        away.stats()
    except ServiceUnavailable:
        return False
    finally:
        away.close()
    return True


def test_a_client_that_trusts_the_authority(ours: Authority, address: str) -> None:
    assert can_ask(address, TlsFiles(authority=ours.path))


def test_a_server_of_another_authority_is_not_believed(theirs: Authority, address: str) -> None:
    assert not can_ask(address, TlsFiles(authority=theirs.path))


def test_without_tls_nobody_gets_in(address: str) -> None:
    assert not can_ask(address, TlsFiles())


def test_a_client_with_a_certificate(ours: Authority, mutual: str) -> None:
    assert can_ask(mutual, ours.files_for("client", trusts=ours.path))


def test_a_client_without_the_certificate_that_is_wanted(
    ours: Authority, theirs: Authority, mutual: str
) -> None:
    assert not can_ask(mutual, TlsFiles(authority=ours.path))
    assert not can_ask(mutual, theirs.files_for("client", trusts=ours.path))
