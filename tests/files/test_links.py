"""Links by which anybody may download."""

from datetime import timedelta

import pytest
from django.utils import timezone

from drive_project.common.errors import NotFound
from files.models import Membership, ShareLink
from files.services import links
from tests.files.answers import names, problem
from tests.files.trees import put_file

pytestmark = pytest.mark.django_db


@pytest.fixture
def report(laptop, root):
    return put_file(laptop, root["folder_id"], "report.txt")


@pytest.fixture
def token(api, laptop):
    """token(file_id=…) -> what stands in the URL of a new link."""

    def token(**body):
        answer = api(laptop).post("/links", body)
        assert answer.status_code == 201, answer.content
        url = answer.json()["url"]
        assert url.startswith("http://testserver/s/")
        return url.rpartition("/")[2]

    return token


def test_a_link_opens_its_file(api, laptop, report, token):
    secret = token(file_id=report.pk)
    opened = links.open_linked_file(secret)

    assert opened.file == report
    links.count_download(opened.link)
    (listed,) = api(laptop).get("/links").json()["items"]
    assert (listed["name"], listed["download_count"]) == ("report.txt", 1)
    assert "url" not in listed
    assert secret not in str(list(ShareLink.objects.values()))


def test_a_linked_folder_opens_what_lies_below_it_and_no_more(
    api, laptop, root, make, report, token
):
    outer = make(root, "outer")
    inner = make(outer, "inner")
    beside = make(root, "beside")
    file = put_file(laptop, inner["folder_id"], "a")
    secret = token(folder_id=outer["folder_id"])

    assert str(links.open_linked_folder(secret).folder.pk) == outer["folder_id"]
    opened = links.open_linked_folder(secret, inner["folder_id"])
    assert opened.folder.name == "inner"
    assert links.open_linked_file(secret, file.pk).file == file
    for folder_id in (root["folder_id"], beside["folder_id"]):
        with pytest.raises(NotFound):
            links.open_linked_folder(secret, folder_id)
    for file_id in (report.pk, None):
        with pytest.raises(NotFound):
            links.open_linked_file(secret, file_id)
    # What leaves the folder leaves the link.
    api(laptop).patch(
        f"/files/{file.pk}", {"parent_folder_id": root["folder_id"]}, if_match=file.rev
    )
    with pytest.raises(NotFound):
        links.open_linked_file(secret, file.pk)


def test_a_link_to_a_file_opens_no_other(laptop, root, report, token):
    secret = token(file_id=report.pk)
    other = put_file(laptop, root["folder_id"], "other")

    assert links.open_linked_file(secret, report.pk).file == report
    with pytest.raises(NotFound):
        links.open_linked_file(secret, other.pk)
    with pytest.raises(NotFound):
        links.open_linked_folder(secret)


@pytest.mark.parametrize(
    "end", ["revoked", "expired", "trashed", "folder trashed", "switched off", "no member"]
)
def test_a_link_ends(api, alice, laptop, root, make, token, end):
    folder = make(root, "folder")
    report = put_file(laptop, folder["folder_id"], "report")
    secret = token(file_id=report.pk, expires_at=(timezone.now() + timedelta(days=1)).isoformat())
    link = links.open_link(secret)
    match end:
        case "revoked":
            assert api(laptop).delete(f"/links/{link.pk}").status_code == 204
            assert names(api(laptop).get("/links")) == []
        case "expired":
            ShareLink.objects.update(expires_at=timezone.now())
            assert names(api(laptop).get("/links")) == []
        case "trashed":
            api(laptop).delete(f"/files/{report.pk}", if_match=report.rev)
        case "folder trashed":
            api(laptop).delete(f"/folders/{folder['folder_id']}", if_match=folder["rev"])
        case "switched off":
            alice.is_active = False
            alice.save()
        case "no member":
            Membership.objects.filter(user=alice).delete()

    with pytest.raises(NotFound):
        links.open_link(secret)


def test_a_restored_item_opens_again(api, laptop, report, token):
    secret = token(file_id=report.pk)
    api(laptop).delete(f"/files/{report.pk}", if_match=report.rev)
    api(laptop).post(f"/trash/{report.pk}/restore", {})

    assert links.open_link(secret).file == report


def test_a_guessed_token_opens_nothing(report, token):
    secret = token(file_id=report.pk)

    for guess in ("", "x", secret[:-1], secret.upper(), "ä"):
        with pytest.raises(NotFound):
            links.open_link(guess)


def test_a_repeated_request_shows_the_same_url(api, laptop, report):
    body = {"file_id": report.pk, "op_id": "k"}
    first, second = (api(laptop).post("/links", body) for _ in range(2))

    assert first.status_code == second.status_code == 201
    assert first.json() == second.json()
    assert ShareLink.objects.count() == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"file_id": "both", "folder_id": "both"},
        {"file_id": "report", "expires_at": "2001-01-01T00:00:00Z"},
        {"file_id": "report", "expires_at": "tomorrow"},
        {"file_id": "report", "expire_at": "2101-01-01T00:00:00Z"},
    ],
)
def test_a_link_has_one_target_and_a_future(api, laptop, root, report, body):
    known = {"report": str(report.pk), "both": root["folder_id"]}
    body = {key: known.get(value, value) for key, value in body.items()}

    problem(api(laptop).post("/links", body), 400, "invalid-request")
    assert not ShareLink.objects.exists()


def test_a_stranger_makes_and_ends_no_link(api, laptop, stranger, root, report, token):
    token(file_id=report.pk)
    link = ShareLink.objects.get()

    problem(api(stranger).post("/links", {"file_id": report.pk}), 404, "not-found")
    problem(api(stranger).post("/links", {"folder_id": root["folder_id"]}), 404, "not-found")
    problem(api(stranger).delete(f"/links/{link.pk}"), 404, "not-found")
    assert names(api(stranger).get("/links")) == []
    assert names(api(laptop).get("/links")) == ["report.txt"]


def test_links_come_in_pages_and_only_those_that_open(api, laptop, report, token):
    made = [token(file_id=report.pk) for _ in range(5)]
    newest_first = [item["link_id"] for item in api(laptop).get("/links").json()["items"]]
    api(laptop).delete(f"/links/{newest_first[3]}")
    seen, cursor = [], None
    while cursor is not None or not seen:
        page = api(laptop).get("/links", limit=2, cursor=cursor).json()
        seen += [item["link_id"] for item in page["items"]]
        cursor = page["next_cursor"]

    assert len(set(made)) == len(newest_first) == 5
    assert seen == newest_first[:3] + newest_first[4:]
