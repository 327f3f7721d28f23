"""A dry run of the collector says what a run does, and does nothing."""

import json
import random
from dataclasses import asdict
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from blocks import gc, holds, references
from blocks.forecast import forecast
from blocks.models import Block, BlockState
from blocks.storage import LocalObjectStore, get_object_store
from drive_project.common.errors import ServiceUnavailable
from tests.blocks.devices import Device, sha256
from tests.blocks.test_rewrite import SMALL, mostly_dead, packed
from tests.blocks.worlds import faults, let_time_pass

BIG = [bytes([65 + number]) * 300_000 for number in range(3)]


def rows() -> dict[str, list[dict[str, Any]]]:
    """Everything in the block metadata."""
    from django.apps import apps

    return {
        model.__name__: sorted(model._default_manager.values(), key=repr)
        for model in apps.get_app_config("blocks").get_models()
    }


def check(store: LocalObjectStore, grace: timedelta | None) -> gc.Collected:
    """The forecast changes nothing and comes true."""
    before = rows()
    told = forecast(grace=grace)
    assert rows() == before

    done = gc.collect(store=store, grace=grace)

    assert asdict(told) == asdict(done)
    return done


@pytest.mark.parametrize("grace", [None, timedelta(), timedelta(minutes=30)], ids=str)
def test_a_forecast_comes_true(
    laptop: Device, store: LocalObjectStore, grace: timedelta | None
) -> None:
    laptop.settle(laptop.upload(BIG[:2]), is_committed=False)
    mostly_dead(laptop)
    given_up = laptop.version(BIG[2:])
    laptop.begin(given_up)
    laptop.send(given_up, BIG[2:])
    laptop.settle(given_up, is_committed=False)

    # Two blocks of the one version, seven of the pack, and the one that was never sent.
    assert check(store, grace).deleted_block_count == 10
    let_time_pass(timedelta(hours=2))
    check(store, grace)
    let_time_pass(timedelta(days=8))
    check(store, grace)
    check(store, grace)


def test_it_knows_of_a_release_that_was_interrupted(
    laptop: Device, store: LocalObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(references, "RELEASE_AT_ONCE", 0)
        gone, kept = packed(laptop, [SMALL[:4], SMALL[4:]])
        laptop.settle(gone, is_committed=False)

    done = check(store, timedelta())

    assert (done.deleted_block_count, done.rewritten_pack_count) == (4, 0)
    assert laptop.download(kept) == SMALL[4:]


def test_a_damaged_block_keeps_its_pack(laptop: Device, store: LocalObjectStore) -> None:
    mostly_dead(laptop)
    Block.objects.filter(pk=sha256(SMALL[7])).update(state=BlockState.DAMAGED)

    done = check(store, timedelta())

    assert (done.rewritten_pack_count, done.deleted_object_count) == (1, 0)


def test_random_worlds(laptop: Device, phone: Device, store: LocalObjectStore) -> None:
    rng = random.Random(11)
    kept = []
    for number in range(8):
        for device in (laptop, phone):
            parts = [
                [b"%d " % rng.randrange(30) * rng.randint(1, 3) for _ in range(2)]
                for _ in range(rng.randint(1, 3))
            ]
            pool = [list(dict.fromkeys(part)) for part in parts]
            for part in pool:
                kept.append((device, device.upload(part), part))
        gone, stays = packed(laptop, [[b"%d gone" % number * 9], [b"%d stays" % number]])
        laptop.settle(gone, is_committed=False)
        kept.append((laptop, stays, [b"%d stays" % number]))
        for _ in range(rng.randint(0, 5)):
            device, version, _ = kept.pop(rng.randrange(len(kept)))
            device.settle(version, is_committed=False)
        if rng.random() < 0.4:
            let_time_pass(timedelta(hours=rng.choice([1, 3, 30])))
        check(store, rng.choice([None, timedelta()]))
        assert faults(store) == []
    for device, version, data in kept:
        assert device.download(version) == data


def run(*arguments: str) -> str:
    output = StringIO()
    call_command("collect_garbage", *arguments, stdout=output)
    return output.getvalue()


@pytest.fixture
def configured(store: LocalObjectStore, monkeypatch: pytest.MonkeyPatch) -> LocalObjectStore:
    """The command's own store is the one of the test."""
    get_object_store.cache_clear()
    monkeypatch.setattr(
        "blocks.management.commands.collect_garbage.get_object_store", lambda: store
    )
    return store


def test_while_a_backup_is_made_it_says_so(laptop: Device, configured: LocalObjectStore) -> None:
    laptop.settle(laptop.upload(BIG), is_committed=False)
    before = list(configured.listing())

    hold = holds.begin("a test")
    try:
        assert json.loads(run("--json", "--grace", "0")) == {
            "dry_run": False,
            "held": True,
            "deleted_block_count": 0,
            "rewritten_pack_count": 0,
            "condemned_object_count": 0,
            "deleted_object_count": 0,
            "freed_bytes": 0,
        }
        assert "A backup is being made" in run("--dry-run")
    finally:
        holds.end(hold)

    assert list(configured.listing()) == before
    assert json.loads(run("--dry-run", "--json", "--grace", "0"))["freed_bytes"] == 900_000
    assert json.loads(run("--json", "--grace", "0"))["freed_bytes"] == 900_000
    assert list(configured.listing()) == []


def test_a_store_that_does_not_answer_is_one_line_and_status_2(
    laptop: Device, configured: LocalObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop.settle(laptop.upload(BIG), is_committed=False)

    def fail(locations: list[str]) -> None:
        raise ServiceUnavailable("The object store does not answer.")

    monkeypatch.setattr(configured, "delete_all", fail)
    with pytest.raises(CommandError, match="does not answer") as raised:
        run("--grace", "0")

    assert raised.value.returncode == 2
    assert faults(configured) == []
