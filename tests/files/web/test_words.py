"""Sizes and times in words; and that the gear table in the browser is the one of FastCDC."""

from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings

from files.web import gear, words

NOW = datetime(2026, 5, 20, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"), (1, "1 B"), (999, "999 B"), (1000, "1.0 KB"), (1250, "1.3 KB"),
        (9_949, "9.9 KB"), (9_950, "10 KB"), (84_000, "84 KB"), (999_499, "999 KB"),
        (999_500, "1.0 MB"), (2_100_000, "2.1 MB"), (1_200_000_000, "1.2 GB"), (10**18, "1000 PB"),
    ],
)  # fmt: skip
def test_a_size_is_short(size_bytes, text):
    assert words.size(size_bytes) == text


@pytest.mark.parametrize(
    ("passed", "text"),
    [
        (timedelta(seconds=5), "now"),
        (timedelta(seconds=-5), "now"),
        (timedelta(seconds=60), "1 min ago"),
        (timedelta(minutes=59, seconds=59), "59 min ago"),
        (timedelta(hours=23), "23 h ago"),
        (timedelta(hours=30), "yesterday"),
        (timedelta(days=3), "3 days ago"),
        (timedelta(days=7), "13 May 2026"),
        (timedelta(days=-2), "22 May 2026"),
    ],
)
def test_a_time_is_relative_until_it_is_a_week_ago(passed, text):
    assert words.ago(NOW - passed, NOW) == text


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (timedelta(seconds=-1), "now"),
        (timedelta(seconds=90), "in 2 min"),
        (timedelta(hours=5), "in 5 h"),
        (timedelta(hours=25), "in a day"),
        (timedelta(days=30), "in 30 days"),
    ],
)
def test_what_is_to_come_says_how_soon(left, text):
    assert words.ahead(NOW + left, NOW) == text


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(days=1), "1 day"),
        (timedelta(hours=36), "36 hours"),
        (timedelta(minutes=10), "10 minutes"),
        (timedelta(0), "0 seconds"),
    ],
)
def test_a_setting_is_said_in_its_largest_whole_unit(length, text):
    assert words.duration(length) == text


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.PNG", "image"), ("archive.tar.gz", "archive"), (".gitignore", "other"),
        ("README", "other"), ("x.", "other"), (".png", "other"), ("main.py", "code"),
    ],
)  # fmt: skip
def test_a_file_is_shown_by_its_extension(name, kind):
    assert words.kind_of(name)[1] == kind


def test_the_gear_table_is_that_of_the_sync_client():
    from pyfastcdc.py.constants import GEAR

    assert gear.gear_table() == list(GEAR)


def test_the_browsers_gear_table_is_made_from_the_same_numbers():
    made = (settings.BASE_DIR / "static/js/gear.js").read_text()
    assert made == gear.gear_module(), "python -m files.web.gear > static/js/gear.js"
