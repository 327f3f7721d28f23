"""What monitors and scripts ask without signing in."""

import threading
import time

import pytest
from django.core.cache import cache
from django.db import connections

from drive_project import __version__, health
from drive_project.health import DatabaseCheck, Readiness, Unready


def test_alive(client):
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert "no-store" in answer["cache-control"]
    assert client.post("/healthz").status_code == 405


def test_version(client):
    assert client.get("/api/version").json() == {"version": __version__, "api": "v1"}


def test_the_schema_needs_no_sign_in_and_comes_as_json(client):
    answer = client.get("/api/schema/", {"format": "json"})
    assert answer.status_code == 200
    document = answer.json()
    assert document["openapi"].startswith("3.")
    assert "/api/v1/files/upload/init" in document["paths"]


def test_the_page_of_the_api_loads_nothing_from_elsewhere(client):
    page = client.get("/api/docs/")
    assert page.status_code == 200
    text = page.content.decode()
    assert "https://" not in text
    assert "http://" not in text
    # The policy allows no script in the page itself.
    assert "<script>" not in text


@pytest.mark.django_db(transaction=True)
def test_not_ready_while_no_worker_lives(client):
    answer = client.get("/readyz")
    assert answer.status_code == 503
    body = answer.json()
    assert body["status"] == "unready"
    assert not body["checks"]["worker"]["ok"]
    others = {name: check["ok"] for name, check in body["checks"].items() if name != "worker"}
    assert others == {"default": True, "blocks": True, "redis": True, "store": True}


@pytest.mark.django_db(transaction=True)
def test_ready_once_a_worker_says_that_it_lives(client):
    cache.set(health.WORKER_ALIVE_KEY, 1, timeout=30)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")


def test_redis_that_is_away_is_said(settings, tmp_path):
    settings.REDIS_URL = settings.EVENTS_REDIS_URL = f"unix://{tmp_path}/none.sock"
    with pytest.raises(Unready, match="does not answer"):
        health.check_redis()


def test_a_full_disk_is_said(monkeypatch, settings, tmp_path):
    settings.BLOCKS_DIR = tmp_path
    monkeypatch.setattr(health, "MIN_FREE_BYTES", 2**62)
    with pytest.raises(Unready, match="full"):
        health.check_store()


def test_missing_migrations_are_said(settings, tmp_path, django_db_blocker):
    with django_db_blocker.unblock():
        empty = connections.create_connection("default")
        empty.settings_dict = {
            **empty.settings_dict,
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(tmp_path / "empty.sqlite3"),
        }
        before = connections["default"]
        connections["default"] = empty
        try:
            with pytest.raises(Unready, match="migrations are missing"):
                DatabaseCheck("default")()
        finally:
            connections["default"] = before
            empty.close()


def test_a_check_that_hangs_is_cut_off_and_not_started_again(monkeypatch):
    monkeypatch.setattr(health, "CHECK_TIMEOUT_SECONDS", 0.1)
    goes_on = threading.Event()
    starts: list[float] = []

    def hang() -> str:
        starts.append(time.monotonic())
        goes_on.wait(10)
        return "at last"

    readiness = Readiness({"slow": hang, "fast": lambda: "fine"})
    for _ in range(3):
        report = readiness.report()
        assert report["slow"] == {"ok": False, "detail": "no answer within 0.1 seconds"}
        assert report["fast"] == {"ok": True, "detail": "fine"}
    assert len(starts) == 1

    goes_on.set()
    time.sleep(0.05)
    assert readiness.report()["slow"] == {"ok": True, "detail": "at last"}


def test_a_check_with_a_fault_is_logged_and_does_not_hide_the_others(caplog):
    def fault() -> str:
        raise KeyError("secret detail")

    report = Readiness({"broken": fault, "fine": lambda: "fine"}).report()
    assert report["broken"] == {"ok": False, "detail": "failed; the log says why"}
    assert report["fine"]["ok"]
    assert "secret detail" in caplog.text
