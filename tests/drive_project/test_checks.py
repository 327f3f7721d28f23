"""Settings that contradict each other are refused; those that agree are not."""

import pytest

from drive_project.checks import check_settings, is_loopback

EVERYWHERE = "0.0.0.0"  # noqa: S104 - compared, not bound
S3 = {
    "S3_BUCKET": "blocks",
    "S3_ENDPOINT": "https://s3.example.com",
    "S3_ACCESS_KEY_ID": "id",
    "S3_SECRET_ACCESS_KEY": "secret",
}


def refusals(settings, **changed: object) -> list[str]:
    for name, value in changed.items():
        setattr(settings, name, value)
    return [str(message.id) for message in check_settings(None)]


def test_the_default_is_fine(settings):
    assert refusals(settings) == []


@pytest.mark.parametrize(
    "changed",
    [
        S3,
        {"PUBLIC_URL": "https://drive.example.com"},
        {"PUBLIC_URL": "http://drive.lan:8000"},
        {"DEBUG": True, "BIND_HOST": "localhost"},
        {"DEBUG": True, "BIND_HOST": "::1"},
        {"BIND_HOST": EVERYWHERE},
        {"BLOCK_SERVICE_ADDRESS": "blocks.lan:50051"},
        {"BLOCK_SERVICE_ADDRESS": "unix:/run/drive/blocks.sock"},
        {"BLOCK_SERVICE_BIND": "unix:/run/drive/blocks.sock"},
        {"BLOCK_SERVICE_BIND": "[::1]:50051"},
        {"BLOCK_SERVICE_BIND": f"{EVERYWHERE}:50051", "BLOCK_SERVICE_TOKEN": "x" * 32},
        # The process that signs in people needs to name the store in its pages, no more.
        {
            "BLOCK_SERVICE_ADDRESS": "blocks.lan:50051",
            "S3_PUBLIC_ENDPOINT": "https://s3.example.com",
        },
    ],
)
def test_what_agrees_is_fine(settings, changed):
    assert refusals(settings, **changed) == []


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        ({"DEBUG": True, "BIND_HOST": EVERYWHERE}, "drive.E001"),
        ({"DEBUG": True, "BIND_HOST": "drive.lan"}, "drive.E001"),
        ({"SECRET_KEY": "x" * 49}, "drive.E002"),
        ({"PUBLIC_URL": "drive.example.com"}, "drive.E003"),
        ({"PUBLIC_URL": "https://example.com/drive"}, "drive.E003"),
        ({"PUBLIC_URL": "ftp://example.com"}, "drive.E003"),
        ({**S3, "S3_SECRET_ACCESS_KEY": ""}, "drive.E004"),
        ({**S3, "S3_BUCKET": ""}, "drive.E005"),
        ({**S3, "S3_SERVER_SIDE_ENCRYPTION": "yes"}, "drive.E011"),
        ({"BLOCK_SERVICE_ADDRESS": "localhost"}, "drive.E006"),
        ({"BLOCK_SERVICE_ADDRESS": "::1:50051"}, "drive.E006"),
        ({"BLOCK_SERVICE_ADDRESS": "unix:"}, "drive.E006"),
        ({"BLOCK_SERVICE_BIND": "localhost:http"}, "drive.E006"),
        ({"BLOCK_SERVICE_BIND": f"{EVERYWHERE}:50051"}, "drive.E008"),
        ({"BLOCK_SERVICE_BIND": "blocks.lan:50051"}, "drive.E008"),
        ({"BLOCK_SERVICE_TOKEN": "x" * 31}, "drive.E009"),
        ({"BLOCK_SERVICE_TOKEN": "ä" * 32}, "drive.E009"),
        ({"BLOCK_SERVICE_TLS_CERT": __file__}, "drive.E010"),
        ({"BLOCK_SERVICE_TLS_CA": "/nowhere/ca.pem"}, "drive.E010"),
        ({"BLOCK_SERVICE_TLS_CA": __file__}, "drive.E010"),
        ({"BLOCK_SERVICE_TLS_CERT": __file__, "BLOCK_SERVICE_TLS_KEY": __file__}, "drive.E010"),
        ({"S3_PUBLIC_ENDPOINT": "https://s3.example.com"}, "drive.E005"),
    ],
)
def test_what_contradicts_is_refused(settings, changed, refusal):
    assert refusals(settings, **changed) == [refusal]


def test_one_database_for_both_is_refused(settings, monkeypatch):
    monkeypatch.setitem(settings.DATABASES, "blocks", settings.DATABASES["default"])
    assert refusals(settings) == ["drive.E007"]


def test_every_refusal_has_a_remedy(settings):
    for name, value in {"DEBUG": True, "BIND_HOST": EVERYWHERE, "SECRET_KEY": "x"}.items():
        setattr(settings, name, value)
    messages = check_settings(None)
    assert messages
    assert all(message.hint for message in messages)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), (EVERYWHERE, False), ("::", False)],
)
def test_loopback(host, expected):
    assert is_loopback(host) is expected
