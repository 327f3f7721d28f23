"""What a Redis URL means, and what is said where it means nothing."""

import ssl

import pytest
import redis
from django.core.exceptions import ImproperlyConfigured
from kombu import Connection

from drive_project import env
from drive_project.common.redis_urls import (
    ClusterRedis,
    SentinelRedis,
    SingleRedis,
    celery_settings,
    channel_host,
    place_of,
)

SENTINELS = "redis+sentinel://ann:s%40fe@one:1,two,[::1]:3/drive/2?sentinel_password=other"


@pytest.mark.parametrize("url", ["redis://host/1", "rediss://:secret@host:1", "unix:///run/redis"])
def test_one_server_is_named_as_every_client_names_it(url):
    assert place_of(url) == SingleRedis(url)
    assert channel_host(url) == {"address": url}


def test_sentinels():
    place = place_of(SENTINELS)

    assert place == SentinelRedis(
        hosts=(("one", 1), ("two", 26379), ("::1", 3)),
        service="drive",
        db=2,
        credentials={"username": "ann", "password": "s@fe"},
        sentinel_credentials={"password": "other"},
    )
    assert "s@fe" not in repr(place)
    assert "other" not in repr(place)


def test_celery_and_the_channel_layer_are_told_the_same():
    assert celery_settings(SENTINELS) == (
        "sentinel://ann:s%40fe@one:1/2;sentinel://ann:s%40fe@two:26379/2;"
        "sentinel://ann:s%40fe@[::1]:3/2",
        {"master_name": "drive", "sentinel_kwargs": {"password": "other"}},
    )
    assert celery_settings("redis+sentinel://one/drive") == (
        "sentinel://one:26379/0",
        {"master_name": "drive"},
    )
    assert celery_settings("unix:///run/redis?db=1") == ("redis+socket:///run/redis?db=1", {})
    assert channel_host(SENTINELS)["sentinels"] == [("one", 1), ("two", 26379), ("::1", 3)]


@pytest.mark.parametrize(
    ("url", "checks"),
    [
        ("rediss://:secret@host:1/2", True),
        ("rediss://host/0?ssl_ca_certs=/etc/ca.pem", True),
        # As somebody wishes who says so.
        ("rediss://host/0?ssl_cert_reqs=none", False),
    ],
)
def test_celery_looks_at_certificates_like_everybody_else(url, checks):
    with Connection(celery_settings(url)[0]) as broker:
        assert isinstance(broker.ssl, dict)
        expected = ssl.CERT_REQUIRED if checks else ssl.CERT_NONE
        assert broker.ssl["ssl_cert_reqs"] == expected
    with redis.Redis.from_url(url) as client:
        reqs = client.connection_pool.connection_kwargs.get("ssl_cert_reqs", "required")
        assert (reqs == "required") is checks


def test_a_cluster():
    assert place_of("redis+cluster://:secret@one,two:7000") == ClusterRedis(
        hosts=(("one", 6379), ("two", 7000)), credentials={"password": "secret"}
    )


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("localhost:6379", "scheme"),
        ("sentinel://one/drive", "scheme"),
        ("redis+sentinel://one", "SERVICE"),
        ("redis+sentinel://one/drive/first", "number of a database"),
        ("redis+sentinel://one:no/drive", "HOST:PORT"),
        ("redis+sentinel://one,,two/drive", "HOST:PORT"),
        ("redis+sentinel://one:0/drive", "HOST:PORT"),
        ("redis+sentinel://one/drive?db=1", "option"),
        ("rediss+sentinel://one/drive", "TLS to Sentinels.*WireGuard"),
        ("rediss+cluster://one", "TLS .*redis\\+cluster://"),
        ("redis+cluster://", "HOST:PORT"),
        ("redis+cluster://one/1", "no databases"),
    ],
)
def test_what_means_nothing_is_refused_with_the_reason(monkeypatch, url, reason):
    monkeypatch.setattr(env, "DECLARED", {})
    monkeypatch.setenv("SOMETHING", url)
    with pytest.raises(ImproperlyConfigured, match=f"SOMETHING is not a Redis URL.*{reason}"):
        env.redis_url("SOMETHING", meaning="", shown_default="", may_be_cluster=True)
