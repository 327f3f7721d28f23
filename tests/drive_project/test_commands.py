"""The commands of `manage.py` that belong to no single app."""

import uuid
from collections.abc import Callable
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from drive_project import setup_code
from files.models import Folder, User
from tests.services.drive import PASSWORD, RunningDrive


@pytest.fixture
def instance(tmp_path: Path) -> RunningDrive:
    """An instance that has never been started."""
    return RunningDrive(tmp_path / "data")


def create(instance: RunningDrive, *arguments: str, password: str = PASSWORD + "\n"):
    return instance.manage("create_user", *arguments, "--password-stdin", stdin=password)


def test_create_user_works_before_the_first_start_and_prints_id_and_address(instance):
    done = create(instance, "Alice@Example.com", "--quota", "1000000")

    assert done.returncode == 0
    assert done.stderr == ""
    user_id, email = done.stdout.split()
    assert uuid.UUID(user_id)
    assert email == "alice@example.com"


def test_create_user_refuses_in_one_line_what_it_cannot_do(instance):
    assert create(instance, "alice@example.com").returncode == 0

    again = create(instance, "ALICE@example.com")

    assert again.returncode == 1
    assert again.stdout == ""
    [line] = again.stderr.splitlines()
    assert "alice@example.com has an account already" in line


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Give the command a standard input of its own."""

    def give(text: str) -> None:
        monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(text.encode())))

    return give


@pytest.mark.parametrize(
    ("arguments", "password", "reason"),
    [
        (["bob@example.com"], "short", "too short"),
        (["bob@example.com"], "", "too short"),
        (["bob@example.com"], "password1234", "too common"),
        (["bob"], PASSWORD, "is no e-mail address"),
        (["bob@example.com", "--quota=0"], PASSWORD, "no number of bytes"),
        (["bob@example.com", "--quota=-5"], PASSWORD, "no number of bytes"),
        (["bob@example.com", "--quota=1.5"], PASSWORD, "no number of bytes"),
    ],
)
def test_create_user_says_why_not_and_makes_nobody(db, type_in, arguments, password, reason):
    type_in(password)
    with pytest.raises(CommandError, match=reason) as refusal:
        call_command("create_user", *arguments, "--password-stdin")
    assert "\n" not in str(refusal.value)
    assert not User.objects.exists()


def test_create_user_without_a_terminal_needs_to_be_told_where_the_password_is(db, type_in):
    type_in(PASSWORD)
    with pytest.raises(CommandError, match="--password-stdin"):
        call_command("create_user", "bob@example.com")


@pytest.mark.parametrize(
    ("sent", "password"),
    [
        ("with spaces inside  \n", "with spaces inside  "),
        ("two newlines at the end\n\n", "two newlines at the end\n"),
        ("carriage return\r\n", "carriage return"),
        ("no newline at all", "no newline at all"),
        ("Zoë und 計画\n", "Zoë und 計画"),
    ],
)
def test_create_user_strips_one_newline_and_nothing_else(db, type_in, sent, password):
    type_in(sent)
    call_command("create_user", "zoe@example.com", "--password-stdin", stdout=StringIO())

    zoe = User.objects.get(email="zoe@example.com")
    assert zoe.check_password(password)
    assert not zoe.is_staff
    assert Folder.objects.filter(namespace__owner=zoe, parent_folder=None).count() == 1


def test_an_administrator_made_by_command_closes_the_setup_link(db, type_in):
    code = setup_code.issue()
    assert setup_code.is_valid(code)

    type_in(PASSWORD)
    call_command("create_user", "a@example.com", "--password-stdin", "--admin", stdout=StringIO())

    assert User.objects.get(email="a@example.com").is_staff
    assert not setup_code.is_valid(code)
    assert not (Path(settings.DATA_DIR) / "setup-code").exists()


def test_the_page_of_settings_is_up_to_date():
    call_command("settings_docs", "--check")


def test_the_page_of_settings_is_noticed_when_it_is_not(tmp_path, settings):
    (tmp_path / "docs").mkdir()
    settings.BASE_DIR = tmp_path
    with pytest.raises(CommandError, match="make settings-docs"):
        call_command("settings_docs", "--check")
    call_command("settings_docs")
    call_command("settings_docs", "--check")
    assert "| `DRIVE_BIND` |" in (tmp_path / "docs" / "settings.md").read_text()
