"""The readers of the environment say what is wrong with a value, and where."""

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from drive_project import env


@pytest.fixture(autouse=True)
def _own_declarations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env, "DECLARED", {})
    monkeypatch.delenv("SOMETHING", raising=False)


def read_bind(default: str = "127.0.0.1:8000") -> tuple[str, int]:
    return env.bind("SOMETHING", meaning="", default=default)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("127.0.0.1:8000", ("127.0.0.1", 8000)),
        ("localhost:1", ("localhost", 1)),
        ("[::1]:65535", ("::1", 65535)),
        ("", ("127.0.0.1", 8000)),
        ("  ", ("127.0.0.1", 8000)),
    ],
)
def test_an_address(monkeypatch, value, expected):
    monkeypatch.setenv("SOMETHING", value)
    assert read_bind() == expected


@pytest.mark.parametrize("value", ["8000", ":8000", "host:", "host:http", "host:0", "host:65536"])
def test_no_address(monkeypatch, value):
    monkeypatch.setenv("SOMETHING", value)
    with pytest.raises(ImproperlyConfigured, match="SOMETHING is not HOST:PORT"):
        read_bind()


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1", True), ("yes", True), ("ON", True), ("0", False), ("no", False), ("", True)],
)
def test_a_yes_or_no(monkeypatch, value, expected):
    monkeypatch.setenv("SOMETHING", value)
    assert env.boolean("SOMETHING", meaning="", default=True) is expected


@pytest.mark.parametrize("value", ["maybe", "2", "ja"])
def test_neither_yes_nor_no(monkeypatch, value):
    monkeypatch.setenv("SOMETHING", value)
    with pytest.raises(ImproperlyConfigured, match="SOMETHING is not a yes or no"):
        env.boolean("SOMETHING", meaning="")


@pytest.mark.parametrize("value", ["-1", "4", "1.5", "many"])
def test_a_number_below_its_minimum_or_none_at_all(monkeypatch, value):
    monkeypatch.setenv("SOMETHING", value)
    with pytest.raises(ImproperlyConfigured, match="SOMETHING is not a whole number"):
        env.integer("SOMETHING", meaning="", default=10, minimum=5)


def test_an_optional_number(monkeypatch):
    assert env.optional_integer("SOMETHING", meaning="", shown_default="") is None
    monkeypatch.setenv("SOMETHING", "7")
    assert env.optional_integer("SOMETHING", meaning="", shown_default="") == 7
    monkeypatch.setenv("SOMETHING", "0")
    with pytest.raises(ImproperlyConfigured):
        env.optional_integer("SOMETHING", meaning="", shown_default="")


def test_a_list(monkeypatch):
    monkeypatch.setenv("SOMETHING", " one, two ,,three ")
    assert env.texts("SOMETHING", meaning="") == ("one", "two", "three")


def test_a_folder_is_absolute_and_knows_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for value, expected in [("~/x", tmp_path / "x"), ("y", tmp_path / "y"), ("/z", Path("/z"))]:
        monkeypatch.setenv("SOMETHING", value)
        assert env.folder("SOMETHING", meaning="", default=tmp_path, shown_default="") == expected


def test_what_is_read_is_declared(monkeypatch):
    env.integer("SOMETHING", meaning="How many.", default=3)
    assert env.DECLARED["SOMETHING"] == env.Declared(
        "SOMETHING", "a whole number", "3", "How many."
    )
