"""What a person does in a browser, with a real Chromium against the whole running product."""

import hashlib
import itertools
import json
import os
import re
import signal
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from tests.contracts.make_chunker_vectors import VECTORS
from tests.journeys.browser import findings_of, new_file, plain_url, window
from tests.services.drive import PASSWORD, RunningDrive

pytestmark = [pytest.mark.browser, pytest.mark.journey]


def test_from_the_setup_link_to_the_first_file(chromium, tmp_path):
    with RunningDrive(tmp_path / "data") as server, window(chromium, server.url) as own:
        assert server.setup_link is not None
        tab = own.tab()
        tab.page.goto(server.setup_link)
        tab.page.get_by_label("E-mail address").fill("root@example.com")
        tab.page.get_by_label("Password", exact=True).fill("short")
        tab.page.get_by_label("Password again").fill("short")
        tab.page.get_by_role("button", name="Create administrator").click()
        expect(tab.page.get_by_text("too short")).to_be_visible()

        tab.page.get_by_label("Password", exact=True).fill(PASSWORD)
        tab.page.get_by_label("Password again").fill(PASSWORD)
        tab.page.get_by_role("button", name="Create administrator").click()
        expect(tab.page.get_by_role("heading", name="Your drive is empty")).to_be_visible()
        tab.wait_until_live()
        tab.upload(new_file(tmp_path, "first.txt", 1000))

        expect(tab.row("first.txt")).to_be_visible()
        tab.open("/dashboard/")
        expect(tab.page.get_by_role("heading", name="Dashboard")).to_be_visible()
        tab.page.goto(server.setup_link)
        expect(tab.page.get_by_text("This setup link is closed")).to_be_visible()
        own.forgive("404")


def test_a_day_with_files(windows, person, tmp_path):
    """Upload, rename, new folder, move, delete, undo, restore, share, withdraw."""
    own = windows()
    tab = own.tab().sign_in(person).wait_until_live()
    page = tab.page
    tab.upload(new_file(tmp_path, "report.txt", 70_000), new_file(tmp_path, "film.bin", 6_000_000))
    tab.wait_for_uploads("2 files uploaded")
    expect(tab.row("report.txt")).to_contain_text("70 KB")
    expect(tab.row("film.bin")).to_contain_text("6.0 MB")
    page.get_by_role("button", name="Close", exact=True).click()

    tab.act("report.txt", "Rename")
    field = page.get_by_label("New name of report.txt")
    field.fill("film.bin")
    field.press("Enter")
    expect(page.get_by_text("already has an item of this name").first).to_be_visible()
    field.fill("annual.txt")
    field.press("Enter")
    expect(tab.row("annual.txt")).to_be_focused()
    own.forgive("409")

    page.get_by_role("button", name="New", exact=True).click()
    page.get_by_role("menuitem", name="New folder").click()
    page.get_by_label("Name of the new folder").fill("Reports")
    page.keyboard.press("Enter")
    expect(tab.row("Reports")).to_be_visible()

    tab.act("annual.txt", "Move…")
    page.get_by_role("treeitem", name="Reports").click()
    page.get_by_role("button", name="Move here").click()
    expect(tab.toast("moved to Reports")).to_be_visible()
    expect(tab.row("annual.txt")).to_have_count(0)
    tab.row("Reports").get_by_role("link").click()
    expect(tab.row("annual.txt")).to_be_visible()
    page.get_by_role("link", name="My files").last.click()
    tab.wait_until_live()

    tab.act("film.bin", "Delete")
    expect(tab.row("film.bin")).to_have_count(0)
    tab.toast("moved to the trash").get_by_role("button", name="Undo").click()
    expect(tab.row("film.bin")).to_be_visible()

    tab.act("film.bin", "Delete")
    expect(tab.row("film.bin")).to_have_count(0)
    tab.open("/trash")
    page.get_by_role("button", name="Restore film.bin").click()
    expect(tab.toast("is back")).to_be_visible()
    expect(page.get_by_text("The trash is empty")).to_be_visible()
    tab.open()
    expect(tab.row("film.bin")).to_be_visible()

    tab.act("film.bin", "Share by link…")
    page.get_by_role("button", name="Create link").click()
    link = page.get_by_label("The new link").input_value()
    visitor = windows(java_script_enabled=False)
    guest = visitor.tab()
    guest.page.goto(link)
    with guest.page.expect_download() as download:
        guest.page.get_by_role("link", name="Download").click()
    assert download.value.path().read_bytes() == (tmp_path / "film.bin").read_bytes()

    page.get_by_role("button", name=re.compile("Withdraw the link")).click()
    expect(page.get_by_role("button", name=re.compile("Withdraw the link"))).to_have_count(0)
    answer = guest.page.goto(link)
    assert answer is not None
    assert answer.status == 404
    expect(guest.page.get_by_text("does not lead anywhere")).to_be_visible()
    visitor.forgive("404")


