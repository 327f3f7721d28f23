"""Files as pages show them: what a browser may see of somebody's bytes, and what never runs."""

from io import BytesIO
from uuid import uuid4

import pypdfium2
import pytest
from PIL import Image

from files.services import links
from files.services.deletions import delete_file
from tests.files.uploading import Uploader
from tests.files.web.test_links import new_folder, put

SCRIPT = b"<script>alert(1)</script>"


def picture(kind="PNG", size=(8, 6)):
    out = BytesIO()
    Image.new("RGB", size, "teal").save(out, kind)
    return out.getvalue()


def pdf(pages=2):
    document = pypdfium2.PdfDocument.new()
    for _ in range(pages):
        document.new_page(200, 300)
    out = BytesIO()
    document.save(out)
    return out.getvalue()


def page_of(tab, file, **query):
    answer = tab.get(f"/files/{file.pk}", query)
    assert answer.status_code == 200
    return answer.content.decode()


def inline(tab, file, **headers):
    return tab.get(f"/files/{file.pk}/inline", headers=headers)


def test_an_image_is_shown_as_what_it_is_and_may_run_nothing(browser, alice, laptop):
    file = put(laptop, "photo.PNG", picture())
    tab = browser(alice)

    page = page_of(tab, file)
    answer = inline(tab, file)

    assert f'<img src="/files/{file.pk}/inline" alt="photo.PNG">' in page
    assert b"".join(answer.streaming_content) == picture()
    assert answer["Content-Type"] == "image/png"
    assert answer["Content-Disposition"] == "inline"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer["Cross-Origin-Resource-Policy"] == "same-origin"


def test_a_film_is_read_in_ranges(browser, alice, laptop):
    data = b"\x00\x00\x00\x18ftypisom" + bytes(range(256)) * 8
    file = put(laptop, "film.mp4", data)
    tab = browser(alice)

    answer = inline(tab, file, range="bytes=100-199")

    assert f'<video controls preload="metadata" src="/files/{file.pk}/inline"' in page_of(tab, file)
    assert answer.status_code == 206
    assert answer["Content-Type"] == "video/mp4"
    assert answer["Content-Range"] == f"bytes 100-199/{len(data)}"
    assert b"".join(answer.streaming_content) == data[100:200]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("page.html", SCRIPT),
        ("page.png", SCRIPT),
        ("drawing.svg", b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>'),
        ("drawing.png", b'<?xml version="1.0"?><svg onload="alert(1)"/>'),
        ("song.mp3", b"<html>" + SCRIPT),
        # The bytes of an image under the name of a page.
        ("photo.html", picture()),
        ("photo.svg", picture()),
        ("photo", picture()),
        ("data.bin", b"\x00\x01\x02"),
        ("paper.pdf", pdf()),
    ],
)
def test_whatever_is_no_harmless_medium_comes_as_an_attachment_alone(
    browser, alice, laptop, name, data
):
    file = put(laptop, name, data)
    tab = browser(alice)

    assert inline(tab, file).status_code == 404
    page = page_of(tab, file)
    assert "<script>alert" not in page
    assert "<svg onload" not in page
    assert "/inline" not in page
    download = tab.get(f"/api/v1/files/{file.pk}/content")
    assert download["Content-Disposition"].startswith("attachment")
    assert download["Content-Type"] == "application/octet-stream"


def test_an_image_with_a_script_behind_it_is_an_image_and_nothing_else(browser, alice, laptop):
    answer = inline(browser(alice), put(laptop, "both.gif", b"GIF89a/*" + SCRIPT))

    assert answer["Content-Type"] == "image/gif"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer["Content-Security-Policy"]


def test_code_is_coloured_and_stays_text(browser, alice, laptop):
    page = page_of(browser(alice), put(laptop, "a.py", b"def f():\n    return '<b>'\n"))

    assert '<span class="k">def</span>' in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page


