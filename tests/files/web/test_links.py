"""The public pages behind a link: what a visitor gets, and what no visitor ever gets."""

from datetime import timedelta

import pytest
from django.utils import timezone

from files import queries
from files.models import File, Folder, ShareLink
from files.services import links
from files.services.deletions import delete_file, delete_folder
from files.services.folders import create_folder
from tests.files.uploading import Uploader


def new_folder(device, name, parent=None):
    parent = parent or queries.own_root(device.user)
    return create_folder(device=device, parent_folder_id=parent.pk, name=name).folder


def put(device, name, data, parent=None):
    parent = parent or queries.own_root(device.user)
    made = Uploader(device).put(data, name=name, parent_folder_id=str(parent.pk))
    return File.objects.get(pk=made["file_id"])


def text_of(answer):
    return b"".join(answer.streaming_content)


@pytest.fixture
def shared(alice, laptop):
    """A folder with a file and a folder in it, its link, and a file beside it."""
    folder = new_folder(laptop, "Designs")
    inner = new_folder(laptop, "Drafts", folder)
    file = put(laptop, "logo.txt", b"a logo", folder)
    deep = put(laptop, "draft.txt", b"a draft", inner)
    secret = put(laptop, "secret.txt", b"not for you")
    link = links.create_link(user=alice, folder_id=folder.pk)
    return {
        "folder": folder,
        "inner": inner,
        "file": file,
        "deep": deep,
        "secret": secret,
        "link": link,
        "path": links.path_of(link.pk),
    }


def test_a_visitor_downloads_a_shared_file_without_an_account(client, alice, laptop):
    file = put(laptop, "report.txt", b"the report")
    path = links.path_of(links.create_link(user=alice, file_id=file.pk).pk)

    page = client.get(path)
    content = client.get(f"{path}/files/{file.pk}")

    assert page.status_code == 200
    assert "report.txt" in page.content.decode()
    assert f'href="{path}/files/{file.pk}"' in page.content.decode()
    assert text_of(content) == b"the report"
    assert content["Content-Disposition"].startswith("attachment")
    assert ShareLink.objects.get().download_count == 1


def test_a_visitor_walks_through_a_shared_folder(client, shared):
    top = client.get(shared["path"]).content.decode()
    inner = client.get(f"{shared['path']}/folders/{shared['inner'].pk}").content.decode()
    deep = client.get(f"{shared['path']}/files/{shared['deep'].pk}")

    assert "logo.txt" in top
    assert "Drafts" in top
    assert "draft.txt" in inner
    assert "Designs" in inner
    assert text_of(deep) == b"a draft"


def test_the_page_is_for_people_alone_and_names_no_product(client, shared):
    answer = client.get(shared["path"])

    assert "noindex" in answer["X-Robots-Tag"]
    assert answer["Referrer-Policy"] == "no-referrer"
    assert "no-store" in answer["Cache-Control"]
    assert b"<script" not in answer.content
    assert b"Drive" not in answer.content
    # What lies above the shared folder, and who shares it, is nobody's business.
    assert b"alice" not in answer.content
    assert b"My files" not in answer.content


def test_a_link_opens_what_it_was_made_for_and_nothing_beside_it(client, shared, alice):
    root = queries.own_root(alice)

    beside = client.get(f"{shared['path']}/files/{shared['secret'].pk}")
    above = client.get(f"{shared['path']}/folders/{root.pk}")

    assert beside.status_code == above.status_code == 404
    assert b"not for you" not in beside.content


def test_a_link_to_a_file_opens_no_sibling(client, alice, laptop):
    file = put(laptop, "one.txt", b"one")
    other = put(laptop, "other.txt", b"other")
    path = links.path_of(links.create_link(user=alice, file_id=file.pk).pk)

    assert client.get(f"{path}/files/{other.pk}").status_code == 404
    assert client.get(f"{path}/folders/{file.parent_folder_id}").status_code == 404


def closed_by_revoking(shared, alice, laptop):
    links.revoke_link(user=alice, link_id=shared["link"].pk)


def closed_by_time(shared, alice, laptop):
    past = timezone.now() - timedelta(seconds=1)
    ShareLink.objects.filter(pk=shared["link"].pk).update(expires_at=past)


def closed_by_deleting(shared, alice, laptop):
    folder = Folder.objects.get(pk=shared["folder"].pk)
    delete_folder(device=laptop, folder_id=folder.pk, rev=folder.rev)


def closed_by_switching_off(shared, alice, laptop):
    alice.is_active = False
    alice.save()


@pytest.mark.parametrize(
    "close",
    [closed_by_revoking, closed_by_time, closed_by_deleting, closed_by_switching_off],
)
def test_a_closed_link_closes_page_list_and_content_alike(client, shared, alice, laptop, close):
    paths = [
        shared["path"],
        f"{shared['path']}/folders/{shared['inner'].pk}",
        f"{shared['path']}/files/{shared['file'].pk}",
    ]
    assert [client.get(path).status_code for path in paths] == [200, 200, 200]

    close(shared, alice, laptop)

    for path in paths:
        answer = client.get(path)
        assert answer.status_code == 404
        assert b"does not lead anywhere" in answer.content
        assert b"Designs" not in answer.content


def test_what_is_deleted_within_a_shared_folder_is_gone_for_visitors(client, shared, laptop):
    file = File.objects.get(pk=shared["file"].pk)
    delete_file(device=laptop, file_id=file.pk, rev=file.rev)

    assert b"logo.txt" not in client.get(shared["path"]).content
    assert client.get(f"{shared['path']}/files/{file.pk}").status_code == 404


@pytest.mark.parametrize("token", ["x", "A" * 43, "%00", "..", "a" * 5000])
def test_a_made_up_link_is_not_there(client, db, token):
    assert client.get(f"/s/{token}").status_code == 404


def test_a_page_of_a_made_up_place_is_refused_like_a_link_that_is_gone(client, shared):
    assert client.get(f"{shared['path']}?cursor=nonsense").status_code == 404


def test_a_visitor_resumes_a_download(client, alice, laptop):
    file = put(laptop, "long.txt", b"0123456789")
    path = links.path_of(links.create_link(user=alice, file_id=file.pk).pk)

    part = client.get(f"{path}/files/{file.pk}", headers={"range": "bytes=4-"})

    assert part.status_code == 206
    assert text_of(part) == b"456789"
    # The rest of a download is no second one.
    assert ShareLink.objects.get().download_count == 0
