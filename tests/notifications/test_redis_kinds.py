"""Redis behind Sentinels, and a Redis Cluster for the events: real ones, which fail."""

import os
import subprocess
import sys
import time
from uuid import UUID

import pytest
from celery import Celery
from django.conf import settings as django_settings
from django.core.cache import cache
from django.test import override_settings
from redis.exceptions import RedisError

from drive_project.common.redis_clients import connect
from drive_project.common.redis_urls import celery_settings
from files import events
from files.models import OutboxMessage
from tests.notifications.conftest import until
from tests.services.redis_clusters import RedisOfThree, WatchedRedis

# Redis is killed here: what takes a second on a quiet machine may take many on a busy one.
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def cluster():
    with RedisOfThree() as cluster:
        yield cluster


@pytest.fixture
def watched():
    with WatchedRedis() as watched:
        yield watched


@pytest.fixture
def fresh_clients():
    events._client.cache_clear()
    yield
    events._client.cache_clear()


def hear_seq(socket, seq):
    """Signals merge, so an earlier one may or may not come."""
    while (heard := socket.hear(within=PATIENCE_SECONDS))["type"] != "changed" or heard[
        "seq"
    ] < seq:
        pass
    assert heard["seq"] == seq


def test_events_spread_over_a_cluster_wake_devices_also_after_it_was_restarted(
    cluster, start_server, fresh_clients, settings, phone, new_folder
):
    settings.EVENTS_REDIS_URL = cluster.url
    with (
        start_server(settings.REDIS_URL, "on-cluster", events_url=cluster.url) as server,
        server.socket(phone) as socket,
    ):
        socket.hear()
        new_folder()
        hear_seq(socket, 2)
        # Nothing is left in the outbox, so it went by the cluster.
        assert not OutboxMessage.objects.exists()

        cluster.restart()
        new_folder("After")
        hear_seq(socket, 3)


def test_every_stream_has_its_place_in_the_cluster(cluster, fresh_clients, settings):
    settings.EVENTS_REDIS_URL = cluster.url
    with connect(cluster.url, decode_responses=True) as client:
        client.flushall()
        for number in range(events.SHARD_COUNT):
            events.publish_changed(UUID(int=number), 1)
        assert all(client.xlen(stream) == 1 for stream in events.STREAMS)
        owners = {client.get_node_from_key(stream).port for stream in events.STREAMS}
    assert len(owners) > 1


def test_a_cluster_for_the_broker_is_refused_at_the_start(cluster):
    for program in (["manage.py", "check"], ["-m", "drive_project.up"]):
        refused = subprocess.run(
            [sys.executable, *program],
            cwd=django_settings.BASE_DIR,
            env={**os.environ, "REDIS_URL": cluster.url},
            capture_output=True,
            text=True,
            check=False,
        )
        assert refused.returncode != 0
        assert refused.stderr.strip() == (
            "Drive cannot start: REDIS_URL is not a Redis URL: Celery's queues cannot be in a "
            "Redis Cluster. Name one server or Sentinels here, and the cluster in "
            "EVENTS_REDIS_URL, which takes the event streams."
        )


def test_signals_go_on_after_a_failover(
    watched, start_server, fresh_clients, settings, phone, new_folder
):
    settings.REDIS_URL = settings.EVENTS_REDIS_URL = watched.url
    with start_server(watched.url, "on-sentinels") as server, server.socket(phone) as socket:
        socket.hear()
        new_folder()
        hear_seq(socket, 2)
        assert not OutboxMessage.objects.exists()

        watched.fail_over()
        new_folder("After")
        hear_seq(socket, 3)
        # Renewed on the new master, sooner or later.
        until(lambda: events.online_devices([phone.pk]) == {phone.pk}, within=PATIENCE_SECONDS)


@pytest.fixture
def cache_and_broker(watched):
    """As the settings make them out of this URL."""
    with override_settings(
        CACHES={"default": {**django_settings.CACHES["default"], "LOCATION": [watched.url]}}
    ):
        broker, options = celery_settings(watched.url)
        with Celery(broker=broker) as app:
            app.conf.broker_transport_options = options
            yield cache, app


SAY_AND_HEAR = """
import asyncio, django
django.setup()
from channels.layers import get_channel_layer

async def say_and_hear():
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.send(channel, {"type": "greeting"})
    print(await layer.receive(channel))

asyncio.run(say_and_hear())
"""


def test_the_channel_layer_asks_the_sentinels(watched):
    said = subprocess.run(
        [sys.executable, "-c", SAY_AND_HEAR],
        cwd=django_settings.BASE_DIR,
        env={**os.environ, "REDIS_URL": watched.url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout.strip() == str({"type": "greeting"}), said.stderr


def test_cache_and_broker_follow_the_master(watched, cache_and_broker):
    cache, app = cache_and_broker
    for round_number in (1, 2):
        cache.set("round", round_number)
        assert cache.get("round") == round_number
        app.send_task("work", [round_number])
        with watched.client() as master:
            assert master.llen("celery") == 1
            assert list(master.scan_iter("*round"))
            master.delete("celery")
        if round_number == 1:
            watched.fail_over()
            wait_for_a_writer(cache)


def wait_for_a_writer(cache):
    """The first commands after a failover meet the connections to the dead master."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            cache.set("there", 1)
            return
        except RedisError:
            assert time.monotonic() < deadline
