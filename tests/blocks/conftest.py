"""Devices that send blocks by their signed URLs, over the store's real door."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import override_settings

from blocks.local import LocalBlockService
from blocks.storage import LocalObjectStore
from tests.blocks.devices import Device, Door

SECRET = "a key of the tests, as long as one has to be, or a little longer"


@pytest.fixture
def blocks_dir(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "blocks"
    with override_settings(BLOCKS_DIR=folder, SECRET_KEY=SECRET):
        yield folder


@pytest.fixture
def store(blocks_dir: Path) -> LocalObjectStore:
    return LocalObjectStore(blocks_dir, secret_key=SECRET)


@pytest.fixture
def service(store: LocalObjectStore, db: None) -> LocalBlockService:
    return LocalBlockService(store)


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture
def laptop(service: LocalBlockService, door: Door) -> Device:
    """Alice's, in her namespace."""
    return Device(service, door)


@pytest.fixture
def phone(service: LocalBlockService, door: Door, laptop: Device) -> Device:
    """Alice's too: the same namespace."""
    return Device(service, door, namespace_id=laptop.namespace_id)


@pytest.fixture
def stranger(service: LocalBlockService, door: Door) -> Device:
    """Mallory's, in a namespace of her own."""
    return Device(service, door)
