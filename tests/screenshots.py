"""`make screenshots`: every page in both themes, wide and narrow, as somebody sees it.

    python -m tests.screenshots [FOLDER]

Starts a server of its own with somebody's files in it, and looks at each page with a real
Chromium. The pictures of README and docs (`PUBLISHED`) are among them: they go to docs/images.
Ends with exit 1 where a page complained in the browser's log.
"""

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from playwright.sync_api import Browser, StorageState, expect, sync_playwright

from tests.journeys.browser import Tab, new_file, start_browser, window
from tests.services.drive import PASSWORD, RunningDrive

EMAIL = "ana@example.org"
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
WIDTHS = (1280, 390)
IMAGES = Path(__file__).parent.parent / "docs" / "images"
# What README and docs show.
PUBLISHED = ("folder-light-1280", "folder-dark-1280", "folder-light-390", "activity-dark-1280")
# What moves in has arrived by then.
SETTLED_MS = 400

FILES = {
    "Annual report.odt": 184_000,
    "Budget 2027.xlsx": 61_000,
    "Floor plan.pdf": 2_400_000,
    "Interview with Zoë.mp3": 8_100_000,
    "Letter to the landlord.txt": 3_400,
    "Moving day.mp4": 24_000_000,
    "notes.md": 1_200,
    "sync.py": 9_800,
}
FOLDERS = {"Design": 4, "Invoices": 12, "Photos": 30}


class Scene(NamedTuple):
    """A picture: how to come there, from a signed-in tab at the root folder."""

    name: str
    come: Callable[[Tab], object]


def scenes(link: str, folder_link: str) -> list[Scene]:
    """All pages, and the dialogs over the list."""

    def page(path: str) -> Callable[[Tab], object]:
        return lambda tab: tab.open(path)

    def acting(name: str, action: str) -> Callable[[Tab], object]:
        return lambda tab: tab.act(name, action)

    return [
        Scene("folder", lambda tab: None),
        Scene("menu", lambda tab: tab.row("notes.md").locator(".row-menu").click()),
        Scene("keys", lambda tab: tab.page.keyboard.press("?")),
        Scene("move", acting("notes.md", "Move…")),
        Scene("share", acting("Floor plan.pdf", "Share by link…")),
        Scene("versions", acting("notes.md", "Versions…")),
        Scene("trash", page("/trash")),
        Scene("activity", page("/activity")),
        Scene("devices", page("/devices")),
        Scene("account", page("/account")),
        Scene("password", page("/accounts/password/change/")),
        Scene("dashboard", page("/dashboard/")),
        Scene("link-to-a-file", lambda tab: tab.page.goto(link)),
        Scene("link-to-a-folder", lambda tab: tab.page.goto(folder_link)),
        Scene("dead-link", lambda tab: tab.page.goto(f"{link}x")),
        Scene("not-found", page("/nowhere")),
    ]


def make_files(tab: Tab, folder: Path) -> tuple[str, str]:
    """Somebody's drive; a link to a file and one to a folder."""
    for name, size_bytes in FILES.items():
        new_file(folder, name, size_bytes, seed=len(name))
    uploaded = 0
    for name, count in FOLDERS.items():
        for number in range(count):
            new_file(folder / name, f"{name[:-1]} {number + 1:02}.jpg", 2_000, seed=number)
        tab.drop(folder / name)
        uploaded += count
        tab.wait_for_uploads(f"{uploaded} files uploaded", seconds=120)
    tab.upload(*(folder / name for name in FILES))
    uploaded += len(FILES)
    tab.wait_for_uploads(f"{uploaded} files uploaded", seconds=120)
    for text in (b"# To do\n", b"# To do\n- pack\n- paint\n"):
        (folder / "notes.md").write_bytes(text)
        tab.upload(folder / "notes.md")
        tab.page.get_by_role("button", name="Go on").click()
        uploaded += 1
        tab.wait_for_uploads(f"{uploaded} files uploaded")
    tab.open().wait_until_live()
    tab.upload(new_file(folder, "Old list.txt", 900))
    expect(tab.row("Old list.txt")).to_be_visible()
    tab.act("Old list.txt", "Delete")
    expect(tab.row("Old list.txt")).to_have_count(0)
    return link_to(tab, "Floor plan.pdf"), link_to(tab, "Photos")


def link_to(tab: Tab, name: str) -> str:
    tab.act(name, "Share by link…")
    tab.page.get_by_role("button", name="Create link").click()
    link = tab.page.get_by_label("The new link").input_value()
    tab.page.keyboard.press("Escape")
    return link


@contextmanager
def looking(
    browser: Browser, url: str, theme: str, width: int, state: StorageState | None
) -> Iterator[Tab]:
    with window(
        browser,
        url,
        color_scheme=theme,
        viewport={"width": width, "height": 800},
        storage_state=state,
        locale="en-GB",
    ) as own:
        yield own.tab()
        # What a browser says of pages that are not there, and of blocks that are there already.
        own.forgive("404")
        own.forgive("412")


def take(tab: Tab, folder: Path, name: str) -> None:
    tab.page.wait_for_timeout(SETTLED_MS)
    tab.page.screenshot(path=folder / f"{name}.png")


def main() -> None:
    """Take all pictures and publish some."""
    options = argparse.ArgumentParser(prog="python -m tests.screenshots")
    options.add_argument("folder", nargs="?", type=Path, default=Path("var/screenshots"))
    target: Path = options.parse_args().folder
    target.mkdir(parents=True, exist_ok=True)
    random.seed(1)
    with (
        tempfile.TemporaryDirectory(prefix="drive-pictures-") as name,
        RunningDrive(Path(name) / "server") as server,
        sync_playwright() as playwright,
    ):
        browser = start_browser(playwright)
        assert server.setup_link is not None
        for theme in THEMES:
            for width in WIDTHS:
                with looking(browser, server.url, theme, width, None) as tab:
                    tab.page.goto(server.setup_link)
                    take(tab, target, f"setup-{theme}-{width}")
                    tab.open("/accounts/login/")
                    take(tab, target, f"sign-in-{theme}-{width}")
        with looking(browser, server.url, "light", 1280, None) as tab:
            set_up(tab, server.setup_link)
            for theme in THEMES:
                tab.page.emulate_media(color_scheme=theme)
                take(tab, target, f"empty-{theme}-1280")
            link, folder_link = make_files(tab, Path(name) / "files")
            state = tab.page.context.storage_state()
        for theme in THEMES:
            for width in WIDTHS:
                with looking(browser, server.url, theme, width, state) as tab:
                    for scene in scenes(link, folder_link):
                        tab.open().wait_until_live()
                        scene.come(tab)
                        take(tab, target, f"{scene.name}-{theme}-{width}")
        browser.close()
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name in PUBLISHED:
        shutil.copy(target / f"{name}.png", IMAGES)
    sys.stderr.write(f"{len(list(target.glob('*.png')))} pictures in {target}\n")


def set_up(tab: Tab, link: str) -> None:
    """As the first administrator, whose drive is empty then."""
    tab.page.goto(link)
    tab.page.get_by_label("E-mail address").fill(EMAIL)
    tab.page.get_by_label("Password", exact=True).fill(PASSWORD)
    tab.page.get_by_label("Password again").fill(PASSWORD)
    tab.page.get_by_role("button", name="Create administrator").click()
    expect(tab.page.get_by_role("heading", name="Your drive is empty")).to_be_visible()
    tab.wait_until_live()


if __name__ == "__main__":
    main()
