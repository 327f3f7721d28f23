"""Files looked at in a browser: over the list, on a page without scripts, in their versions."""

import re

import pytest
from playwright.sync_api import expect

from tests.files.web.test_previews import pdf, picture
from tests.journeys.browser import findings_of

pytestmark = [pytest.mark.browser, pytest.mark.journey]

SIZES = [{"width": 1280, "height": 800}, {"width": 390, "height": 800}]


def check(page, name):
    """What axe says of it, in both themes and two sizes."""
    for scheme in ("light", "dark"):
        for size in SIZES:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size(size)
            assert findings_of(page) == [], (name, scheme, size)
    page.set_viewport_size(SIZES[0])


def test_files_are_looked_at_one_after_another(tab, windows, person, tmp_path):
    page, dialog = tab.page, tab.page.get_by_role("dialog")
    contents = {
        "a.py": b"def f():\n    return 1\n",
        "b.png": picture(size=(400, 300)),
        "c.pdf": pdf(pages=2),
        "d.md": b"## Title\n\nSome *words*.\n",
        "e.bin": bytes(300),
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    tab.upload(*(tmp_path / name for name in contents))
    tab.wait_for_uploads("5 files uploaded")
    page.get_by_role("button", name="Close", exact=True).click()

    # By the keys: open, step, come back to where one was.
    tab.row("a.py").focus()
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("heading", name="a.py")).to_be_visible()
    expect(dialog.locator(".code .k").first).to_have_text("def")
    page.wait_for_url(re.compile("/files/"))
    check(page, "code")
    page.keyboard.press("ArrowRight")
    expect(dialog.get_by_role("heading", name="b.png")).to_be_visible()
    image = dialog.get_by_role("img", name="b.png")
    tab.wait_until(
        lambda: image.evaluate("each => each.naturalWidth") == 400, seconds=10, what="the image"
    )
    page.keyboard.press("ArrowRight")
    expect(dialog.get_by_text("Page 1 of 2")).to_be_visible(timeout=30_000)
    dialog.get_by_role("link", name="Next page").click()
    expect(dialog.get_by_text("Page 2 of 2")).to_be_visible(timeout=30_000)
    tab.wait_until(
        lambda: dialog.get_by_role("img", name="Page 2").evaluate("each => each.naturalWidth"),
        seconds=30,
        what="the page",
    )
    check(page, "pdf")
    dialog.get_by_role("link", name=re.compile("^Next: d")).click()
    expect(dialog.locator(".prose em")).to_have_text("words")
    dialog.get_by_role("link", name=re.compile("^Next: e")).click()
    expect(dialog.get_by_text("There is no preview of this kind of file")).to_be_visible()
    with page.expect_download() as download:
        dialog.get_by_role("link", name="Download").click()
    assert download.value.path().read_bytes() == contents["e.bin"]
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.wait_for_url(f"{tab.url}/")
    expect(tab.row("a.py")).to_be_visible()

    # By the pointer, and Back.
    page.locator(".name-link", has_text="b.png").click()
    expect(dialog.get_by_role("heading", name="b.png")).to_be_visible()
    page.wait_for_url(re.compile("/files/"))
    address = page.url
    page.go_back()
    expect(dialog).to_have_count(0)
    page.go_forward()
    expect(dialog.get_by_role("heading", name="b.png")).to_be_visible()

    # The same address is a page of its own.
    tab.page.goto(address)
    expect(page.get_by_role("heading", name="b.png")).to_be_visible()
    check(page, "page")


def test_an_old_version_is_compared_and_brought_back(tab, tmp_path):
    page, dialog = tab.page, tab.page.get_by_role("dialog")
    path = tmp_path / "notes.txt"
    for words, said in (("one\ntwo\n", "1 file uploaded"), ("one\nTWO\n", "2 files uploaded")):
        path.write_text(words)
        tab.upload(path)
        if said.startswith("2"):
            dialog.get_by_role("button", name="Go on").click()
        tab.wait_for_uploads(said)
    page.get_by_role("button", name="Close", exact=True).click()

    tab.act("notes.txt", "Versions…")
    expect(dialog.get_by_role("listitem")).to_have_count(2)
    expect(dialog).to_contain_text("1 of 1 block changed")
    keep = dialog.get_by_role("button", name="Keep for ever").last
    keep.click()
    expect(keep).to_have_attribute("aria-pressed", "true")
    check(page, "versions")
    dialog.get_by_role("link", name="Compare").click()
    expect(dialog.locator("ins")).to_have_text("TWO")
    check(page, "comparison")
    dialog.get_by_role("link", name="All versions").click()
    dialog.get_by_role("button", name="Restore").click()
    expect(dialog.get_by_text("is again as it was")).to_be_visible()
    expect(dialog.get_by_role("listitem")).to_have_count(3)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.locator(".name-link", has_text="notes.txt").click()
    expect(dialog.locator(".code")).to_have_text("one\ntwo\n")
