"""The file browser as people use it: by keys alone, by pointer, in two tabs, with many entries."""

import logging
import random
import re
import time

import pytest
from playwright.sync_api import expect

from tests.journeys.browser import Tab, findings_of, new_file

pytestmark = [pytest.mark.browser, pytest.mark.journey]


log = logging.getLogger(__name__)


def selected(tab: Tab) -> list[str]:
    return tab.page.locator('#list [aria-selected="true"] .name-link').all_text_contents()


def put(tab: Tab, folder, *names: str) -> None:
    """Small files in the folder that is open."""
    there = tab.page.locator(".tray-item").count()
    tab.upload(*(new_file(folder, name, 10, seed=random.randrange(10**9)) for name in names))
    word = "file" if len(names) + there == 1 else "files"
    tab.wait_for_uploads(f"{len(names) + there} {word} uploaded")
    tab.page.get_by_role("button", name="Close", exact=True).click()
    tab.page.locator("#main").focus()


def test_the_whole_file_browser_is_used_by_keys_alone(tab, tmp_path):
    page = tab.page
    keys = page.keyboard
    put(tab, tmp_path, "a.txt", "b.txt", "c.txt", "d.txt")
    keys.press("n")
    keys.press("Control+a")
    keys.type("Folder")
    keys.press("Enter")
    expect(tab.row("Folder")).to_be_focused()
    # The list is one stop of the Tab key.
    assert page.locator('#list [tabindex="0"]').count() == 1

    # Rename: what comes before the extension is selected; a refusal stands in its place.
    keys.press("ArrowDown")
    keys.press("F2")
    keys.type("b")
    keys.press("Enter")
    expect(page.get_by_text("already has an item of this name").first).to_be_visible()
    keys.press("Escape")
    expect(tab.row("a.txt")).to_be_focused()
    keys.press("F2")
    keys.type("first")
    keys.press("Enter")
    expect(tab.row("first.txt")).to_be_focused()

    # Selection, in the order that is shown.
    keys.press("Home")
    keys.press("ArrowDown")
    keys.press("Shift+ArrowDown")
    assert selected(tab) == ["b.txt", "c.txt"]
    keys.press("Escape")
    assert selected(tab) == []
    keys.press("Space")
    keys.press("End")
    keys.press("Space")
    assert selected(tab) == ["c.txt", "first.txt"]
    bar = page.get_by_role("toolbar", name="Selected items")
    expect(bar).to_contain_text("2 selected")
    keys.press("Control+a")
    expect(bar).to_contain_text("5 selected")
    keys.press("Escape")
    expect(bar).to_be_hidden()

    # Copy and cut, paste in another folder.
    tab.row("b.txt").focus()
    keys.press("Control+c")
    tab.row("c.txt").focus()
    keys.press("Home")
    keys.press("Enter")
    page.wait_for_url(re.compile("/folders/"))
    tab.wait_until_live()
    keys.press("Control+v")
    expect(tab.toast("“b.txt” copied to Folder.")).to_be_visible()
    expect(tab.row("b.txt")).to_be_visible()
    keys.press("Backspace")
    expect(tab.row("d.txt")).to_be_visible()
    tab.wait_until_live()
    tab.row("c.txt").focus()
    keys.press("Control+x")
    page.go_back()
    tab.wait_until_live()
    keys.press("Control+v")
    expect(tab.toast("“c.txt” moved to Folder.")).to_be_visible()
    assert tab.names() == ["b.txt", "c.txt"]
    keys.press("Alt+ArrowUp")
    expect(tab.row("d.txt")).to_be_visible()
    tab.wait_until_live()
    assert tab.names() == ["Folder", "b.txt", "d.txt", "first.txt"]

    # Move and copy by the tree; the menu; delete, and its way back.
    tab.row("d.txt").focus()
    keys.press("m")
    expect(page.get_by_role("treeitem", name="Folder", exact=True)).to_be_visible()
    keys.press("ArrowDown")
    keys.press("Enter")
    expect(tab.row("d.txt")).to_have_count(0)
    tab.row("first.txt").focus()
    keys.press("c")
    expect(page.get_by_role("treeitem", name="Folder", exact=True)).to_be_visible()
    keys.press("Enter")
    expect(tab.row("first (2).txt")).to_be_visible()
    keys.press("Shift+F10")
    expect(page.get_by_role("menuitem").first).to_be_focused()
    keys.press("Escape")
    expect(tab.row("first.txt")).to_be_focused()
    keys.press("Shift+ArrowUp")
    keys.press("Delete")
    expect(tab.toast("2 items moved to the trash.")).to_be_visible()
    assert tab.names() == ["Folder", "b.txt"]
    tab.toast("2 items moved to the trash.").get_by_role("button", name="Undo").press("Enter")
    expect(tab.row("first.txt")).to_be_visible()

    # The grid has the same rows; Back returns to the list.
    keys.press("Escape")
    page.locator("#main").focus()
    keys.press("g")
    expect(page.locator("#list")).to_have_class(re.compile("is-grid"))
    tab.row("Folder").focus()
    keys.press("ArrowRight")
    expect(tab.row("b.txt")).to_be_focused()
    assert "view=grid" in page.url
    page.go_back()
    expect(page.locator("#list")).not_to_have_class(re.compile("is-grid"))

    # Names in this folder are found; what is not shown is not selected.
    keys.press("/")
    keys.type("FIRST")
    expect(tab.row("b.txt")).to_be_hidden()
    keys.press("Enter")
    expect(tab.row("first.txt").or_(tab.row("first (2).txt")).first).to_be_focused()
    keys.press("Control+a")
    assert all("first" in name for name in selected(tab))
    keys.press("/")
    keys.press("Escape")
    expect(tab.row("b.txt")).to_be_visible()
    expect(tab.row("Folder")).to_be_focused()

    # Details at the side follow the focus, and are there again the next time.
    tab.row("Folder").focus()
    keys.press("i")
    details = page.get_by_role("complementary", name="Details")
    expect(details.get_by_role("heading", name="Folder", exact=True)).to_be_visible()
    keys.press("ArrowDown")
    expect(details).to_contain_text("added b.txt")
    page.reload()
    tab.wait_until_live()
    expect(details.get_by_role("heading", name="Folder", exact=True)).to_be_visible()
    keys.press("i")
    expect(details).to_be_hidden()

    # The help tells of all this; single letters can be switched off there.
    keys.press("?")
    help_page = page.get_by_role("dialog")
    for line in ("Go through the list", "Select all", "Paste here", "New folder", "Delete"):
        expect(help_page).to_contain_text(line)
    page.get_by_label("Shortcuts of a single letter work").press("Space")
    keys.press("Escape")
    keys.press("n")
    expect(page.get_by_label("Name of the new folder")).to_have_count(0)


