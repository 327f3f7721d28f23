"""The pages of a signed-in person: what they show, to whom, and that they are strict."""

import re
from datetime import timedelta
from html import unescape
from uuid import uuid4

import pytest
from django.conf import settings
from django.test import override_settings
from django.urls import reverse
from django.utils import timezone

from files import queries
from files.models import DeviceKind, UserDevice
from files.services import devices
from files.services.deletions import delete_file, delete_folder
from files.services.folders import create_folder
from files.web import icons
from files.web.accounts import browser_name
from tests.files.trees import put_file
from tests.files.uploading import Uploader
from tests.people import PASSWORD

PAGES = ["/", "/trash", "/activity", "/devices", "/account"]
HOSTILE = "<script>alert(1)</script>\"'&\u202etxt.exe"


def new_folder(device, name, parent=None):
    parent = parent or queries.own_root(device.user)
    return create_folder(device=device, parent_folder_id=parent.pk, name=name).folder


def names_on(page):
    return [unescape(name) for name in re.findall(r'data-name="([^"]*)"', page.content.decode())]


@pytest.mark.parametrize("path", [*PAGES, "/dashboard/"])
def test_whoever_has_not_signed_in_is_sent_to_do_so(browser, path):
    answer = browser(None).get(path)

    assert answer.status_code == 302
    assert answer["Location"] == f"{reverse('account_login')}?next={path}"


def test_a_person_signs_in_with_the_right_password_and_out_again(browser, alice):
    tab = browser(None)
    form = {"login": "ALICE@example.com", "password": PASSWORD, "next": "/trash"}

    wrong = tab.post("/accounts/login/", {**form, "password": "wrong"})
    right = tab.post("/accounts/login/", form)

    assert wrong.status_code == 200
    assert "not correct" in wrong.content.decode()
    assert right["Location"] == "/trash"
    assert UserDevice.objects.get(user=alice).name == "Firefox on Linux"
    tab.post("/accounts/logout/")
    assert tab.get("/").status_code == 302


def test_a_page_is_in_one_language_whatever_the_browser_asks_for(browser):
    form = {"login": "nobody@example.com", "password": "wrong"}
    answer = browser(None).post("/accounts/login/", form, headers={"accept-language": "de"})

    assert answer["Content-Language"] == "en"
    assert '<html lang="en"' in answer.content.decode()
    assert "not correct" in answer.content.decode()


def test_a_password_is_changed_on_a_page_of_its_own(browser, alice):
    tab = browser(alice)
    form = {"oldpassword": PASSWORD, "password1": "a new one, long", "password2": "a new one, long"}

    refused = tab.post("/accounts/password/change/", {**form, "oldpassword": "wrong"})
    done = tab.post("/accounts/password/change/", form, follow=True)

    assert "current password" in refused.content.decode()
    assert "Your password has been changed" in done.content.decode()
    alice.refresh_from_db()
    assert alice.check_password("a new one, long")


def test_nobody_can_make_an_account_for_themselves(browser):
    tab = browser(None)
    tab.post("/accounts/signup/", {"email": "eve@example.com", "password1": "x", "password2": "x"})

    page = tab.get("/accounts/signup/")

    assert "made by an administrator" in page.content.decode()


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_strict_and_is_not_kept(browser, alice, path):
    answer = browser(alice).get(path)
    page = answer.content.decode()

    assert answer.status_code == 200
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    assert "unsafe" not in answer["Content-Security-Policy"]
    assert "no-store" in answer["Cache-Control"]
    # What the policy forbids is not there either: no inline script, style or handler.
    assert not re.search(r"<script(?![^>]*\b(src|type=\"application/json\"))", page)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=", page)
    assert not re.search(r"(src|href)=\"(https?:)?//", page)


def test_a_folder_shows_folders_then_files_in_the_order_of_names(browser, alice, laptop):
    root = queries.own_root(alice)
    put_file(laptop, root.pk, "b.txt")
    put_file(laptop, root.pk, "A.txt")
    new_folder(laptop, "Zoo")

    page = browser(alice).get("/")

    assert names_on(page) == ["Zoo", "A.txt", "b.txt"]


