"""The one-time link that makes the first administrator."""

import pytest

from drive_project import setup_code
from files.models import User
from tests.people import PASSWORD

FORM = {"email": "Root@example.com", "password": PASSWORD, "repeat": PASSWORD}


@pytest.fixture
def link(db, tmp_path, settings):
    settings.DATA_DIR = tmp_path
    return f"/setup/{setup_code.issue()}"


def test_the_link_makes_the_first_administrator_and_signs_them_in(client, link):
    assert client.get(link).status_code == 200

    answer = client.post(link, FORM)

    assert answer["Location"] == "/"
    user = User.objects.get()
    assert (user.email, user.is_staff) == ("root@example.com", True)
    assert client.get("/").status_code == 200
    assert client.get("/dashboard/").status_code == 200


def test_the_link_closes_with_the_first_administrator(client, link):
    client.post(link, FORM)
    client.logout()

    page = client.get(link)
    again = client.post(link, {**FORM, "email": "second@example.com"})

    assert page.status_code == again.status_code == 404
    assert b"closed" in page.content
    assert User.objects.count() == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"password": "short", "repeat": "short"}, "too short"),
        ({"password": "12345678901", "repeat": "12345678901"}, "entirely numeric"),
        ({"repeat": "something else"}, "differ"),
        ({"email": "no address"}, "valid email"),
        ({"email": ""}, "required"),
    ],
)
def test_what_is_refused_is_said_in_its_place_and_the_link_stays(client, link, change, said):
    answer = client.post(link, {**FORM, **change})

    assert answer.status_code == 200
    assert said in answer.content.decode()
    assert not User.objects.exists()
    assert client.post(link, FORM).status_code == 302


@pytest.mark.parametrize("code", ["x", "..", "A" * 32])
def test_a_made_up_code_opens_nothing(client, link, code):
    assert client.get(f"/setup/{code}").status_code == 404
    assert client.post(f"/setup/{code}", FORM).status_code == 404
    assert not User.objects.exists()