def test_a_damaged_file_says_so_until_it_is_healed(server, tab, tmp_path):
    """In words, while somebody looks, and in the list of its versions."""
    photo = new_file(tmp_path, "photo.bin", 300_000, seed=77)
    tab.upload(photo, new_file(tmp_path, "fine.bin", 300_000, seed=78))
    tab.wait_for_uploads("2 files uploaded")
    tab.page.get_by_role("button", name="Close", exact=True).click()
    digest = hashlib.sha256(photo.read_bytes()).hexdigest()
    [stored] = server.data_dir.glob(f"blocks/b/*/{digest}/*")
    stored.write_bytes(b"x" * 300_000)

    scrub = server.manage("scrub")

    assert scrub.returncode == 1, scrub.stdout + scrub.stderr
    badge = tab.page.get_by_text("Damaged")
    expect(tab.row("photo.bin").get_by_text("Damaged")).to_be_visible(timeout=30_000)
    expect(tab.row("fine.bin").get_by_text("Damaged")).to_be_hidden()
    tab.page.reload()
    expect(tab.row("photo.bin").get_by_text("Damaged")).to_be_visible()
    expect(badge.filter(visible=True)).to_have_count(1)
    tab.act("photo.bin", "Versions…")
    expect(tab.page.get_by_role("dialog").get_by_text("Damaged")).to_be_visible()
    tab.page.keyboard.press("Escape")

    tab.wait_until_live().upload(photo)
    tab.wait_for_uploads("1 file uploaded")
    assert server.manage("scrub").returncode == 0
    expect(badge.filter(visible=True)).to_have_count(0, timeout=30_000)


def test_a_dropped_folder_arrives_whole(tab, tmp_path):
    """More entries than a browser reads at once, folders in folders, and an empty one."""
    folder = tmp_path / "Photos"
    for number in range(130):
        new_file(folder, f"{number:03}.jpg", 100 + number, seed=number)
    new_file(folder, "2025/May/deep.txt", 10)
    (folder / "2025" / "empty").mkdir()

    tab.drop(folder, new_file(tmp_path, "beside.txt", 5))
    tab.wait_for_uploads("132 files uploaded")

    # Folders that were made for the upload arrive as news, like everybody else's.
    expect(tab.row("Photos")).to_be_visible()
    expect(tab.row("beside.txt")).to_be_visible()
    tab.row("Photos").get_by_role("link").click()
    # The first hundred are in the page; the rest comes when the end is in sight.
    tab.page.locator("#more").scroll_into_view_if_needed()
    tab.wait_until(lambda: len(tab.names()) == 131, seconds=10, what="all rows of the folder")
    assert tab.names() == ["2025", *(f"{number:03}.jpg" for number in range(130))]
    tab.row("2025").get_by_role("link").click()
    expect(tab.row("empty")).to_be_visible()
    tab.row("May").get_by_role("link").click()
    expect(tab.row("deep.txt")).to_be_visible()


def test_a_file_dropped_on_a_folder_goes_into_it(tab, tmp_path):
    page = tab.page
    page.get_by_role("button", name="New", exact=True).click()
    page.get_by_role("menuitem", name="New folder").click()
    page.keyboard.press("Enter")
    expect(tab.row("New folder")).to_be_visible()

    tab.drop(new_file(tmp_path, "inside.txt", 10), on=tab.row("New folder"))
    tab.wait_for_uploads("1 file uploaded")

    assert tab.names() == ["New folder"]
    tab.row("New folder").get_by_role("link").click()
    expect(tab.row("inside.txt")).to_be_visible()


def test_a_dropped_folder_that_cannot_be_made_is_not_lost_in_silence(tab, tmp_path):
    tab.upload(new_file(tmp_path, "Photos", 10))
    tab.wait_for_uploads("1 file uploaded")
    empty = tmp_path / "drop" / "Photos"
    empty.mkdir(parents=True)

    tab.drop(empty)

    tab.wait_for_uploads("1 file uploaded · 1 failed")
    expect(tab.page.locator(".tray")).to_contain_text("The folder could not be made")


