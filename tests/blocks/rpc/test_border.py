"""What crosses the border, and what does not: errors, secrets, load, and a broken connection."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import pytest
from django.db import OperationalError, connections, transaction
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from blocks.local import LocalBlockService
from blocks.rpc import calls, server
from blocks.rpc.calls import SERVICE
from blocks.rpc.client import RemoteBlockService
from blocks.rpc.trust import TlsFiles
from blocks.service import BlockStats, Settlement, VersionRange
from drive_project.common.errors import (
    DriveError,
    InternalError,
    InvalidRequest,
    MissingBlocks,
    NotFound,
    ServiceUnavailable,
    all_errors,
)
from drive_project.common.ids import new_id
from tests.blocks.devices import Device
from tests.blocks.rpc.served import TOKEN, remote, serving
from tests.fakes.blocks import FakeBlockService
from tests.fakes.object_store import FakeDoor
from tests.services import free_port

BLOCKS = [bytes([65 + number]) * 700_000 for number in range(8)]


class Telling(FakeBlockService):
    """Numbers are what `say` gives, or raises."""

    def __init__(self, say: Callable[[], object]) -> None:
        super().__init__()
        self.say = say
        self.asked = 0

    def stats(self) -> BlockStats:
        self.asked += 1
        self.say()
        return super().stats()


def raising(error: Exception) -> Telling:
    def say() -> None:
        raise error

    return Telling(say)


# --- Errors -----------------------------------------------------------------------------------


def test_every_error_comes_out_as_itself() -> None:
    service = raising(NotFound())
    with remote(service) as away:
        for kind in all_errors():
            sent = kind("In these words: äöü.", over_by_bytes=3, current={"rev": 7})

            def say(error: DriveError = sent) -> None:
                raise error

            service.say = say
            with pytest.raises(DriveError) as heard:
                away.stats()
            assert type(heard.value) is kind
            assert (heard.value.detail, heard.value.extra) == (sent.detail, sent.extra)


def test_a_thousand_missing_hashes_arrive() -> None:
    hashes = [f"{number:064x}" for number in range(1_000)]
    with (
        remote(raising(MissingBlocks("Many.", block_hashes=hashes))) as away,
        pytest.raises(MissingBlocks) as heard,
    ):
        away.stats()
    assert heard.value.extra == {"block_hashes": hashes}


def test_data_beyond_all_limits_is_left_out_of_the_error() -> None:
    hashes = [f"{number:064x}" for number in range(10_000)]
    with (
        remote(raising(MissingBlocks("Too many.", block_hashes=hashes))) as away,
        pytest.raises(MissingBlocks, match="Too many") as heard,
    ):
        away.stats()
    assert heard.value.extra == {}


def test_what_nobody_foresaw_is_logged_there_and_says_nothing_here(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with remote(raising(KeyError("https://s3/secret?signature"))) as away:
        with pytest.raises(InternalError) as heard:
            away.stats()
        assert heard.value.extra == {}
        assert "secret" not in f"{heard.value} {heard.value.__cause__!r} {heard.value.detail}"
    [record] = [each for each in caplog.records if each.name == "blocks.rpc.server"]
    assert record.exc_info is not None
    assert "KeyError" in (record.exc_text or "")


def test_a_database_that_fails_is_a_passing_fault() -> None:
    with (
        remote(raising(OperationalError("deadlock"))) as away,
        pytest.raises(ServiceUnavailable) as heard,
    ):
        away.stats()
    assert heard.value.extra["retry_after_seconds"] > 0


def test_an_answer_is_not_asked_for_again() -> None:
    service = raising(ServiceUnavailable("The store does not answer."))
    with remote(service) as away:
        with pytest.raises(ServiceUnavailable, match="store"):
            away.stats()
        assert service.asked == 1


def test_a_value_that_no_message_can_hold_is_an_invalid_request() -> None:
    with remote(FakeBlockService()) as away:
        for value in (2**63, -(2**63) - 1):
            with pytest.raises(InvalidRequest):
                away.get_block_download_urls(ranges=[VersionRange(new_id(), value)])


@pytest.mark.django_db(transaction=True)
def test_a_call_inside_a_transaction_is_refused() -> None:
    with remote(FakeBlockService()) as away:
        with transaction.atomic(), pytest.raises(RuntimeError, match="inside a transaction"):
            away.stats()
        away.stats()


# --- Who may ask ------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "another token, just as long as t", f"{TOKEN}x", TOKEN[:-1]])
def test_without_the_token_nothing_is_told(token: str, caplog: pytest.LogCaptureFixture) -> None:
    service = Telling(lambda: None)
    with remote(service, token=token) as stranger:
        # To a device this is a passing fault: signing in again would not mend it.
        with pytest.raises(ServiceUnavailable):
            stranger.stats()
        with pytest.raises(ServiceUnavailable):
            stranger.read_version(file_version_id=new_id(), start=0, length=1)
        with pytest.raises(ServiceUnavailable):
            stranger.check_health(timeout_seconds=5)
    assert service.asked == 0
    assert "UNAUTHENTICATED" in caplog.text
    assert TOKEN not in caplog.text


def test_health_is_told_to_probes_that_show_no_token() -> None:
    with serving(FakeBlockService()) as address, grpc.insecure_channel(address) as channel:
        asked: Any = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE.full_name):
            answer = asked.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def described(address: str) -> list[str]:
    """The services that reflection names."""
    with grpc.insecure_channel(address) as channel:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        [answer] = stub.ServerReflectionInfo(
            iter([request]), timeout=5, metadata=[("authorization", f"Bearer {TOKEN}")]
        )
        return [each.name for each in answer.list_services_response.service]


def test_reflection_is_off_until_it_is_turned_on() -> None:
    with serving(FakeBlockService()) as address, pytest.raises(grpc.RpcError) as refused:
        described(address)
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED

    with serving(FakeBlockService(), has_reflection=True) as address:
        assert SERVICE.full_name in described(address)


# --- A service that is away, slow or busy -----------------------------------------------------


def at(address: str) -> RemoteBlockService:
    return RemoteBlockService(address, token=TOKEN)


def test_a_service_that_is_away_is_a_passing_fault_and_found_again() -> None:
    address = f"127.0.0.1:{free_port()}"
    away = at(address)
    began = time.monotonic()
    with pytest.raises(ServiceUnavailable) as heard:
        away.stats()
    assert time.monotonic() - began < 10
    assert heard.value.extra["retry_after_seconds"] > 0

    with serving(FakeBlockService(), address=address):
        deadline = time.monotonic() + 10
        while True:
            try:
                away.stats()
                break
            except ServiceUnavailable:
                assert time.monotonic() < deadline
    away.close()


def test_a_restart_is_ridden_over() -> None:
    address = f"127.0.0.1:{free_port()}"
    service = FakeBlockService()
    away = at(address)
    with serving(service, address=address):
        away.stats()
    answers: list[BlockStats] = []
    asking = threading.Thread(target=lambda: answers.append(away.stats()))
    asking.start()
    time.sleep(0.5)
    with serving(service, address=address):
        asking.join(10)
    away.close()
    assert len(answers) == 1


def test_a_call_ends_at_its_deadline_and_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()
    service = Telling(lambda: goes_on.wait(10))
    monkeypatch.setattr(calls, "STATS", replace(calls.STATS, deadline=timedelta(seconds=0.3)))
    with remote(service) as away:
        began = time.monotonic()
        with pytest.raises(ServiceUnavailable):
            away.stats()
        assert time.monotonic() - began < 3
        goes_on.set()
    assert service.asked == 1


def test_every_call_has_a_deadline_and_says_why_it_may_be_repeated() -> None:
    for call in calls.CALLS:
        assert timedelta() < call.deadline <= timedelta(hours=1)
        assert call.safe_to_repeat


def test_a_service_with_too_much_to_do_says_so_at_once() -> None:
    goes_on = threading.Event()
    threads = 2
    service = Telling(lambda: goes_on.wait(20))
    with serving(service, threads=threads) as address:
        away = at(address)
        waiting = [threading.Thread(target=away.stats) for _ in range(threads * 8)]
        for each in waiting:
            each.start()
        deadline = time.monotonic() + 10
        while service.asked < threads:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.3)
        with pytest.raises(ServiceUnavailable):
            away.stats()
        goes_on.set()
        for each in waiting:
            each.join(10)
        assert service.asked == threads * 8
        away.close()


def test_what_it_is_told_to_stop_in_is_finished() -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def say() -> None:
        begun.set()
        goes_on.wait(10)

    answers: list[BlockStats] = []
    with serving(Telling(say)) as address:
        away = at(address)
        asking = threading.Thread(target=lambda: answers.append(away.stats()))
        asking.start()
        assert begun.wait(10)
        threading.Timer(0.5, goes_on.set).start()
    asking.join(10)
    away.close()
    assert len(answers) == 1


def test_health_follows_what_the_service_can_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "HEALTH_EVERY", timedelta(seconds=0.05))
    trouble: list[Exception] = [OperationalError("no such table")]

    def probe() -> None:
        if trouble:
            raise trouble[0]

    def becomes(expected: bool) -> bool:
        deadline = time.monotonic() + 5
        while away.check_health(timeout_seconds=5) is not expected:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    with caplog.at_level(logging.WARNING), serving(FakeBlockService(), probe=probe) as address:
        away = at(address)
        time.sleep(0.3)
        assert becomes(False)
        trouble.clear()
        assert becomes(True)
        trouble.append(KeyError("unforeseen"))
        assert becomes(False)
        away.close()
    said = [each for each in caplog.records if "no such table" in each.getMessage()]
    assert len(said) == 1


@pytest.mark.django_db(transaction=True)
def test_a_call_leaves_no_database_connection_behind() -> None:
    seen: list[Any] = []

    class Watched(LocalBlockService):
        def stats(self) -> BlockStats:
            stats = super().stats()
            seen.append(connections["blocks"])
            assert seen[-1].connection is not None
            return stats

    with remote(Watched()) as away:
        away.stats()
        deadline = time.monotonic() + 5
        while seen[0].connection is not None:
            assert time.monotonic() < deadline
            time.sleep(0.01)


# --- Reading ----------------------------------------------------------------------------------


@pytest.fixture
def service() -> FakeBlockService:
    return FakeBlockService()


@pytest.fixture
def version_id(service: FakeBlockService) -> UUID:
    """Of BLOCKS, committed."""
    return Device(service, FakeDoor(service.store)).upload(BLOCKS).file_version_id


def test_an_abandoned_read_frees_the_service(service: FakeBlockService, version_id: UUID) -> None:
    size = sum(map(len, BLOCKS))
    with serving(service, threads=2) as address:
        away = at(address)
        for _ in range(6):
            deadline = time.monotonic() + 10
            while True:
                try:
                    stream = away.read_version(file_version_id=version_id, start=0, length=size)
                    break
                except ServiceUnavailable:
                    # The one before is being ended.
                    assert time.monotonic() < deadline
            assert next(stream) == BLOCKS[0]
            stream.close()  # type: ignore[attr-defined]
        away.close()


def test_readers_leave_room_for_calls(service: FakeBlockService, version_id: UUID) -> None:
    size = sum(map(len, BLOCKS))
    with serving(service, threads=4) as address:
        away = at(address)
        streams = [
            away.read_version(file_version_id=version_id, start=0, length=size) for _ in range(3)
        ]
        with pytest.raises(ServiceUnavailable, match="read"):
            away.read_version(file_version_id=version_id, start=0, length=size)
        assert away.stats().block_count == len(BLOCKS)
        assert [b"".join(stream) for stream in streams] == [b"".join(BLOCKS)] * 3
        away.close()


class Breaking(FakeBlockService):
    """Its reads break off after a few pieces, as a connection does, `times` times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.reads: list[int] = []

    def read_version(self, *, file_version_id: UUID, start: int, length: int) -> Iterator[bytes]:
        pieces = super().read_version(file_version_id=file_version_id, start=start, length=length)
        self.reads.append(start)
        return self._broken(pieces)

    def _broken(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for number, piece in enumerate(pieces):
            if number == 2 and self.times:
                self.times -= 1
                raise ServiceUnavailable
            yield piece


def test_a_read_that_breaks_goes_on_where_it_was() -> None:
    service = Breaking(times=2)
    version = Device(service, FakeDoor(service.store)).upload(BLOCKS)
    size = sum(map(len, BLOCKS))
    with remote(service) as away:
        stream = away.read_version(file_version_id=version.file_version_id, start=5, length=size)
        assert b"".join(stream) == b"".join(BLOCKS)[5:]
    assert service.reads == [5, 1_400_000, 2_800_000]


def test_a_read_that_gets_nowhere_ends_with_the_error() -> None:
    service = FakeBlockService()
    version = Device(service, FakeDoor(service.store)).upload(BLOCKS)
    place = next(each for each in service.store.listing() if each.size_bytes == 700_000)
    service.store.delete(place.location)
    with remote(service) as away, pytest.raises(ServiceUnavailable):
        list(away.read_version(file_version_id=version.file_version_id, start=0, length=5_600_000))


def test_a_restart_in_the_midst_of_a_read_is_not_noticed() -> None:
    address = f"127.0.0.1:{free_port()}"
    service = FakeBlockService()
    # More than the buffers between the two hold, so that it is under way.
    blocks: Sequence[bytes] = [bytes([number]) * 4_000_000 for number in range(12)]
    version = Device(service, FakeDoor(service.store)).upload(blocks)
    away = at(address)
    first = server.BlockServer(service, probe=lambda: None, threads=2, token=TOKEN)
    first.listen(address, TlsFiles())
    first.start()
    stream = away.read_version(file_version_id=version.file_version_id, start=0, length=48_000_000)
    got = next(stream)
    first.stop(timedelta(seconds=0.1))
    with serving(service, address=address):
        got += b"".join(stream)
    away.close()
    assert got == b"".join(blocks)


def test_what_is_told_twice_is_told_once(service: FakeBlockService, version_id: UUID) -> None:
    """Each call may be repeated: a decision by far the most needs to."""
    with remote(service) as away:
        for _ in range(2):
            away.settle_versions(settlements=[Settlement(version_id, is_committed=False)])
        with pytest.raises(NotFound):
            away.get_block_download_urls(ranges=[VersionRange(version_id)])


def test_the_socket_of_a_path(tmp_path: Path) -> None:
    with serving(FakeBlockService(), address=f"unix:{tmp_path}/blocks.sock") as address:
        away = at(address)
        assert away.stats().block_count == 0
        away.close()