def test_the_address_says_how_the_list_is_sorted(browser, alice, laptop):
    root = queries.own_root(alice)
    for name, size_bytes in (("a", 3), ("b", 1), ("c", 2)):
        put_file(laptop, root.pk, name, size_bytes=size_bytes)

    page = browser(alice).get("/?sort=size&order=desc")

    assert names_on(page) == ["a", "c", "b"]
    assert 'aria-sort="descending"' in page.content.decode()
    assert browser(alice).get("/?sort=nonsense&order=x").status_code == 200


def test_the_first_hundred_rows_are_in_the_page_and_the_rest_is_for_the_script(
    browser, alice, laptop, django_assert_max_num_queries
):
    root = queries.own_root(alice)
    for number in range(101):
        put_file(laptop, root.pk, f"{number:03}.txt")
    tab = browser(alice)
    tab.get("/")

    with django_assert_max_num_queries(14):
        page = tab.get("/")

    assert names_on(page) == [f"{number:03}.txt" for number in range(100)]
    cursor = re.search(r'data-next="([^"]+)"', page.content.decode())
    assert cursor is not None
    rest = tab.get(f"/api/v1/folders/{root.pk}/children?cursor={cursor[1]}").json()
    assert [item["name"] for item in rest["items"]] == ["100.txt"]


def test_the_path_leads_back_to_the_root(browser, alice, laptop):
    inner = new_folder(laptop, "Inner", new_folder(laptop, "Outer"))

    page = browser(alice).get(f"/folders/{inner.pk}").content.decode()

    assert "<bdi>Outer</bdi></a>" in page
    assert "<bdi>Inner</bdi></h1>" in page
    assert "My files</a>" in page


def test_a_name_is_only_ever_text(browser, alice, laptop):
    root = queries.own_root(alice)
    put_file(laptop, root.pk, HOSTILE.replace("/", "∕"))
    folder = new_folder(laptop, HOSTILE.replace("/", "⁄"))

    for path in ("/", f"/folders/{folder.pk}"):
        page = browser(alice).get(path)
        assert b"<script>alert" not in page.content
    assert HOSTILE.replace("/", "∕") in names_on(browser(alice).get("/"))


def test_a_strangers_folder_is_not_there(browser, alice, laptop, mallory):
    folder = new_folder(laptop, "Private")
    trashed = new_folder(laptop, "Trashed")
    delete_folder(device=laptop, folder_id=trashed.pk, rev=trashed.rev)

    answer = browser(mallory).get(f"/folders/{folder.pk}")

    assert answer.status_code == 404
    assert b"Private" not in answer.content
    assert browser(alice).get(f"/folders/{folder.pk}").status_code == 200
    assert browser(alice).get(f"/folders/{trashed.pk}").status_code == 404


def test_the_trash_says_where_a_thing_was_and_how_long_it_stays(browser, alice, laptop, mallory):
    folder = new_folder(laptop, "Projects")
    file = put_file(laptop, folder.pk, "old.txt")
    delete_file(device=laptop, file_id=file.pk, rev=file.rev)

    page = browser(alice).get("/trash").content.decode()

    assert "old.txt" in page
    assert "/Projects" in page
    assert "in 30 days" in page
    assert b"old.txt" not in browser(mallory).get("/trash").content
    assert browser(alice).get("/trash?cursor=nonsense").status_code == 400


def test_the_devices_of_a_person_are_listed_for_them_alone(browser, alice, laptop, stranger):
    tab = browser(alice)

    page = tab.get("/devices").content.decode()

    assert "laptop" in page
    assert "this browser" in page
    assert "stranger" not in page


