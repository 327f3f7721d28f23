"""Files through the API, as far as their content plays no part."""

import pytest

from files.models import Folder
from tests.files.answers import names, problem
from tests.files.trees import begin_upload, edit_file, put_file

pytestmark = pytest.mark.django_db


@pytest.fixture
def report(laptop, root):
    return put_file(laptop, root["folder_id"], "report.txt", size_bytes=7)


def test_a_file_tells_what_it_is(api, laptop, report):
    edit_file(laptop, report, size_bytes=9)
    answer = api(laptop).get(f"/files/{report.pk}")

    file = answer.json()
    assert (file["type"], file["name"], file["size_bytes"]) == ("file", "report.txt", 9)
    assert (file["block_count"], file["version_count"]) == (1, 2)
    assert answer["ETag"] == f'"{file["rev"]}"'


def test_a_file_is_renamed_and_moved(api, laptop, root, make, report):
    folder = make(root, "papers")
    answer = api(laptop).patch(
        f"/files/{report.pk}",
        {"name": "Report.txt", "parent_folder_id": folder["folder_id"]},
        if_match=report.rev,
    )

    assert answer.json()["name"] == "Report.txt"
    assert names(api(laptop).get(f"/folders/{folder['folder_id']}/children")) == ["Report.txt"]


@pytest.mark.parametrize("moment", [-1, 0, "1700000000000000001", 2**63 - 1, -(2**63)])
def test_what_the_file_system_says_is_kept(api, laptop, report, moment):
    answer = api(laptop).patch(
        f"/files/{report.pk}",
        {"executable": True, "client_modified_ns": moment},
        if_match=report.rev,
    )

    file = answer.json()
    assert (file["executable"], file["client_modified_ns"]) == (True, int(moment))
    assert file["rev"] == report.rev + 1


@pytest.mark.parametrize(
    "field",
    [
        {"client_modified_ns": 2**63},
        {"client_modified_ns": 10**400},
        {"client_modified_ns": "soon"},
        {"executable": "perhaps"},
        {"parent_folder_id": "here"},
        {"size_bytes": 1},
        {"name": 5},
        {"name": None},
    ],
)
def test_a_field_that_makes_no_sense_is_named(api, laptop, report, field):
    answer = api(laptop).patch(f"/files/{report.pk}", field, if_match=report.rev)

    assert list(problem(answer, 400, "invalid-request")["errors"]) == list(field)
    assert api(laptop).get(f"/files/{report.pk}").json()["rev"] == report.rev


def test_a_name_that_a_folder_has_is_taken(api, laptop, root, make, report):
    folder = make(root, "papers")
    answer = api(laptop).patch(f"/files/{report.pk}", {"name": "PAPERS"}, if_match=report.rev)

    refused = problem(answer, 409, "name-taken")
    assert (refused["item_id"], refused["item_type"]) == (folder["folder_id"], "folder")


def test_a_pending_file_is_not_there(api, laptop, root):
    folder = Folder.objects.get(pk=root["folder_id"])
    version = begin_upload(laptop, folder, "soon", size_bytes=5)

    assert names(api(laptop).get("/folders/root/children")) == []
    problem(api(laptop).get(f"/files/{version.file_id}"), 404, "not-found")
    problem(api(laptop).delete(f"/files/{version.file_id}", if_match=0), 404, "not-found")


def test_a_file_does_not_move_where_nothing_lives(api, laptop, root, make, report):
    folder = make(root, "papers")
    api(laptop).delete(f"/folders/{folder['folder_id']}", if_match=folder["rev"])
    answer = api(laptop).patch(
        f"/files/{report.pk}", {"parent_folder_id": folder["folder_id"]}, if_match=report.rev
    )

    problem(answer, 404, "not-found")


def test_a_stranger_finds_no_file(api, laptop, stranger, report):
    where = f"/files/{report.pk}"

    problem(api(stranger).get(where), 404, "not-found")
    problem(api(stranger).patch(where, {"name": "x"}, if_match=report.rev), 404, "not-found")
    assert api(laptop).get(where).json()["name"] == "report.txt"