def test_of_a_long_text_the_first_part_is_shown(browser, alice, laptop):
    # A character of two bytes lies across the end of what is shown.
    file = put(laptop, "long.txt", b"x" + "ü".encode() * (150 * 1024) + b"THE END")

    page = page_of(browser(alice), file)

    assert "The first 262 KB are shown" in page
    assert "üüü" in page
    assert "THE END" not in page
    assert "\ufffd" not in page


def test_an_empty_file_says_so(browser, alice, laptop):
    assert "This file is empty." in page_of(browser(alice), put(laptop, "empty.png", b""))


def test_markdown_is_set_and_what_is_hostile_in_it_is_not(browser, alice, laptop):
    text = (
        "# Title\n\n<script>alert(1)</script> <img src=x onerror=alert(1)>\n\n"
        "[good](https://example.org) [bad](javascript:alert(1)) [own](/accounts/logout/)\n\n"
        "![pixel](https://tracker.example/x.png)\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    )
    page = page_of(browser(alice), put(laptop, "read.md", text.encode()))
    shown = page[page.index('class="prose"') :]

    assert "<h1>Title</h1>" in shown
    assert "<td>1</td>" in shown
    assert 'href="https://example.org" target="_blank" rel="noopener noreferrer nofollow"' in shown
    assert "<script" not in shown
    assert "<img" not in shown
    assert 'href="javascript' not in shown
    assert 'href="/accounts/logout/"' not in shown


def test_a_pdf_is_shown_page_by_page_as_pictures(browser, alice, laptop):
    file = put(laptop, "paper.pdf", pdf(pages=3))
    tab = browser(alice)

    first, second = page_of(tab, file), page_of(tab, file, page=2)
    answer = tab.get(f"/files/{file.pk}/pages/2.png")

    assert f'src="/files/{file.pk}/pages/1.png"' in first
    assert "Page 1 of 3" in first
    assert f'src="/files/{file.pk}/pages/2.png"' in second
    assert answer["Content-Type"] == "image/png"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert Image.open(BytesIO(answer.content)).size == (1200, 1800)
    etag = {"if-none-match": answer["ETag"]}
    assert tab.get(f"/files/{file.pk}/pages/2.png", headers=etag).status_code == 304
    assert tab.get(f"/files/{file.pk}/pages/4.png").status_code == 404
    assert tab.get(f"/files/{file.pk}/pages/0.png").status_code == 404


def test_a_broken_pdf_has_no_preview_and_a_download(browser, alice, laptop):
    page = page_of(browser(alice), put(laptop, "paper.pdf", b"%PDF-1.7\n" + b"\xff\x00" * 500))

    assert "This file cannot be shown" in page
    assert "Download" in page


def test_a_pdf_page_as_large_as_a_field_is_drawn_small(browser, alice, laptop):
    document = pypdfium2.PdfDocument.new()
    document.new_page(14_000, 14_000)
    out = BytesIO()
    document.save(out)
    file = put(laptop, "field.pdf", out.getvalue())

    answer = browser(alice).get(f"/files/{file.pk}/pages/1.png")

    assert Image.open(BytesIO(answer.content)).size == (1200, 1200)


def test_next_and_previous_follow_the_order_of_the_list(browser, alice, laptop):
    folder = new_folder(laptop, "Folder")
    first = put(laptop, "a.txt", b"333", folder)
    second = put(laptop, "b.txt", b"1", folder)
    third = put(laptop, "c.txt", b"22", folder)
    new_folder(laptop, "aa", folder)
    put(laptop, "b2.txt", b"beside the folder")
    tab = browser(alice)

    by_name, by_size = page_of(tab, second), page_of(tab, third, sort="size", order="desc")

    assert f'rel="prev" href="/files/{first.pk}?sort=name"' in by_name
    assert f'rel="next" href="/files/{third.pk}?sort=name"' in by_name
    assert f'rel="prev" href="/files/{first.pk}?sort=size&amp;order=desc"' in by_size
    assert f'rel="next" href="/files/{second.pk}?sort=size&amp;order=desc"' in by_size
    assert 'rel="prev"' not in page_of(tab, first)
    delete_file(device=laptop, file_id=third.pk, rev=third.rev)
    assert 'rel="next"' not in page_of(tab, second)


def test_an_older_version_is_shown_as_it_was(browser, alice, laptop):
    device = Uploader(laptop)
    first = device.put(b"the old words", name="a.txt")["file"]
    device.edit(first, b"the new words")
    tab = browser(alice)

    path = f"/files/{first['file_id']}"
    old = tab.get(path, {"version": first["current_version_id"]}).content.decode()

    assert "the old words" in old
    assert "An earlier version" in old
    assert "the new words" in tab.get(path).content.decode()
    assert tab.get(path, {"version": str(uuid4())}).status_code == 404
    assert tab.get(path, {"version": "x"}).status_code == 404


def test_nobody_sees_what_is_not_theirs(browser, alice, mallory, laptop):
    image, paper = put(laptop, "photo.png", picture()), put(laptop, "paper.pdf", pdf())
    own = browser(mallory)
    version = {"version": str(image.current_version_id)}

    for path in (
        f"/files/{image.pk}",
        f"/files/{image.pk}/inline",
        f"/files/{paper.pk}/pages/1.png",
    ):
        assert own.get(path).status_code == 404
        assert own.get(path, version).status_code == 404
        assert browser(None).get(path)["Location"].startswith("/accounts/login/")


def test_a_visitor_sees_what_lies_in_the_linked_folder_and_nothing_else(client, alice, laptop):
    folder = new_folder(laptop, "Shared")
    image = put(laptop, "b.png", picture(), folder)
    text = put(laptop, "c.py", b"pass", folder)
    paper = put(laptop, "d.pdf", pdf(), folder)
    secret = put(laptop, "secret.png", picture())
    path = links.path_of(links.create_link(user=alice, folder_id=folder.pk).pk)

    page = client.get(f"{path}/files/{text.pk}/view")
    shown = page.content.decode()

    assert '<span class="k">pass</span>' in shown
    assert f'rel="prev" href="{path}/files/{image.pk}/view?sort=name"' in shown
    assert page["Referrer-Policy"] == "no-referrer"
    assert page["X-Robots-Tag"] == "noindex, nofollow"
    answer = client.get(f"{path}/files/{image.pk}/inline")
    assert answer["Content-Type"] == "image/png"
    assert "sandbox" in answer["Content-Security-Policy"]
    assert client.get(f"{path}/files/{paper.pk}/pages/1.png")["Content-Type"] == "image/png"
    for rest in ("view", "inline", "pages/1.png"):
        assert client.get(f"{path}/files/{secret.pk}/{rest}").status_code == 404
    assert f'href="{path}/files/{image.pk}/view"' in client.get(path).content.decode()


def test_behind_a_link_to_one_file_there_is_nothing_beside_it(client, alice, laptop):
    file = put(laptop, "a.txt", b"words")
    put(laptop, "b.txt", b"others")
    path = links.path_of(links.create_link(user=alice, file_id=file.pk).pk)

    shown = client.get(f"{path}/files/{file.pk}/view").content.decode()

    assert "words" in shown
    assert "b.txt" not in shown
    assert "/folders/" not in shown


def test_a_name_of_255_bytes_and_a_hostile_one_are_shown_as_names(browser, alice, laptop):
    long = put(laptop, "ü" * 125 + ".py", b"pass")
    hostile = put(laptop, "<img src=x onerror=alert(1)>.txt", b"text")
    tab = browser(alice)

    assert '<span class="k">pass</span>' in page_of(tab, long)
    assert "<img src=x" not in page_of(tab, hostile)


def test_a_page_costs_few_queries(browser, alice, laptop, django_assert_max_num_queries):
    file = put(laptop, "a.txt", b"words")
    tab = browser(alice)
    page_of(tab, file)

    with django_assert_max_num_queries(22):
        page_of(tab, file)
