"""Folders and selections as one ZIP, as a browser gets them."""

import io
import zipfile
from uuid import uuid4

import pytest
from django.test import Client

from blocks.models import StoredObject
from blocks.storage import get_object_store
from files import queries
from files.models import File, FileVersion
from files.services import links
from files.services.deletions import delete_file
from tests.files.uploading import sha256
from tests.files.web.test_links import new_folder, put


@pytest.fixture
def tree(alice, laptop):
    """Designs with a file and two folders in it, one of them empty, and a file beside it."""
    designs = new_folder(laptop, "Designs")
    drafts = new_folder(laptop, "Drafts", designs)
    return {
        "designs": designs,
        "drafts": drafts,
        "empty": new_folder(laptop, "Empty", designs),
        "logo": put(laptop, "logo.txt", b"a logo", designs),
        "deep": put(laptop, "draft.txt", b"a draft", drafts),
        "beside": put(laptop, "beside.txt", b"beside"),
    }


def read(answer):
    assert answer.status_code == 200, answer.content
    whole = b"".join(answer.streaming_content)
    assert len(whole) == int(answer["Content-Length"])
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def ask(tab, *items):
    return tab.post("/zip", {"ids": ",".join(str(getattr(item, "pk", item)) for item in items)})


def test_a_selection_comes_whole_with_what_is_below_it(browser, alice, tree):
    answer = ask(browser(alice), tree["designs"], tree["beside"])

    assert answer["Content-Type"] == "application/zip"
    assert answer["Content-Disposition"].startswith('attachment; filename="2 items.zip"')
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert read(answer) == {
        "Designs/": b"",
        "Designs/Drafts/": b"",
        "Designs/Drafts/draft.txt": b"a draft",
        "Designs/Empty/": b"",
        "Designs/logo.txt": b"a logo",
        "beside.txt": b"beside",
    }


def test_the_whole_drive_has_no_folder_around_it(browser, alice, tree):
    answer = ask(browser(alice), queries.own_root(alice))

    assert answer["Content-Disposition"].startswith('attachment; filename="Files.zip"')
    assert set(read(answer)) >= {"Designs/", "beside.txt"}


def test_a_plain_form_sends_a_field_for_each(browser, alice, tree):
    answer = browser(alice).post("/zip", {"ids": [str(tree["logo"].pk), str(tree["deep"].pk)]})

    assert read(answer) == {"logo.txt": b"a logo", "draft.txt": b"a draft"}


def test_what_is_deleted_stays_out(browser, alice, laptop, tree):
    delete_file(device=laptop, file_id=tree["deep"].pk, rev=tree["deep"].rev)

    assert "Designs/Drafts/draft.txt" not in read(ask(browser(alice), tree["designs"]))
    assert ask(browser(alice), tree["deep"]).status_code == 404


def test_names_are_made_safe_and_told_apart(browser, alice, laptop):
    folder = new_folder(laptop, "..\\up")
    put(laptop, "a\nb.txt", b"1", folder)
    put(laptop, "a\tb.txt", b"2", folder)
    long = put(laptop, "ü" * 127, b"3", folder)

    found = read(ask(browser(alice), folder, long))

    assert set(found) == {
        ".._up/",
        ".._up/a_b.txt",
        ".._up/a_b (2).txt",
        f".._up/{'ü' * 127}",
        "ü" * 127,
    }


def test_nobody_gets_what_is_not_theirs(browser, alice, mallory, tree):
    mine = queries.own_root(mallory)
    for item in (tree["designs"], tree["logo"], uuid4()):
        assert ask(browser(mallory), item).status_code == 404
        # Nor beside something of one's own.
        assert ask(browser(mallory), mine, item).status_code == 404
    assert ask(browser(None), tree["logo"])["Location"].startswith("/accounts/login/")
    assert browser(alice).get("/zip").status_code == 405