def test_selection_by_pointer_drag_and_undo(tab, windows, person, tmp_path):
    page = tab.page
    put(tab, tmp_path, "a.txt", "b.txt", "c.txt", "d.txt")
    page.locator("#main").focus()
    page.keyboard.press("n")
    page.keyboard.press("Enter")
    expect(tab.row("New folder")).to_be_visible()

    facts = ".modified"
    tab.row("a.txt").locator(facts).click()
    assert selected(tab) == ["a.txt"]
    tab.row("c.txt").locator(facts).click(modifiers=["Shift"])
    assert selected(tab) == ["a.txt", "b.txt", "c.txt"]
    # The other way round, from the same end.
    tab.row("New folder").locator(facts).click(modifiers=["Shift"])
    assert selected(tab) == ["New folder", "a.txt"]
    tab.row("b.txt").locator(facts).click()
    tab.row("d.txt").locator(facts).click(modifiers=["ControlOrMeta"])
    tab.row("c.txt").locator(".tick").click()
    assert selected(tab) == ["b.txt", "c.txt", "d.txt"]
    tab.row("b.txt").locator(facts).click(button="right")
    expect(page.get_by_role("menuitem", name="Rename")).to_have_count(0)
    page.keyboard.press("Escape")

    # All of the selection goes along; one message brings all back.
    tab.row("c.txt").drag_to(tab.row("New folder"))
    expect(tab.toast("3 items moved to “New folder”.")).to_be_visible()
    assert tab.names() == ["New folder", "a.txt"]
    tab.toast("3 items moved").get_by_role("button", name="Undo").click()
    expect(tab.row("d.txt")).to_be_visible()
    tab.row("d.txt").drag_to(tab.row("New folder"))
    expect(tab.row("d.txt")).to_have_count(0)
    tab.row("New folder").get_by_role("link").click()
    expect(tab.row("d.txt")).to_be_visible()
    tab.wait_until_live()
    tab.row("d.txt").drag_to(page.locator(".crumbs a").first)
    expect(tab.row("d.txt")).to_have_count(0)
    page.go_back()
    tab.wait_until_live()

    # Copies and renamings are taken back as well.
    tab.row("a.txt").locator(facts).click()
    tab.row("b.txt").locator(facts).click(modifiers=["Shift"])
    page.get_by_role("toolbar").get_by_role("button", name="Copy to…").click()
    page.get_by_role("treeitem", name="New folder", exact=True).click()
    page.get_by_role("button", name="Copy here").click()
    tab.toast("2 items copied to New folder.").get_by_role("button", name="Undo").click()
    page.keyboard.press("Escape")
    tab.act("a.txt", "Rename")
    page.keyboard.press("Control+a")
    page.keyboard.type("z.txt")
    page.keyboard.press("Enter")
    tab.toast("Renamed to “z.txt”.").get_by_role("button", name="Undo").click()
    expect(tab.row("a.txt")).to_be_visible()
    tab.row("New folder").get_by_role("link").click()
    expect(page.get_by_text("This folder is empty")).to_be_visible()

    # By touch: a tap opens; a long press selects, and then taps extend.
    phone = windows(viewport={"width": 390, "height": 800}, has_touch=True).tab().sign_in(person)
    touch = phone.page.context.new_cdp_session(phone.page)

    def press(name: str, *, is_long: bool = False) -> None:
        box = phone.row(name).bounding_box()
        assert box is not None
        points = [{"x": box["x"] + 200, "y": box["y"] + 20}]
        touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points})
        if is_long:
            expect(phone.row(name)).to_have_attribute("aria-selected", "true")
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    phone.wait_until_live()
    press("a.txt", is_long=True)
    press("c.txt")
    expect(phone.page.get_by_role("toolbar")).to_contain_text("2 selected")
    assert selected(phone) == ["a.txt", "c.txt"]
    press("c.txt")
    expect(phone.row("c.txt")).to_have_attribute("aria-selected", "false")
    press("a.txt")
    expect(phone.page.get_by_role("toolbar")).to_be_hidden()
    press("New folder")
    expect(phone.page.get_by_text("This folder is empty")).to_be_visible()


