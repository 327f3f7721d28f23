"""Everything is pinned, and the pins are those of what was asked for."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.services.drive import CHECKOUT


def asked_for(file: str) -> dict[str, Requirement]:
    lines = (line.partition(" #")[0].strip() for line in (CHECKOUT / file).read_text().splitlines())
    wanted = [Requirement(line) for line in lines if line and line[0] not in "#-"]
    return {canonicalize_name(one.name): one for one in wanted}


def pinned(file: str) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)(?:\[.*\])?==(\S+)", (CHECKOUT / file).read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_what_is_asked_for_is_pinned(name):
    pins = pinned(f"{name}.txt")
    for package, wanted in asked_for(f"{name}.in").items():
        assert pins[package] in wanted.specifier, f"{package}: run make requirements"


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_every_line_is_a_pin(name):
    for line in (CHECKOUT / f"{name}.txt").read_text().splitlines():
        assert not line.strip() or line.lstrip().startswith(("#", "-c ")) or "==" in line, line


def test_tests_run_on_the_versions_that_are_served():
    server, tools = pinned("requirements.txt"), pinned("requirements-dev.txt")
    assert {name: tools[name] for name in server.keys() & tools.keys()} == {
        name: server[name] for name in server.keys() & tools.keys()
    }


def test_the_sync_client_asks_for_what_the_server_installs_for_it():
    project = tomllib.loads((CHECKOUT / "sync_client" / "pyproject.toml").read_text())["project"]
    pins = pinned("requirements.txt")
    for wanted in map(Requirement, project["dependencies"]):
        assert pins[canonicalize_name(wanted.name)] in wanted.specifier, wanted.name
