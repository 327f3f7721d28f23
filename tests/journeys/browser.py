"""A real Chromium that looks at a real server, and writes down whatever it complains about."""

import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Playwright, expect

from tests.services.drive import PASSWORD, RunningDrive

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# A name that is not this machine to a browser: no WebCrypto, no clipboard there.
PLAIN_HOST = "lan.test"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--host-resolver-rules=MAP {PLAIN_HOST} 127.0.0.1",
]
# Tells the page's own log what the policy has kept from it.
REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`);
});
"""


def start_browser(playwright: Playwright) -> Browser:
    """The Chromium on PATH, else the one that Playwright has downloaded."""
    program = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    return playwright.chromium.launch(executable_path=program, args=ARGUMENTS)


def findings_of(page: Page) -> list[tuple[str, list[str]]]:
    """What axe finds on the page, with no rule switched off: rules, and the elements of each."""
    violations = Axe().run(page).response["violations"]
    return [(each["id"], [node["html"] for node in each["nodes"]]) for each in violations]


class Tab:
    """A page, with the words for what a person does on it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url

    def open(self, path: str = "/") -> "Tab":
        self.page.goto(f"{self.url}{path}")
        return self

    def sign_in(self, email: str) -> "Tab":
        self.open("/accounts/login/")
        self.page.get_by_label("E-mail address").fill(email)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(f"{self.url}/")
        return self

    def wait_until_live(self) -> "Tab":
        expect(self.page.locator("#live")).to_have_attribute("data-state", "live")
        return self

    def row(self, name: str) -> Locator:
        link = self.page.locator(".name-link").get_by_text(name, exact=True)
        return self.page.locator(".row").filter(has=link)

    def names(self) -> list[str]:
        return self.page.locator("#list .name-link").all_text_contents()

    def upload(self, *paths: Path) -> None:
        """By the button: choose files."""
        self.page.locator("#choose-files").set_input_files([str(path) for path in paths])

    def drop(self, *paths: Path, on: Locator | None = None) -> None:
        """From outside onto the list or onto something in it, folders too."""
        box = (on or self.page.locator("#main")).bounding_box()
        assert box is not None
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        session = self.page.context.new_cdp_session(self.page)
        for kind in ("dragEnter", "dragOver", "drop"):
            session.send("Input.dispatchDragEvent", {"type": kind, "data": data, **place})
        session.detach()

    def wait_for_uploads(self, text: str, *, seconds: float = 60) -> None:
        """Until the tray says so."""
        expect(self.page.locator("#tray-title")).to_have_text(text, timeout=seconds * 1000)

    def act(self, name: str, action: str) -> None:
        """By the menu of a row."""
        self.row(name).locator(".row-menu").click()
        self.page.get_by_role("menuitem", name=action).click()

    def wait_until(self, holds: Callable[[], object], *, seconds: float, what: str) -> None:
        """Like `wait_until` of the services; what the page does is noticed meanwhile."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
            self.page.wait_for_timeout(20)

    def toast(self, text: str) -> Locator:
        return self.page.locator(".toast").filter(has_text=text)

    def run(self, script: str, argument: Any = None) -> Any:
        return self.page.evaluate(script, argument)


class Window:
    """A browser with a profile of its own, whose complaints fail the test."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self._context = context
        self._url = url
        self.complaints: list[str] = []
        self.sent_paths: list[str] = []

    def tab(self) -> Tab:
        page = self._context.new_page()
        page.on("console", lambda message: self._heard(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        return Tab(page, self._url)

    def watch(self) -> None:
        self._context.on("request", self._asked)

    def _heard(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(f"{kind}: {text}")

    def _asked(self, request: Any) -> None:
        address = urlsplit(request.url)
        if address.scheme in ("data", "blob"):
            return
        if f"{address.scheme}://{address.netloc}" != self._url:
            self.complaints.append(f"left the origin: {request.url}")
        if request.method == "PUT":
            self.sent_paths.append(address.path)

    def forgive(self, words: str) -> None:
        """Forget the complaints that the test has provoked."""
        self.complaints = [said for said in self.complaints if words not in said]


@contextmanager
def window(browser: Browser, url: str, **options: Any) -> Iterator[Window]:
    """A window that must have nothing to complain about in the end."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
    context.add_init_script(REPORT_VIOLATIONS)
    context.set_default_timeout(15_000)
    opened = Window(context, url)
    opened.watch()
    try:
        yield opened
        assert not opened.complaints, "\n".join(opened.complaints)
    finally:
        context.close()


def plain_url(server: RunningDrive) -> str:
    """The server under a name for which browsers offer no WebCrypto."""
    return f"http://{PLAIN_HOST}:{server.port}"


def new_file(folder: Path, name: str, size_bytes: int, seed: int = 1) -> Path:
    """A file of random bytes, the same for the same seed."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(random.Random(seed).randbytes(size_bytes))
    return path