def test_a_foreign_page_cannot_send_the_form(alice, tree):
    tab = Client(enforce_csrf_checks=True)
    tab.force_login(alice)

    assert ask(tab, tree["logo"]).status_code == 403


@pytest.mark.parametrize(
    ("ids", "reason"), [("", "Choose at least one"), ("no id", "One of the ids is none")]
)
def test_what_cannot_be_meant_is_refused_in_words(browser, alice, ids, reason):
    answer = browser(alice).post("/zip", {"ids": ids})

    assert answer.status_code == 400
    assert reason in answer.content.decode()


def test_too_many_at_once_are_refused_in_words(browser, alice, laptop, tree, settings):
    settings.ZIP_MAX_ENTRIES = 5
    assert len(read(ask(browser(alice), tree["designs"]))) == 5
    settings.ZIP_MAX_ENTRIES = 4

    for items in ([tree["designs"]], [tree["drafts"], tree["empty"], tree["logo"], tree["beside"]]):
        answer = ask(browser(alice), *items)
        assert answer.status_code == 400
        assert "more than 4 files and folders" in answer.content.decode()


def test_a_file_that_is_known_to_be_damaged_is_named_before_the_first_byte(browser, alice, tree):
    FileVersion.objects.filter(pk=tree["logo"].current_version_id).update(is_damaged=True)

    answer = ask(browser(alice), tree["designs"])

    assert answer.status_code == 503
    assert "logo.txt" in answer.content.decode()


def test_a_block_that_turns_out_to_be_lost_breaks_the_stream(browser, alice, laptop):
    folder = new_folder(laptop, "Folder")
    put(laptop, "a", b"whole", folder)
    put(laptop, "b", b"to be lost", folder)
    location = StoredObject.objects.get(blocks=sha256(b"to be lost")).pk
    get_object_store().delete(location)

    answer = ask(browser(alice), folder)
    sent = []

    with pytest.raises(Exception, match="cannot be read now"):
        sent.extend(answer.streaming_content)
    assert len(b"".join(sent)) < int(answer["Content-Length"])
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(b"".join(sent)))


def test_the_questions_to_the_database_do_not_grow_with_the_items(
    browser, alice, laptop, tree, django_assert_max_num_queries
):
    tab = browser(alice)
    ask(tab, tree["designs"])
    for number in range(10):
        put(laptop, f"more {number}", b"", tree["drafts"])

    with django_assert_max_num_queries(12):
        answer = ask(tab, tree["designs"], tree["drafts"], tree["beside"])
    assert len(read(answer)) == 28


def test_a_visitor_takes_the_linked_folder_or_one_below_it(client, alice, tree):
    link = links.create_link(user=alice, folder_id=tree["designs"].pk)
    path = links.path_of(link.pk)
    page = client.get(path).content.decode()

    whole = client.post(f"{path}/zip")
    part = client.post(f"{path}/folders/{tree['drafts'].pk}/zip")

    assert f'action="{path}/zip"' in page
    assert "Designs/Drafts/draft.txt" in read(whole)
    assert set(read(part)) == {"Drafts/", "Drafts/draft.txt"}
    assert "noindex" in whole["X-Robots-Tag"]
    link.refresh_from_db()
    assert link.download_count == 2


def test_a_visitor_gets_nothing_else(client, alice, laptop, tree):
    other = new_folder(laptop, "Other")
    path = links.path_of(links.create_link(user=alice, folder_id=tree["drafts"].pk).pk)
    of_file = links.path_of(links.create_link(user=alice, file_id=tree["logo"].pk).pk)

    assert client.post(f"{path}/folders/{other.pk}/zip").status_code == 404
    assert client.post(f"{path}/folders/{tree['designs'].pk}/zip").status_code == 404
    assert client.post(f"{of_file}/zip").status_code == 404
    assert client.post("/s/unknown/zip").status_code == 404
    assert client.get(f"{path}/zip").status_code == 405
    assert File.objects.count() == 3