def test_two_tabs_see_each_other_live(windows, person, tmp_path):
    """Within a second, in list, grid and trash, and nobody's focus, scroll or selection moves."""
    both = windows()
    mine = both.tab().sign_in(person).wait_until_live()
    other = both.tab().open("/?view=grid").wait_until_live()
    trash = both.tab().open("/trash").wait_until_live()
    for tab in (other, trash):
        tab.page.evaluate(
            """() => {
              window.seen = {};
              new MutationObserver(() => {
                for (const link of document.querySelectorAll("#list .name-link")) {
                  window.seen[link.textContent] ??= Date.now();
                }
              }).observe(document.querySelector("#list"), { childList: true, subtree: true });
            }"""
        )

    mine.upload(new_file(tmp_path, "live.txt", 10), new_file(tmp_path, "stay.txt", 11))
    expect(mine.row("live.txt")).to_be_visible()
    shown_at = time.time() * 1000
    expect(other.row("live.txt")).to_be_visible()
    assert other.run("() => window.seen['live.txt']") - shown_at < 1000

    other.row("live.txt").focus()
    other.page.keyboard.press("Space")
    mine.wait_for_uploads("2 files uploaded")
    mine.act("live.txt", "Rename")
    mine.page.keyboard.press("Control+a")
    mine.page.keyboard.type("zebra.txt")
    mine.page.keyboard.press("Enter")
    expect(other.row("zebra.txt")).to_be_visible(timeout=2000)
    # What another device does takes focus and selection from nobody.
    expect(other.row("zebra.txt")).to_be_focused()
    assert selected(other) == ["zebra.txt"]

    mine.act("zebra.txt", "Delete")
    gone_at = time.time() * 1000
    expect(other.row("zebra.txt")).to_have_count(0, timeout=2000)
    expect(other.row("stay.txt")).to_be_focused()
    expect(trash.row("zebra.txt")).to_be_visible(timeout=2000)
    assert trash.run("() => window.seen['zebra.txt']") - gone_at < 1000
    expect(trash.row("zebra.txt")).to_contain_text("in 30 days")

    mine.toast("moved to the trash").get_by_role("button", name="Undo").click()
    expect(other.row("zebra.txt")).to_be_visible(timeout=2000)
    expect(trash.page.get_by_text("The trash is empty")).to_be_visible(timeout=2000)


