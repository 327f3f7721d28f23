"""The client and this machine: doctor, service, completion."""

import ipaddress
import json
import os
import shutil
import sqlite3
import ssl
import subprocess
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from sync_client import doctor
from sync_client.api import HttpApi
from sync_client.config import Store
from sync_client.doctor import Level
from sync_client.errors import NotDrive, Unreachable
from sync_client.service import unit_text


@pytest.fixture
def folder(inside, tmp_path):
    assert inside("link", "Drive").returncode == 0
    return tmp_path / "Drive"


def findings(inside):
    done = inside("doctor", "--json")
    found = json.loads(done.stdout)["findings"]
    for each in found:
        assert each.keys() == {"check", "level", "message", "remedy"}
        assert each["level"] == "ok" or each["remedy"]
    assert done.returncode == (0 if all(each["level"] == "ok" for each in found) else 6)
    return {each["check"]: each for each in found}


def point_to(url, tmp_path):
    path = tmp_path / "settings" / "config.json"
    document = json.loads(path.read_text())
    document["login"]["server_url"] = url
    path.write_text(json.dumps(document))


@contextmanager
def answering(status, content_type, *, certificate=None, **headers):
    """A server of ours that answers every request the same; certificate: a file, for TLS."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response_only(status)
            self.send_header("Content-Type", content_type)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        scheme = "http" if certificate is None else "https"
        yield f"{scheme}://127.0.0.1:{server.server_port}"
        server.shutdown()


class Authority:
    """Signs certificates; `path` is its own, for those who are to trust it."""

    def __init__(self, folder):
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority")])
        self.path = folder / "authority.pem"
        own = self._certificate(self._name, self._key, days=30, is_authority=True)
        self.path.write_bytes(own.public_bytes(Encoding.PEM))

    def certificate(self, *, address="127.0.0.1", days=90, is_signed=True):
        """A file with a key and its certificate; days: for how long, negative: expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a server")])
        made = self._certificate(name, key if not is_signed else self._key, days=days, names=names,
                                 public_key=key.public_key(), is_signed=is_signed)  # fmt: skip
        path = self._folder / f"{address} {days} {is_signed}.pem"
        path.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + made.public_bytes(Encoding.PEM)
        )
        return path

    def _certificate(
        self, name, signer, *, days, names=None, public_key=None, is_authority=False, is_signed=True
    ):
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name if is_signed else name)
            .public_key(public_key or signer.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=365))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        return builder.sign(signer, SHA256())


@pytest.fixture
def authority(tmp_path, monkeypatch):
    """An authority that this system trusts."""
    made = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.path))
    return made


# Doctor


def test_a_healthy_device_needs_only_its_daemon(inside, folder):
    inside("sync", "--once")
    found = findings(inside)
    assert {check: each["level"] for check, each in found.items()} == {
        "settings": "ok", "server": "ok", "tls": "ok", "clock": "ok", "login": "ok",
        "daemon": "warning", "folder": "ok", "disk": "ok", "file-system": "ok", "record": "ok",
        "watches": "ok",
    }  # fmt: skip
    assert found["clock"]["message"] == "The clocks of server and device agree."
    assert found["daemon"]["remedy"] == "drive start"
    people = inside("doctor").stdout
    assert "warning  daemon: The sync client is not running.\n         drive start\n" in people
    assert [path.name for path in (folder / ".drive").iterdir() if "doctor" in path.name] == []


def test_what_is_wrong_is_said_with_its_remedy(inside, folder, tmp_path, monkeypatch):
    inside("sync", "--once")
    (state,) = (tmp_path / "settings" / "roots").glob("*/trees.sqlite3")
    sqlite3.connect(state).close()
    state.write_bytes(b"not a database" * 1000)
    (tmp_path / "limit").write_text("0")
    monkeypatch.setattr(doctor, "_INOTIFY", tmp_path / "limit")
    monkeypatch.setattr(doctor, "LITTLE_SPACE_BYTES", 10**30)
    point_to("http://127.0.0.1:9", tmp_path)

    found = findings(inside)

    assert found["server"]["level"] == "failure"
    assert found["record"]["level"] == found["disk"]["level"] == "warning"
    assert found["watches"]["remedy"].startswith("sudo sysctl fs.inotify.max_user_watches=")

    (folder / ".drive" / "root.json").unlink()
    found = findings(inside)
    assert found["folder"]["level"] == "failure"
    assert "drive link" in found["folder"]["remedy"]


def test_the_server_is_told_from_others_and_its_clock_is_compared(inside, tmp_path):
    with answering(200, "text/html") as url:
        point_to(url, tmp_path)
        assert findings(inside)["server"]["level"] == "failure"
    with answering(401, "application/problem+json", Date="Mon, 01 Jan 2024 00:00:00 GMT") as url:
        point_to(url, tmp_path)
        found = findings(inside)
        assert found["login"]["level"] == found["clock"]["level"] == "failure"
        assert "ahead of" in found["clock"]["message"]
        assert "drive login" in found["login"]["remedy"]


