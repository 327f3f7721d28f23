"""Conflicts as pure functions: what a commit does, and what its copy is called."""

from datetime import date
from itertools import islice
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from files.conflicts import (
    Content,
    Judgement,
    conflict_name,
    conflict_names,
    is_conflict_name,
    judge,
    name_without_mark,
)
from files.names import MAX_NAME_BYTES, check_name, name_key

DAY = date(2026, 3, 9)
ONE, TWO = UUID(int=1), UUID(int=2)


def is_name(text):
    return 0 < len(text.encode()) <= MAX_NAME_BYTES and text not in {".", ".."}


names = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=255
).filter(is_name)
device_names = st.text(max_size=100)
days = st.dates(min_value=date(1970, 1, 1))


@pytest.mark.parametrize(
    ("name", "copy"),
    [
        ("report.txt", "report (conflicted copy, Ann's laptop, 2026-03-09).txt"),
        ("archive.tar.gz", "archive.tar (conflicted copy, Ann's laptop, 2026-03-09).gz"),
        (".bashrc", ".bashrc (conflicted copy, Ann's laptop, 2026-03-09)"),
        ("..hidden", "..hidden (conflicted copy, Ann's laptop, 2026-03-09)"),
        ("no extension", "no extension (conflicted copy, Ann's laptop, 2026-03-09)"),
        ("Vol. 2", "Vol. 2 (conflicted copy, Ann's laptop, 2026-03-09)"),
        (
            "report (conflicted copy, phone, 2025-12-31 7).txt",
            "report (conflicted copy, Ann's laptop, 2026-03-09).txt",
        ),
    ],
)
def test_a_conflict_copy_is_named_after_the_file_the_device_and_the_day(name, copy):
    assert conflict_name(name, device_name="Ann's laptop", day=DAY) == copy


def test_a_counter_stands_before_the_closing_bracket():
    some = list(islice(conflict_names("a.txt", device_name="pc", day=DAY), 3))
    assert some == [
        "a (conflicted copy, pc, 2026-03-09).txt",
        "a (conflicted copy, pc, 2026-03-09 2).txt",
        "a (conflicted copy, pc, 2026-03-09 3).txt",
    ]


@pytest.mark.parametrize("device_name", ["a/b", "(pc)", "a\0b", "  ", "", "\ud800", "\n"])
def test_a_device_may_have_any_name(device_name):
    name = conflict_name("a.txt", device_name=device_name, day=DAY)
    assert check_name(name) == name
    assert name.count("(") == name.count(")") == 1
    assert "\n" not in name


@given(name=names, device_name=device_names, day=days, counter=st.integers(1, 10_000))
def test_the_name_of_a_copy_can_be_used_and_keeps_the_extension(name, device_name, day, counter):
    copy = conflict_name(name, device_name=device_name, day=day, counter=counter)
    assert check_name(copy) == copy
    stem, dot, extension = name.rpartition(".")
    if stem.strip(".") and len(extension.encode()) < 32 and " " not in extension:
        assert copy.endswith(dot + extension)


@given(name=names, device_name=device_names, day=days)
def test_the_copy_of_a_copy_is_named_after_the_original(name, device_name, day):
    copy = conflict_name(name, device_name=device_name, day=day)
    again = conflict_name(copy, device_name=device_name, day=day)
    assert again == copy


@given(name=names, device_name=device_names, day=days)
def test_all_candidates_have_different_keys(name, device_name, day):
    some = list(islice(conflict_names(name, device_name=device_name, day=day), 30))
    assert len({name_key(each) for each in some}) == 30


def content(digest="d", content_hash="h", *, confirmed=False, size_bytes=5):
    return Content(size_bytes, digest, content_hash, confirmed)


@pytest.mark.parametrize(
    ("one", "two", "is_same"),
    [
        (content("d"), content("d"), True),
        (content("d"), content("e"), False),
        (content("", "h"), content("", "h"), False),
        # An unconfirmed hash is somebody's claim.
        (content("d", "h", confirmed=True), content("e", "h"), False),
        (content("d", "h", confirmed=True), content("e", "h", confirmed=True), True),
        (content("d", "h", confirmed=True), content("e", "i", confirmed=True), False),
        (content("d", size_bytes=5), content("d", size_bytes=6), False),
    ],
)
def test_only_what_is_proved_is_the_same_content(one, two, is_same):
    assert one.is_same_as(two) is two.is_same_as(one) is is_same


@pytest.mark.parametrize(
    ("current", "base", "uploaded", "judgement"),
    [
        (content("d"), ONE, content("e"), Judgement.IN_ORDER),
        (content("d"), TWO, content("e"), Judgement.MOVED_ON),
        (content("d"), None, content("e"), Judgement.MOVED_ON),
        (content("d"), ONE, content("d"), Judgement.SAME_CONTENT),
        (content("d"), TWO, content("d"), Judgement.SAME_CONTENT),
    ],
)
def test_a_commit_is_judged_by_versions_alone(current, base, uploaded, judgement):
    found = judge(current_version_id=ONE, current=current, base_version_id=base, uploaded=uploaded)
    assert found is judgement


def test_a_file_without_a_version_has_nothing_to_be_in_conflict_with():
    found = judge(current_version_id=None, current=None, base_version_id=None, uploaded=content())
    assert found is Judgement.IN_ORDER


@given(name=names, device=device_names, day=days, counter=st.integers(1, 10_000))
def test_a_conflict_name_is_known_as_one_and_not_without_its_mark(name, device, day, counter):
    copy = conflict_name(name, device_name=device, day=day, counter=counter)
    assert is_conflict_name(copy)
    assert not is_conflict_name(name)
    plain = name_without_mark(copy)
    check_name(plain)
    # Cut only where the mark left too little room.
    assert plain == name or (name.startswith(plain[:1]) and len(copy.encode()) > MAX_NAME_BYTES - 4)


@pytest.mark.parametrize("name", ["report.txt", "a (conflicted copy).txt", ".bashrc"])
def test_another_name_is_no_conflict_name(name):
    assert not is_conflict_name(name)
    assert name_without_mark(name) == name
