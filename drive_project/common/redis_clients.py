"""Clients of the Redis that a URL names (drive_project.common.redis_urls)."""

from collections.abc import Mapping
from typing import Any, cast

import redis
import redis.asyncio
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisClusterException, RedisError
from redis.sentinel import Sentinel, SentinelConnectionPool

from drive_project.common.redis_urls import ClusterRedis, SentinelRedis, SingleRedis, place_of

# What a client raises whose Redis does not answer.
REDIS_AWAY = (RedisError, RedisClusterException, OSError)
# A Sentinel that does not answer is passed over after this; the next one is asked.
SENTINEL_TIMEOUT_SECONDS = 1.0


# redis-py has types, but not everywhere: hence the `no-untyped-call` below.


def connect(url: str, **options: Any) -> redis.Redis:
    """A client for threads. The options are those of `redis.Redis`.

    A cluster's client has the same methods, for commands on keys of one slot.
    """
    match place_of(url):
        case SingleRedis():
            return redis.Redis.from_url(url, **options)
        case SentinelRedis() as place:
            return redis.Redis.from_pool(_sentinel_pool(place, **options))
        case ClusterRedis(hosts, credentials):
            nodes = [
                ClusterNode(host, port)  # type: ignore[no-untyped-call]
                for host, port in hosts
            ]
            options = {**options, **credentials}
            cluster = RedisCluster(startup_nodes=nodes, **options)
            return cast(redis.Redis, cluster)


def connect_async(url: str, **options: Any) -> redis.asyncio.Redis:
    """A client for an event loop; see `connect`."""
    match place_of(url):
        case SingleRedis():
            return redis.asyncio.Redis.from_url(url, **options)
        case SentinelRedis(hosts, service, db, credentials, sentinel_credentials):
            sentinel = AsyncSentinel(  # type: ignore[no-untyped-call]
                hosts, sentinel_kwargs=_asking(sentinel_credentials)
            )
            options = {**options, **credentials}
            master: redis.asyncio.Redis = sentinel.master_for(service, db=db, **options)
            return master
        case ClusterRedis(hosts, credentials):
            nodes = [AsyncClusterNode(host, port) for host, port in hosts]
            options = {**options, **credentials}
            cluster = AsyncRedisCluster(startup_nodes=nodes, **options)
            return cast(redis.asyncio.Redis, cluster)


class CachePool:
    """What Django's cache takes for a class of connection pools: any URL of ours will do."""

    @staticmethod
    def from_url(url: str, **options: Any) -> redis.ConnectionPool:
        """Raises ValueError for a cluster."""
        match place_of(url):
            case SingleRedis():
                return redis.ConnectionPool.from_url(url, **options)
            case SentinelRedis() as place:
                return _sentinel_pool(place, **options)
            case ClusterRedis():
                raise ValueError("a cluster cannot carry the cache")


def _sentinel_pool(place: SentinelRedis, **options: Any) -> SentinelConnectionPool:
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        list(place.hosts), sentinel_kwargs=_asking(place.sentinel_credentials)
    )
    return SentinelConnectionPool(  # type: ignore[no-untyped-call]
        place.service, sentinel, db=place.db, **options, **place.credentials
    )


def _asking(credentials: Mapping[str, str]) -> dict[str, Any]:
    return {
        **credentials,
        "socket_timeout": SENTINEL_TIMEOUT_SECONDS,
        "socket_connect_timeout": SENTINEL_TIMEOUT_SECONDS,
    }