@pytest.mark.parametrize(
    ("made", "level", "message", "remedy"),
    [
        ({}, "ok", "trusted, for 89 more days", None),
        ({"days": 5}, "warning", "ends in 4 days", "Renew it"),
        ({"days": -1}, "failure", "has expired", "Renew it"),
        ({"address": "127.0.0.2"}, "failure", "is for another name", "drive login"),
        ({"is_signed": False}, "failure", "not one that this system trusts", "authority"),
    ],
    ids=["good", "ending", "expired", "wrong name", "self-signed"],
)
def test_a_certificate_is_judged_as_every_connection_of_the_client_does(
    inside, tmp_path, authority, made, level, message, remedy
):
    file = authority.certificate(**made)
    with answering(401, "application/problem+json", certificate=file) as url:
        point_to(url, tmp_path)
        found = findings(inside)["tls"]
        api = HttpApi(url, "token", sleep=lambda seconds: None)
        with pytest.raises(Unreachable if level == "failure" else NotDrive):
            api.request("GET", "account")
        api.close()

    assert found["level"] == level
    assert message in found["message"]
    assert found["remedy"] is None if remedy is None else remedy in found["remedy"]


def test_a_unit_is_one_that_systemd_understands(tmp_path, monkeypatch):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze on this machine")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    unit = tmp_path / "drive.service"

    def verified(text):
        unit.write_text(text)
        done = subprocess.run(
            [analyze, "--user", "verify", str(unit)], capture_output=True, text=True, check=False
        )
        # What it says of other units of the machine is none of ours.
        return [line for line in done.stderr.splitlines() if "drive.service" in line]

    text = unit_text(Store(tmp_path / 'odd "folder" 100%'))
    assert verified(text) == []
    assert verified(text.replace("RestartSec=10", "RestartSec=soon"))


def test_what_a_file_system_lacks_is_named(tmp_path, monkeypatch):
    def unsupported(*_, **__):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr("sync_client.linux.renameat2", unsupported)
    (tmp_path / ".drive").mkdir()
    found = list(doctor._file_system(tmp_path, "here"))
    assert [each.level for each in found] == [Level.WARNING, Level.WARNING]
    assert "change places" in found[0].message


def test_without_a_login_the_doctor_says_so(drive):
    done = drive("doctor")
    assert done.returncode == 6
    assert "drive login" in done.stdout


# Service


@pytest.fixture
def systemctl(tmp_path, monkeypatch):
    """A systemctl that only writes down what it was asked."""
    programs = tmp_path / "programs"
    programs.mkdir()
    program = programs / "systemctl"
    program.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/asked"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return tmp_path / "asked"


def test_the_service_is_installed_shown_and_uninstalled(inside, folder, systemctl, tmp_path):
    assert inside("service", "status").returncode == 4

    assert inside("service", "install").returncode == 0

    (unit,) = (tmp_path / ".config" / "systemd" / "user").iterdir()
    assert unit.name.startswith("drive-")
    text = unit.read_text()
    assert f'Environment="DRIVE_CONFIG_DIR={tmp_path}/settings"' in text
    assert "-m sync_client start --foreground" in text
    assert systemctl.read_text().splitlines()[-1] == f"--user enable --now {unit.name}"
    status = json.loads(inside("service", "status", "--json").stdout)
    assert status == {
        "schema": 1, "unit": unit.name, "path": str(unit), "is_installed": True,
        "is_enabled": True, "is_active": True,
    }  # fmt: skip

    assert inside("service", "uninstall").returncode == 0
    assert not unit.exists()
    assert "Nothing to do" in inside("service", "uninstall").stdout


def test_without_systemd_the_service_says_what_else_helps(inside, folder, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    done = inside("service", "install")
    assert done.returncode == 2
    assert "no systemd" in done.stderr
    assert "drive start" in done.stderr


def test_a_unit_keeps_odd_paths_whole():
    from sync_client.service import _quoted

    assert _quoted('/home/a b/100%/"$x"\\') == '"/home/a b/100%%/\\"$$x\\"\\\\"'


# Completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_completion(inside, shell):
    done = inside("completion", shell)
    assert done.returncode == 0
    assert "_DRIVE_COMPLETE" in done.stdout
    assert inside("completion", "tcsh").returncode == 2


def test_commands_are_completed(drive):
    done = drive(_DRIVE_COMPLETE="complete_bash", COMP_WORDS="drive trash re", COMP_CWORD="2")
    assert done.stdout.split() == ["restore"]
    assert os.environ.get("_DRIVE_COMPLETE") is None