def test_where_no_websocket_gets_through_long_polls_bring_the_changes(windows, person, tmp_path):
    both = windows()
    mine, other = both.tab().sign_in(person).wait_until_live(), both.tab()
    other.page.route_web_socket("**/ws/notifications", lambda socket: socket.close())
    other.open().wait_until_live()

    mine.upload(new_file(tmp_path, "by poll.txt", 10))
    expect(other.row("by poll.txt")).to_be_visible(timeout=20_000)


def test_a_text_file_is_written_and_never_over_another(windows, person, tmp_path):
    """On the version that was opened: of two who write at once, both keep what they wrote."""
    both = windows()
    tab = both.tab().sign_in(person).wait_until_live()
    page = tab.page
    page.locator("#main").focus()
    page.keyboard.press("t")
    page.keyboard.type("notes")
    page.keyboard.press("Enter")
    field = page.get_by_label("Content of notes.txt")
    field.fill("first\n")
    page.keyboard.press("Control+s")
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()

    other = both.tab().open().wait_until_live()
    other.act("notes.txt", "Edit")
    theirs = other.page.get_by_label("Content of notes.txt")
    expect(theirs).to_have_value("first\n")
    theirs.fill("theirs\n")
    other.page.get_by_role("button", name="Save").click()
    expect(other.page.get_by_text("Saved.", exact=True)).to_be_visible()
    field.fill("mine\n")
    page.get_by_role("button", name="Save").click()
    expect(tab.toast("Both are kept")).to_be_visible()
    field.fill("mine, once more\n")
    page.keyboard.press("Escape")
    expect(page.get_by_text("Close once more to throw your changes away")).to_be_visible()
    assert findings_of(page) == []
    page.keyboard.press("Control+s")
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    copy = page.locator(".name-link").get_by_text("conflicted copy")
    expect(copy).to_have_count(1)

    def content(name: str) -> str:
        link = page.locator(".name-link").get_by_text(name).get_attribute("href")
        path = f"/api/v1{link}/content"
        return str(tab.run("async (path) => (await fetch(path)).text()", path))

    assert content("conflicted copy") == "mine, once more\n"
    assert content("notes.txt") == "theirs\n"

    # What a field would spoil is left alone, and said; line ends stay what they were.
    names = {"windows.txt": b"a\r\nb\r\n", "mixed.txt": b"a\r\nb\n", "raw.txt": b"\xff\xfe"}
    for name, data in names.items():
        (tmp_path / name).write_bytes(data)
    tab.upload(*(tmp_path / name for name in names))
    expect(tab.row("raw.txt")).to_be_visible()
    tab.wait_for_uploads("3 files uploaded")
    page.get_by_role("button", name="Close", exact=True).click()
    for name, words in (
        ("mixed.txt", "several kinds of line ends"),
        ("raw.txt", "no text in UTF-8"),
    ):
        tab.act(name, "Edit")
        expect(tab.toast(words)).to_be_visible()
    tab.act("windows.txt", "Edit")
    page.get_by_label("Content of windows.txt").fill("a\nc\n")
    page.keyboard.press("Control+s")
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    assert content("windows.txt") == "a\r\nc\r\n"


