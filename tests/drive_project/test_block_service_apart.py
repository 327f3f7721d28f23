"""The File Service in a process that has no block database and no keys of the store."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connections
from django.test import Client

from blocks.rpc.client import RemoteBlockService
from blocks.service import SignedRequest, get_block_service
from drive_project import health
from drive_project.celery import app
from drive_project.health import Readiness, Unready
from files.models import User, UserDevice
from tests.blocks.rpc.served import TOKEN, serving
from tests.fakes.blocks import FakeBlockService
from tests.fakes.object_store import FakeDoor
from tests.files.uploading import Uploader, sha256
from tests.services import free_port

# A query to the other database fails the test.
pytestmark = pytest.mark.django_db(databases=["default"])

DATA = b"the content of a file " * 40_000
BLOCK_BYTES = 300_000


@pytest.fixture(autouse=True)
def _chosen_anew(settings: Any) -> Iterator[None]:
    """Each test selects its Block Service; none is left behind."""
    settings.BLOCK_SERVICE_TOKEN = TOKEN
    get_block_service.cache_clear()
    yield
    chosen = get_block_service()
    if isinstance(chosen, RemoteBlockService):
        chosen.close()
    get_block_service.cache_clear()


@pytest.fixture
def apart(settings: Any) -> Iterator[FakeBlockService]:
    """A Block Service that runs apart, and is selected."""
    service = FakeBlockService()
    with serving(service) as address:
        settings.BLOCK_SERVICE_ADDRESS = address
        yield service


def carry_out(service: FakeBlockService, request: dict[str, Any], body: bytes | None = None) -> Any:
    signed = SignedRequest(request["method"], request["url"], request["headers"], datetime.now(UTC))
    return FakeDoor(service.store).request(signed, body)


def begin(uploader: Uploader, service: FakeBlockService) -> str:
    """An upload of DATA whose blocks have arrived; its id."""
    begun = uploader.init(DATA, block_bytes=BLOCK_BYTES, name="report.txt")
    assert begun.status_code == 201, begun.content
    upload_id: str = begun.json()["upload_id"]
    blocks = [DATA[start : start + BLOCK_BYTES] for start in range(0, len(DATA), BLOCK_BYTES)]
    by_hash = {sha256(block): block for block in blocks}
    for upload in uploader.urls(upload_id, want=list(by_hash))["uploads"]:
        assert carry_out(service, upload, by_hash[upload["block_hash"]]).status_code == 201
    return upload_id


def test_a_file_goes_up_and_comes_down(apart: FakeBlockService, laptop: UserDevice) -> None:
    uploader = Uploader(laptop)

    committed = uploader.commit(begin(uploader, apart))

    assert committed.status_code == 200, committed.content
    file_id = committed.json()["file_id"]
    blocks = uploader.api.get(f"/files/download/{file_id}").json()["blocks"]
    assert b"".join(carry_out(apart, block).content for block in blocks) == DATA
    content = uploader.api.get(f"/files/{file_id}/content")
    assert b"".join(content.streaming_content) == DATA
    with pytest.raises(AssertionError, match="blocks"):
        # What this test is about: such a query would have been noticed.
        connections["blocks"].cursor()


def test_while_the_service_is_away_the_answer_is_503_and_nothing_is_lost(
    settings: Any, laptop: UserDevice
) -> None:
    address = f"127.0.0.1:{free_port()}"
    settings.BLOCK_SERVICE_ADDRESS = address
    service = FakeBlockService()
    uploader = Uploader(laptop)
    with serving(service, address=address):
        upload_id = begin(uploader, service)

    refused = uploader.commit(upload_id)

    assert refused.status_code == 503
    assert refused["content-type"] == "application/problem+json"
    assert json.loads(refused.content)["code"] == "service-unavailable"
    assert int(refused["retry-after"]) > 0
    with serving(service, address=address):
        assert uploader.commit(upload_id).status_code == 200


def test_readiness_asks_the_service_for_its_health(apart: FakeBlockService, settings: Any) -> None:
    assert Readiness({"block-service": health.check_block_service}).report() == {
        "block-service": {"ok": True, "detail": "serving"}
    }

    get_block_service.cache_clear()
    settings.BLOCK_SERVICE_TOKEN = "another token, as long as it has to be"
    with pytest.raises(Unready, match="token"):
        health.check_block_service()

    get_block_service.cache_clear()
    settings.BLOCK_SERVICE_ADDRESS = f"127.0.0.1:{free_port()}"
    with pytest.raises(Unready, match="does not answer"):
        health.check_block_service()


def test_the_admin_hides_records_that_are_elsewhere(
    apart: FakeBlockService, client: Client, alice: User
) -> None:
    alice.is_staff = alice.is_superuser = True
    alice.save()
    client.force_login(alice)

    assert "blocks" not in client.get("/admin/").content.decode().lower()
    assert client.get("/admin/blocks/block/").status_code == 403


def test_the_dashboard_shows_the_rest_while_the_service_is_away(
    settings: Any, client: Client, alice: User
) -> None:
    settings.BLOCK_SERVICE_ADDRESS = f"127.0.0.1:{free_port()}"
    alice.is_staff = True
    alice.save()
    client.force_login(alice)

    page = client.get("/dashboard/").content.decode()

    assert page.count("the Block Service does not answer") == 2
    assert "Administrators" in page


def test_the_collectors_tasks_can_be_left_to_a_worker_that_has_the_database() -> None:
    app.loader.import_default_modules()
    routed = {name: app.amqp.router.route({}, name)["queue"].name for name in app.tasks}

    assert {routed[name] for name in routed if name.startswith("blocks.")} == {"blocks"}
    assert {routed[name] for name in routed if name.startswith("files.")} == {"celery"}
    # And a worker that is told nothing takes both.
    assert set(app.amqp.queues) == {"blocks", "celery"}