def test_a_browser_that_was_signed_out_from_elsewhere_sees_nothing_more(browser, alice):
    tab = browser(alice)
    tab.get("/")
    device = UserDevice.objects.get(user=alice, kind=DeviceKind.BROWSER)

    devices.revoke_device(user=alice, device_id=device.pk)

    assert tab.get("/").status_code == 302
    assert tab.get("/api/v1/account").status_code == 401


def test_the_storage_bar_shows_what_is_used_of_the_quota(browser, alice, laptop):
    alice.storage_account.limit_bytes = 5_000_000
    alice.storage_account.save()
    put_file(laptop, queries.own_root(alice).pk, "film.mkv", size_bytes=2_500_000)

    page = browser(alice).get("/account").content.decode()

    assert "2.5 MB of 5.0 MB used" in page
    assert 'value="2500000"' in page


def test_a_theme_that_was_chosen_is_in_the_first_byte_of_the_page(browser, alice):
    tab = browser(alice)
    assert b"data-theme" not in tab.get("/").content.partition(b">")[2][:100]

    tab.cookies["theme"] = "dark"
    assert b'data-theme="dark"' in tab.get("/").content[:200]
    tab.cookies["theme"] = '"><script>'
    assert b"data-theme" not in tab.get("/").content[:200]


def test_the_sprite_has_every_icon_and_may_be_kept_for_ever(client):
    answer = client.get(reverse("web:icons"))

    assert answer["Content-Type"] == "image/svg+xml"
    assert "immutable" in answer["Cache-Control"]
    assert all(f'id="i-{name}"'.encode() in answer.content for name in icons.NAMES)


def test_every_icon_that_the_pages_ask_for_is_in_the_sprite():
    asked = set()
    for folder, pattern in (
        ("templates", r'{% icon "([a-z0-9-]+)"'),
        ("static/js", r'\bicon\("([a-z0-9-]+)"|\bicon: "([a-z0-9-]+)"'),
    ):
        for path in (settings.BASE_DIR / folder).rglob("*.*"):
            for found in re.findall(pattern, path.read_text()):
                asked |= {found} if isinstance(found, str) else set(found)
    assert asked - {""} <= set(icons.NAMES)
    assert len(asked) > 20


def test_what_is_not_there_is_said_in_the_look_of_the_pages(browser, alice):
    answer = browser(alice).get("/no/such/page")

    assert answer.status_code == 404
    assert b"There is nothing here" in answer.content


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0 Safari/537.36",
         "Chrome on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/156.0 Safari/537.36 Edg/156.0",
         "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Safari/604.1",
         "Safari on iOS"),
        ("curl/8.5", "Browser"),
        ("", "Browser"),
    ],
)  # fmt: skip
def test_a_browser_is_called_what_it_says_of_itself(user_agent, name):
    assert browser_name(user_agent) == name


@override_settings(TRASH_RETENTION=timedelta(days=3))
def test_the_empty_trash_says_how_long_things_stay(browser, alice):
    assert b"for 3 days" in browser(alice).get("/trash").content


def test_times_are_relative_and_exact_on_request(browser, alice, laptop):
    file = put_file(laptop, queries.own_root(alice).pk, "a.txt")
    moment = timezone.now() - timedelta(hours=5)
    type(file).objects.filter(pk=file.pk).update(modified_at=moment)

    page = browser(alice).get("/").content.decode()

    assert "5 h ago" in page
    assert f'title="{moment:%A, %d %B %Y, %H:%M:%S} UTC"' in page


def sentences(page):
    """What the activity page says, a line for each happening, without its marks."""
    lines = re.findall(r'<div class="what">(.*?)</div>', page.content.decode(), re.DOTALL)
    return [" ".join(unescape(re.sub(r"<[^>]*>", " ", line)).split()) for line in lines]


