"""Names: which are the same, and what an item is called whose own name is taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from files.names import MAX_NAME_BYTES, check_name, name_key, numbered, split_extension

texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=300
)


@pytest.mark.parametrize(
    ("one", "other"),
    [("A", "a"), ("Ä", "a\u0308"), ("Σ", "σ"), ("é", "e\u0301"), ("ſ", "s"), ("Å", "\u212b")],
)
def test_names_that_are_the_same(one, other):
    assert name_key(one) == name_key(other)


@pytest.mark.parametrize(
    ("one", "other"), [("Maße", "Masse"), ("a", "a "), ("ﬁ", "fi"), ("a", "á")]
)
def test_names_that_are_not(one, other):
    assert name_key(one) != name_key(other)


@pytest.mark.parametrize(
    ("name", "is_folder", "expected"),
    [
        ("a.txt", False, "a (2).txt"),
        ("a", False, "a (2)"),
        ("v1.2", True, "v1.2 (2)"),
        (".profile", False, ".profile (2)"),
        ("..a", False, "..a (2)"),
        ("a.", False, "a (2)."),
        ("a.tar.gz", False, "a.tar (2).gz"),
        ("No. 5 is it", False, "No. 5 is it (2)"),
        ("a." + "x" * 40, False, "a." + "x" * 40 + " (2)"),
        ("x" * 255, False, "x" * 251 + " (2)"),
        ("x" * 251 + ".txt", False, "x" * 247 + " (2).txt"),
        ("😀" * 63, True, "😀" * 62 + " (2)"),
    ],
)
def test_a_taken_name_gets_a_counter_before_its_extension(name, is_folder, expected):
    assert numbered(name, 2, is_folder=is_folder) == expected


@given(texts, st.integers(2, 10_000), st.booleans())
def test_every_counted_name_is_a_name(name, number, is_folder):
    other = numbered(name, number, is_folder=is_folder)

    assert check_name(other) == other
    assert len(other.encode()) <= MAX_NAME_BYTES
    assert f" ({number})" in other


@given(texts)
def test_stem_and_extension_are_the_name(name):
    stem, extension = split_extension(name)

    assert stem + extension == name
    assert stem
