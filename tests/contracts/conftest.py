"""The stores that the contracts are held to: local disk, two real S3 servers, and the fake."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import override_settings

from blocks.s3 import S3ObjectStore
from blocks.storage import LocalObjectStore, ObjectStore
from tests.blocks.devices import Door
from tests.fakes.object_store import FakeDoor, FakeObjectStore
from tests.services.s3 import PrivateS3, S3Address

SECRET = "a key of the contract tests, as long as one has to be, or a little longer"
STORES = [
    pytest.param("local", id="local-disk"),
    pytest.param("strict", id="s3-strict", marks=pytest.mark.s3),
    pytest.param("lax", id="s3-lax", marks=pytest.mark.s3),
    pytest.param("fake", id="fake"),
]


@pytest.fixture(scope="session")
def strict_s3() -> Iterator[PrivateS3]:
    with PrivateS3.strict() as server:
        yield server


@pytest.fixture(scope="session")
def lax_s3() -> Iterator[PrivateS3]:
    with PrivateS3.lax() as server:
        yield server


def s3_store(
    address: S3Address, public_endpoint: str = "", encryption: str = "", origin: str = ""
) -> S3ObjectStore:
    return S3ObjectStore(
        encryption=encryption,
        origin=origin,
        bucket=address.bucket,
        endpoint=address.endpoint,
        public_endpoint=public_endpoint,
        region=address.region,
        access_key=address.access_key,
        secret_key=address.secret_key,
    )


@pytest.fixture(params=STORES)
def kind(request: pytest.FixtureRequest) -> str:
    """Which store a test runs on: local, strict, lax or fake."""
    name: str = request.param
    return name


@pytest.fixture
def store(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    if kind == "local":
        with override_settings(BLOCKS_DIR=tmp_path / "blocks", SECRET_KEY=SECRET):
            yield LocalObjectStore(tmp_path / "blocks", secret_key=SECRET)
    elif kind == "fake":
        yield FakeObjectStore()
    else:
        server: PrivateS3 = request.getfixturevalue(f"{kind}_s3")
        yield s3_store(server.new_bucket())


@pytest.fixture
def door(store: ObjectStore) -> Door:
    """Where a device carries out the requests that this store signs."""
    return FakeDoor(store) if isinstance(store, FakeObjectStore) else Door()