def test_activity_is_told_in_sentences_and_narrowed_by_its_links(browser, alice, laptop, phone):
    tab, root = browser(alice), queries.own_root(alice)
    hostile = HOSTILE.replace("</script>", "<b>")
    assert "Nothing has happened here yet" in tab.get("/activity").content.decode()
    album = new_folder(laptop, "Album")
    for number in range(7):
        put_file(laptop, album.pk, f"{number}.jpg")
    file = put_file(phone, root.pk, hostile)
    delete_file(device=phone, file_id=file.pk, rev=file.rev)

    page = tab.get("/activity")
    assert sentences(page) == [
        f"phone moved {hostile} to the trash",
        f"phone added {hostile}",
        "laptop added 7 items",
        "laptop added Album",
    ]
    text = page.content.decode()
    assert "6.jpg</bdi>, <bdi>5.jpg" in text
    assert "and 2 more" in text
    assert "<script>alert" not in text
    assert sentences(tab.get(f"/activity?folder={album.pk}")) == [
        "laptop added 7 items",
        "laptop added Album",
    ]
    assert len(sentences(tab.get(f"/activity?device={phone.pk}"))) == 2
    assert len(sentences(tab.get(f"/activity?file={file.pk}"))) == 2
    for wrong in ("folder=x", f"folder={file.pk}", "device=1"):
        assert tab.get(f"/activity?{wrong}").status_code == 404


def test_activity_comes_in_pages_that_stay_narrowed(browser, alice, laptop):
    root = queries.own_root(alice)
    for number in range(101):
        put_file(laptop, root.pk, f"{number}")
    tab = browser(alice)

    first = tab.get(f"/activity?device={laptop.pk}")
    [older] = re.findall(r'href="(\?device=[^"]*cursor=[^"]*)"', first.content.decode())
    assert sentences(first) == ["laptop added 100 items"]
    assert sentences(tab.get(f"/activity{unescape(older)}")) == ["laptop added 0"]


def test_a_strangers_activity_is_not_there(browser, mallory, alice, laptop):
    album = new_folder(laptop, "Album")
    tab = browser(mallory)
    assert sentences(tab.get("/activity")) == []
    assert sentences(tab.get(f"/activity?device={laptop.pk}")) == []
    assert tab.get(f"/activity?folder={album.pk}").status_code == 404


def test_the_account_tells_what_fills_its_storage(browser, alice, laptop):
    root, on_laptop = queries.own_root(alice), Uploader(laptop)
    block = bytes(range(256)) * 1_000
    file = on_laptop.put(block, name="a.bin")["file"]
    on_laptop.edit(file, block + b"more")
    on_laptop.put(block, name="again.bin")
    album = new_folder(laptop, "Album")
    on_laptop.put(b"x" * 1_000, name="b.bin", parent_folder_id=str(album.pk))
    on_laptop.put(b"y" * 500, name="c.bin", parent_folder_id=str(root.pk))
    delete_folder(device=laptop, folder_id=album.pk, rev=album.rev)

    text = browser(alice).get("/account").content.decode()
    parts = [int(found.replace(",", "")) for found in re.findall(r'title="([\d,]+) bytes"', text)]
    # After the sum: what is shown, older versions, the trash, what is stored once for two.
    assert parts[-4:] == [2 * 256_000 + 4 + 500, 256_000, 1_000, 256_000]
    assert parts[-5] == sum(parts[-4:-1])


def test_the_details_of_an_item_are_a_part_of_a_page(browser, alice, laptop, mallory):
    folder = new_folder(laptop, "<b>Projects")
    file = put_file(laptop, folder.pk, "a.txt", size_bytes=2_100_000)

    of_file = browser(alice).get(f"/details/{file.pk}")
    of_folder = browser(alice).get(f"/details/{folder.pk}").content.decode()

    text = of_file.content.decode()
    for part in ("2.1 MB", "Text", "&lt;b&gt;Projects", "added <bdi>a.txt</bdi>", "My files"):
        assert part in text
    assert "<html" not in text
    assert "no-store" in of_file["Cache-Control"]
    assert "a.txt" in of_folder
    for path in (f"/details/{file.pk}", f"/details/{folder.pk}", f"/details/{uuid4()}"):
        assert browser(mallory).get(path).status_code == 404
    assert browser(None).get(f"/details/{file.pk}").status_code == 302