def test_what_is_there_already_is_not_sent_again(tab, windows, person, tmp_path):
    first = new_file(tmp_path, "one.bin", 5_000_000)
    second = new_file(tmp_path, "two.bin", 5_000_000)
    tab.upload(first)
    tab.wait_for_uploads("1 file uploaded")
    again = windows()
    other = again.tab().sign_in(person).wait_until_live()

    other.upload(second)
    other.wait_for_uploads("1 file uploaded")

    assert again.sent_paths == []
    expect(other.page.get_by_text("5.0 MB already here, not sent")).to_be_visible()
    expect(other.page.get_by_text("Already here, nothing sent")).to_be_visible()


def test_a_byte_in_front_costs_a_block_and_not_the_file(tab, windows, person, tmp_path):
    path = new_file(tmp_path, "large.bin", 24_000_000)
    tab.upload(path)
    tab.wait_for_uploads("1 file uploaded")
    path.write_bytes(b"!" + path.read_bytes())
    again = windows()
    other = again.tab().sign_in(person).wait_until_live()

    other.upload(path)
    other.page.get_by_role("button", name="Go on").click()
    other.wait_for_uploads("1 file uploaded")

    assert 1 <= len(again.sent_paths) <= 3
    with other.page.expect_download() as download:
        other.act("large.bin", "Download")
    assert download.value.path().read_bytes() == path.read_bytes()
    other.act("large.bin", "Versions…")
    expect(other.page.get_by_role("dialog").get_by_role("listitem")).to_have_count(2)
    other.page.get_by_role("button", name="Restore").click()
    expect(other.page.get_by_role("dialog").get_by_text("is again as it was")).to_be_visible()
    expect(other.row("large.bin")).to_contain_text("24 MB")


def test_over_plain_http_everything_works_without_webcrypto(server, windows, person, tmp_path):
    own = windows(plain_url(server))
    tab = own.tab().sign_in(person).wait_until_live()
    assert tab.run("() => crypto.subtle === undefined && !isSecureContext")
    small, large = new_file(tmp_path, "small.txt", 900), new_file(tmp_path, "large.bin", 3_000_000)

    tab.upload(small, large)
    tab.wait_for_uploads("2 files uploaded")

    for path in (small, large):
        with tab.page.expect_download() as download:
            tab.act(path.name, "Download")
        assert download.value.path().read_bytes() == path.read_bytes()
    tab.act("small.txt", "Share by link…")
    tab.page.get_by_role("button", name="Create link").click()
    tab.page.get_by_role("button", name="Copy link").click()
    expect(tab.page.get_by_role("button", name="Copied")).to_be_visible()
    # Such browsers say on each page that a further protection needs https.
    own.forgive("Cross-Origin-Opener-Policy")


def test_an_upload_outlives_the_server(server, windows, person, tmp_path):
    own = windows()
    tab = own.tab().sign_in(person).wait_until_live()
    path = new_file(tmp_path, "large.bin", 40_000_000)

    tab.upload(path)
    tab.wait_until(lambda: len(own.sent_paths) > 3, seconds=20, what="the first blocks")
    os.kill(server.parts()["web"], signal.SIGKILL)

    tab.wait_for_uploads("1 file uploaded", seconds=90)
    tab.wait_until_live()
    with tab.page.expect_download() as download:
        tab.act("large.bin", "Download")
    assert download.value.path().read_bytes() == path.read_bytes()
    # What the browser says of a server that is away.
    for words in ("ERR_", "WebSocket", "Failed to load resource"):
        own.forgive(words)


def test_cancelled_and_refused_uploads_say_so_and_can_be_tried_again(server, windows, tmp_path):
    email = f"{uuid4()}@example.com"
    server.create_user(email, "--quota", "1000000")
    own = windows()
    tab = own.tab().sign_in(email).wait_until_live()

    tab.upload(new_file(tmp_path, "too-large.bin", 2_000_000), new_file(tmp_path, "fits.txt", 10))
    tab.wait_for_uploads("1 file uploaded · 1 failed")

    tray = tab.page.locator(".tray")
    expect(tray).to_contain_text("not enough storage")
    expect(tray).to_contain_text("Delete something for ever")
    expect(tab.row("fits.txt")).to_be_visible()
    tray.get_by_role("button", name="Try too-large.bin again").click()
    tab.wait_for_uploads("1 file uploaded · 1 failed")


