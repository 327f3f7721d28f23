"""Uploads in the browser: what is here already, what is asked, and what survives."""

import shutil

import pytest
from playwright.sync_api import expect

from tests.journeys.browser import new_file

pytestmark = [pytest.mark.browser, pytest.mark.journey]

MIB = 1024 * 1024


def content_of(tab, name: str) -> bytes:
    with tab.page.expect_download() as download:
        tab.act(name, "Download")
    return download.value.path().read_bytes()


def test_a_person_says_once_what_becomes_of_names_that_are_taken(tab, tmp_path):
    page, dialog = tab.page, tab.page.get_by_role("dialog")
    names = ["a.txt", "b.txt", "c.txt"]
    tab.upload(*(new_file(tmp_path / "old", name, 100) for name in names))
    tab.wait_for_uploads("3 files uploaded")
    newer = [new_file(tmp_path / "new", name, 200, seed=2) for name in names]

    # Those that are free do not wait for the answer; nor do those that are the same.
    shutil.copy2(tmp_path / "old" / "c.txt", newer[2])
    tab.upload(*newer, new_file(tmp_path, "free.txt", 10))
    expect(dialog).to_contain_text("2 files are here already")
    expect(tab.row("free.txt")).to_be_visible()
    page.keyboard.press("Escape")
    tab.wait_for_uploads("5 files uploaded · 2 cancelled")
    assert content_of(tab, "a.txt") == (tmp_path / "old" / "a.txt").read_bytes()

    tab.upload(*newer[:2])
    dialog.get_by_text("Decide for each file").click()
    dialog.get_by_label("Keep both").check()
    expect(dialog.get_by_label("What becomes of b.txt")).to_have_value("keep_both")
    dialog.get_by_label("What becomes of a.txt").select_option("New version")
    dialog.get_by_role("button", name="Go on").click()
    expect(tab.row("b (2).txt")).to_be_visible()
    expect(tab.row("a.txt")).to_contain_text("200 B")
    assert content_of(tab, "b.txt") == (tmp_path / "old" / "b.txt").read_bytes()
    assert content_of(tab, "b (2).txt") == newer[1].read_bytes()

    tab.upload(new_file(tmp_path / "newest", "a.txt", 300))
    dialog.get_by_label("Skip").check()
    dialog.get_by_role("button", name="Go on").click()
    expect(page.locator(".tray")).to_contain_text("Skipped: the one here stays")
    expect(tab.row("a.txt")).to_contain_text("200 B")
    assert sorted(tab.names()) == ["a.txt", "b (2).txt", "b.txt", "c.txt", "free.txt"]


def test_uploads_pause_and_go_on(windows, person, tmp_path):
    own = windows()
    tab = own.tab().sign_in(person).wait_until_live()
    path = new_file(tmp_path, "large.bin", 48 * MIB)

    tab.upload(path)
    tab.wait_until(lambda: own.sent_paths, seconds=20, what="the first block")
    tab.page.get_by_role("button", name="Pause the uploads").click()
    tray = tab.page.locator(".tray")
    expect(tray).to_contain_text("Paused. What was sent is kept.")
    # What is on its way arrives; then there is silence.
    tab.page.wait_for_load_state("networkidle")
    sent = len(own.sent_paths)
    tab.page.wait_for_timeout(500)
    assert len(own.sent_paths) == sent < 40

    tab.page.get_by_role("button", name="Go on with the uploads").click()
    tab.wait_for_uploads("1 file uploaded")
    assert content_of(tab, "large.bin") == path.read_bytes()

    # Cancelled in a pause: what comes after does not wait for ever.
    tab.upload(new_file(tmp_path, "other.bin", 24 * MIB, seed=2))
    tab.page.get_by_role("button", name="Pause the uploads").click()
    tab.page.get_by_role("button", name="Cancel all uploads").click()
    tab.wait_for_uploads("1 file uploaded · 1 cancelled")
    tab.upload(new_file(tmp_path, "small.txt", 10))
    tab.wait_for_uploads("2 files uploaded · 1 cancelled")


def test_a_tab_that_was_closed_in_the_middle_is_made_up_for(windows, person, tmp_path):
    """Five thousand files, the tab gone half way, dropped once more: all there, nothing twice."""
    folder = tmp_path / "Photos"
    sizes = {}
    for number in range(5_000):
        path = new_file(folder / f"{number // 100:02}", f"{number:04}.jpg", 300 + number, number)
        sizes[str(path.relative_to(folder))] = path.stat().st_size
    large = new_file(folder, "film.bin", 64 * MIB)
    own = windows()
    tab = own.tab().sign_in(person).wait_until_live()

    tab.drop(folder)
    done = "() => document.querySelectorAll('.tray-item[data-state=done]').length"
    tab.wait_until(lambda: tab.run(done) > 0, seconds=60, what="the first files")
    tab.wait_until(lambda: len(own.sent_paths) > 30, seconds=60, what="half of it")
    tab.page.close(run_before_unload=False)

    tab = own.tab().open().wait_until_live()
    tab.drop(folder)
    tab.wait_for_uploads("5,001 files uploaded", seconds=240)

    # What had been reported was not sent again: of the film all but the last two dozen blocks
    # and those on their way, of the others all but the packs on their way.
    film = [path.split("/")[-2] for path in own.sent_paths if "/b/" in path]
    assert len(film) - len(set(film)) <= 24 + 4
    assert len(own.sent_paths) - len(film) <= 51 + 4
    found = listing(tab, "Photos")
    assert found == {**sizes, "film.bin": large.stat().st_size}


LIST = """async (name) => {
  const get = async (path) => (await fetch(`/api/v1${path}`)).json();
  const found = {};
  const walk = async (id, above) => {
    for (let cursor = ""; cursor !== null; ) {
      const page = await get(`/folders/${id}/children?limit=1000&cursor=${cursor}`);
      for (const item of page.items) {
        if (above === "" && item.name !== name) continue;
        const path = above === "" ? "" : `${above}${item.name}`.slice(1);
        if (item.type === "folder") await walk(item.folder_id, above === "" ? "/" : `/${path}/`);
        else found[path] = item.size_bytes;
      }
      cursor = page.next_cursor;
    }
  };
  await walk("root", "");
  return found;
}"""


def listing(tab, folder: str) -> dict[str, int]:
    """What the server has below a folder of the root: sizes by path."""
    found: dict[str, int] = tab.run(LIST, folder)
    return found


def test_a_large_file_that_is_here_already_costs_no_block(windows, person, tmp_path):
    """A gigabyte under another name, from another browser: nothing but its list of blocks."""
    path = tmp_path / "disk.img"
    with path.open("wb") as image:
        # Eight times the same, and a byte to shift the cuts' neighbourhood each time.
        piece = new_file(tmp_path, "piece", 128 * MIB).read_bytes()
        for number in range(8):
            image.write(piece)
            image.write(bytes([number]))
    tab = windows().tab().sign_in(person).wait_until_live()
    tab.upload(path)
    tab.wait_for_uploads("1 file uploaded", seconds=240)
    again = windows()
    other = again.tab().sign_in(person).wait_until_live()

    other.upload(path.rename(tmp_path / "copy.img"))
    other.wait_for_uploads("1 file uploaded", seconds=240)

    assert again.sent_paths == []
    tray = other.page.locator(".tray")
    expect(tray).to_contain_text("Already here, nothing sent")
    expect(tray).to_contain_text("1.1 GB already here, not sent")
    expect(other.row("copy.img")).to_contain_text("1.1 GB")