def test_the_trash_gives_back_and_deletes_for_ever_after_a_question(tab, tmp_path):
    page = tab.page
    put(tab, tmp_path, "a.txt", "b.txt", "c.txt", "d.txt")
    page.locator("#main").focus()
    page.keyboard.press("n")
    page.keyboard.press("Enter")
    tab.row("a.txt").drag_to(tab.row("New folder"))
    expect(tab.row("a.txt")).to_have_count(0)
    tab.row("New folder").get_by_role("link").click()
    tab.wait_until_live()
    for name in ("a.txt", "New folder"):
        tab.act(name, "Delete")
        expect(tab.row(name)).to_have_count(0)
        if name == "a.txt":
            page.get_by_role("link", name="My files").last.click()
            tab.wait_until_live()
    tab.row("b.txt").focus()
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    expect(page.get_by_text("Your drive is empty")).to_be_visible()

    tab.open("/trash").wait_until_live()
    expect(tab.row("a.txt")).to_contain_text("/New folder")
    expect(tab.row("b.txt")).to_contain_text("in 30 days")
    assert findings_of(page) == []
    # Its folder is gone: where to?
    page.get_by_role("button", name="Restore a.txt").click()
    expect(page.get_by_text("The folder of “a.txt” is gone.")).to_be_visible()
    page.get_by_role("treeitem", name="My files").click()
    page.get_by_role("button", name="Restore here").click()
    expect(tab.toast("“a.txt” is back.")).to_be_visible()
    tab.toast("“a.txt” is back.").get_by_role("button", name="Undo").click()
    expect(tab.row("a.txt")).to_be_visible()

    # One by a word, several by their number, all by a word again.
    tab.act("a.txt", "Delete for ever…")
    confirm = page.get_by_role("button", name="Delete for ever", exact=True)
    expect(confirm).to_be_disabled()
    page.get_by_label("To confirm, type delete").fill("delete")
    confirm.click()
    expect(tab.row("a.txt")).to_have_count(0)
    tab.row("b.txt").hover()
    tab.row("b.txt").locator(".tick").click()
    tab.row("c.txt").locator(".tick").click()
    page.keyboard.press("Delete")
    page.get_by_label("To confirm, type 2").fill("2")
    page.keyboard.press("Enter")
    expect(tab.row("c.txt")).to_have_count(0)
    tab.row("d.txt").focus()
    page.keyboard.press("r")
    expect(tab.toast("“d.txt” is back.")).to_be_visible()
    page.get_by_role("button", name="Empty trash…").click()
    page.get_by_label("To confirm, type empty").fill("empty")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The trash is empty")).to_be_visible()


FILL = """async (count) => {
  const { api, newId } = await import("/static/js/api.js");
  const { folder_id: parent_folder_id } = await api("GET", "/folders/root");
  for (let at = 0; at < count; at += 1000) {
    const items = Array.from({ length: 1000 }, (_, step) => ({
      op: "create_folder",
      op_id: newId(),
      parent_folder_id,
      name: `entry ${String(at + step).padStart(5, "0")}`,
    }));
    await api("POST", "/batch", { items });
  }
}"""


def test_a_folder_of_ten_thousand_entries_is_used_like_a_small_one(tab):
    page = tab.page
    # On a page that does not show them, so that nobody watches them come.
    tab.open("/devices").run(FILL, 10_000)

    def wait_for(script: str) -> float:
        """Until it holds; by a script, since a locator would look at each row each time."""
        since = time.monotonic()
        tab.wait_until(lambda: tab.run(script), seconds=60, what=script)
        return time.monotonic() - since

    began = time.monotonic()
    tab.open()
    wait_for("() => document.querySelectorAll('#list .row[data-id]').length >= 100")
    first_rows = time.monotonic() - began
    tab.wait_until_live()
    page.locator("#list .row[data-id]").first.focus()
    page.keyboard.press("End")
    to_the_end = wait_for("() => document.activeElement.textContent.includes('entry 09999')")
    page.keyboard.press("Control+a")
    all_selected = wait_for(
        "() => document.querySelector('#selection').textContent.includes('10,000 selected')"
    )
    # What docs/performance.md says, with --log-cli-level=INFO.
    log.info("first %.2f s, to the end %.2f s, all %.2f s", first_rows, to_the_end, all_selected)

    # What comes from elsewhere finds its place among them.
    tab.run(
        """async () => {
          const { api } = await import("/static/js/api.js");
          const parent_folder_id = document.querySelector("#list").dataset.folder;
          await api("POST", "/folders", { parent_folder_id, name: "entry 05000b" });
        }"""
    )
    wait_for("() => document.querySelectorAll('#list .row[data-id]').length === 10_001")
    names = tab.run(
        "() => [...document.querySelectorAll('#list .name-link')].map((link) => link.textContent)"
    )
    assert names == sorted(names)
    page.keyboard.press("Escape")
    page.keyboard.press("Home")
    page.keyboard.press("PageDown")
    wait_for("() => document.activeElement.textContent.includes('entry 000')")
    assert tab.run("() => document.activeElement.matches('.row:nth-of-type(n + 6)')")