def test_a_name_that_means_harm_does_none(tab, tmp_path):
    page = tab.page
    names = [
        '<img src=x onerror=alert(1)> "&\u202etxt.exe',
        "two\nlines {count} {name}.txt",
        "ä" * 125 + ".txt",
    ]
    tab.upload(*(new_file(tmp_path, name, 10) for name in names))
    tab.wait_for_uploads("3 files uploaded")
    page.get_by_role("button", name="Close", exact=True).click()
    assert len(names[2].encode()) == 254

    for view in ("list", "grid"):
        tab.open(f"/?view={view}").wait_until_live()
        assert sorted(tab.names()) == sorted(names)
        heights = {round(row.bounding_box()["height"]) for row in page.locator("#list .row").all()}
        assert len(heights) == 1
        assert tab.run("() => document.documentElement.scrollWidth <= innerWidth")
    page.locator("#list .row").first.focus()
    page.keyboard.press("i")
    for name in names:
        link = page.locator(".name-link").filter(has_text=name[:3])
        page.locator("#list .row").filter(has=link).focus()
        details = page.get_by_role("complementary", name="Details")
        expect(details.get_by_role("heading").nth(1)).to_contain_text(name[:3])
    assert page.locator("img").count() == 0
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    expect(tab.toast("3 items moved to the trash")).to_be_visible()
    tab.open("/trash").wait_until_live()
    assert sorted(tab.names()) == sorted(names)
    assert page.locator("img").count() == 0


def test_the_browser_cuts_and_hashes_like_every_client(tab):
    """The golden vectors, through the Worker that the pages use."""
    script = """async (vectors) => {
      const { Hashers } = await import("/static/js/hashing.js");
      const hashers = new Hashers("/static/js/worker.js");
      const { signal } = new AbortController();
      const answers = [];
      for (const { source } of vectors) {
        let bytes = new Uint8Array(source.size_bytes);
        if (source.kind === "xorshift32") {
          const words = new Uint32Array(Math.ceil(source.size_bytes / 4));
          let state = source.seed;
          for (let at = 0; at < words.length; at++) {
            state ^= state << 13;
            state ^= state >>> 17;
            state ^= state << 5;
            words[at] = state;
          }
          bytes = new Uint8Array(words.buffer).subarray(0, source.size_bytes);
        }
        let parts = [bytes];
        for (const { offset, hex } of source.inserts ?? []) {
          const more = Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
          parts = [bytes.subarray(0, offset), more, bytes.subarray(offset)];
        }
        answers.push(await hashers.blocksOf(new File(parts, "vector"), { signal }));
      }
      return answers;
    }"""
    vectors = json.loads(VECTORS.read_text())["vectors"]

    answers = tab.run(script, vectors)

    for vector, answer in zip(vectors, answers, strict=True):
        ends = list(itertools.accumulate(block["size_bytes"] for block in answer["blocks"]))
        assert ends == vector["cuts"], vector["name"]
        hashes = [block["block_hash"] for block in answer["blocks"]]
        assert hashes == vector["block_hashes"], vector["name"]
        assert answer["content_hash"] == vector["content_hash"], vector["name"]


def test_the_own_sha256_is_sha256_whatever_the_pieces(tab):
    script = """async (lengths) => {
      const { Sha256 } = await import("/static/js/sha256.js");
      return lengths.map((length) => {
        const bytes = Uint8Array.from({ length }, (_, at) => (at * 7 + length) % 256);
        const hash = new Sha256();
        for (let at = 0, step = 1; at < length; at += step, step = (step * 3) % 101 + 1) {
          hash.update(bytes.subarray(at, at + step));
        }
        return hash.hex();
      });
    }"""
    lengths = [*range(130), 1_000, 65_537]

    assert tab.run(script, lengths) == [
        hashlib.sha256(bytes((at * 7 + length) % 256 for at in range(length))).hexdigest()
        for length in lengths
    ]


