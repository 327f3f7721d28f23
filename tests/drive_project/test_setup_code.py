"""The link that makes the first administrator: once, for whoever can read the server's output."""

import threading
from pathlib import Path

import pytest
from django.conf import settings

from drive_project import setup_code
from files.services.accounts import create_user
from tests.people import PASSWORD


def make_administrator(name: str = "root") -> None:
    create_user(email=f"{name}@example.com", password=PASSWORD, is_staff=True)


@pytest.fixture(autouse=True)
def _closed_at_first(db: None) -> None:
    setup_code.close()


def test_no_code_is_valid_before_one_was_issued():
    assert not setup_code.is_valid("")
    assert not setup_code.is_valid("anything")


def test_only_the_newest_code_is_valid():
    first, second = setup_code.issue(), setup_code.issue()
    assert first != second
    assert not setup_code.is_valid(first)
    assert setup_code.is_valid(second)
    assert not setup_code.is_valid(second[:-1])


def test_the_code_itself_is_not_kept():
    code = setup_code.issue()
    path = Path(settings.DATA_DIR) / "setup-code"
    assert code not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_administrator_ends_it_however_they_were_made():
    code = setup_code.issue()
    make_administrator()
    assert not setup_code.is_valid(code)


def test_claiming_makes_one_administrator_and_closes():
    code = setup_code.issue()
    with setup_code.claimed(code) as is_ours:
        assert is_ours
        make_administrator()
    assert not (Path(settings.DATA_DIR) / "setup-code").exists()
    with setup_code.claimed(code) as is_ours:
        assert not is_ours


def test_a_claim_that_fails_leaves_the_link_open():
    code = setup_code.issue()

    def fail() -> None:
        with setup_code.claimed(code):
            raise RuntimeError("the password was too short")

    with pytest.raises(RuntimeError):
        fail()
    assert setup_code.is_valid(code)


@pytest.mark.django_db(transaction=True)
def test_two_who_use_it_at_once_get_one_administrator():
    code = setup_code.issue()
    outcomes: list[bool] = []
    both = threading.Barrier(2)

    def use(name: str) -> None:
        from django.db import connections

        both.wait(5)
        with setup_code.claimed(code) as is_ours:
            if is_ours:
                make_administrator(name)
            outcomes.append(is_ours)
        connections.close_all()

    threads = [threading.Thread(target=use, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(outcomes) == [False, True]