def test_the_script_and_the_server_use_the_same_words_and_order(tab):
    from datetime import UTC, datetime, timedelta

    from files.names import name_key
    from files.web import words

    sizes = [0, 1, 999, 1000, 1250, 9949, 9950, 84_000, 999_499, 999_500, 2_100_000, 10**12, 10**18]
    now = datetime(2026, 5, 20, 12, 0, tzinfo=UTC)
    spans = [-5, 0, 59, 60, 3599, 3600, 86_399, 86_400, 172_800, 604_799, 604_800, 90_000_000]
    names = [
        "b",
        "A",
        "a",
        "é",
        "e\u0301",
        "Maße",
        "Masse",
        "ß",
        "Z",
        "10",
        "9",
        "İ",
        "😀",
        "\uffff",
    ]
    script = """async ({ sizes, now, spans, names }) => {
      const format = await import("/static/js/format.js");
      const { compareNames } = await import("/static/js/list.js");
      const at = (span) => new Date(now + span * 1000);
      return {
        sizes: sizes.map(format.size),
        ago: spans.map((span) => format.ago(at(-span), at(0))),
        ahead: spans.map((span) => format.ahead(at(span), at(0))),
        names: [...names].sort(compareNames),
      };
    }"""

    said = tab.run(
        script,
        {"sizes": sizes, "now": now.timestamp() * 1000, "spans": spans, "names": names},
    )

    assert said["sizes"] == [words.size(size) for size in sizes]
    moments = [timedelta(seconds=span) for span in spans]
    assert said["ago"] == [words.ago(now - span, now) for span in moments]
    assert said["ahead"] == [words.ahead(now + span, now) for span in moments]
    assert [name_key(name) for name in said["names"]] == sorted(map(name_key, names))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_keeps_anybody_out(server, windows, tmp_path, scheme, width):
    """axe, with no rule switched off, and no page wider than its window, down to 320 pixels."""
    email = f"{uuid4()}@example.com"
    server.create_user(email, "--admin", "--quota", "5000000")
    own = windows(color_scheme=scheme, viewport={"width": width, "height": 800})
    tab = own.tab()
    findings = {}

    def look(name: str, *, is_resizable: bool = True) -> None:
        # What moves in has arrived by then; half-transparent text has no contrast.
        tab.page.wait_for_timeout(300)
        findings[name] = findings_of(tab.page)
        for narrow in (320, width) if width < 640 and is_resizable else (width,):
            tab.page.set_viewport_size({"width": narrow, "height": 800})
            assert tab.run("() => document.documentElement.scrollWidth <= innerWidth"), name

    tab.open("/accounts/login/")
    look("sign in")
    tab.sign_in(email).wait_until_live()
    look("empty folder")
    tab.upload(
        new_file(tmp_path, "a.txt", 10),
        new_file(tmp_path, "a rather long name, as photographs of holidays have them.jpg", 2_000),
        new_file(tmp_path, "too-large.bin", 6_000_000),
    )
    tab.wait_for_uploads("2 files uploaded · 1 failed")
    look("folder with tray")
    tab.page.get_by_role("button", name="Close", exact=True).click()
    tab.row("a.txt").locator(".row-menu").click()
    # A menu closes when the window changes.
    look("menu", is_resizable=False)
    tab.page.get_by_role("menuitem", name="Move…").click()
    look("move")
    tab.page.keyboard.press("Escape")
    tab.act("a.txt", "Versions…")
    look("versions")
    tab.page.keyboard.press("Escape")
    tab.act("a.txt", "Share by link…")
    tab.page.get_by_role("button", name="Create link").click()
    link = tab.page.get_by_label("The new link").input_value()
    look("share")
    tab.page.keyboard.press("Escape")
    tab.act("a.txt", "Rename")
    look("rename")
    tab.page.keyboard.press("Escape")
    tab.page.keyboard.press("i")
    expect(tab.page.get_by_role("complementary", name="Details")).to_contain_text("added a.txt")
    look("details")
    tab.page.get_by_role("button", name="Close the details").click()
    tab.row("a.txt").focus()
    tab.page.keyboard.press("?")
    look("keys")
    tab.page.keyboard.press("Escape")
    tab.page.keyboard.press("Control+a")
    tab.page.keyboard.press("g")
    look("selection in the grid")
    tab.page.keyboard.press("g")
    tab.page.keyboard.press("Escape")
    long_name = "a rather long name, as photographs of holidays have them.jpg"
    tab.act(long_name, "Delete")
    expect(tab.toast("moved to the trash")).to_be_visible()
    look("toast")
    tab.open("/trash")
    look("trash")
    tab.act(long_name, "Delete for ever…")
    look("delete for ever")
    for path in ("/activity", "/devices", "/account", "/dashboard/", "/accounts/password/change/"):
        tab.open(path)
        look(path)
    tab.page.goto(link)
    look("link")
    tab.page.goto(link + "x")
    look("dead link")
    own.forgive("404")

    found = [f"{name}: {finding}" for name, many in findings.items() for finding in many]
    assert not found, "\n".join(found)
