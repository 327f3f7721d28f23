"""Which entries rules mean: as git would have it."""

import pytest

from sync_client.ignore import BadRule, Rule, Rules, check_rule
from sync_client.view import View, load_view


def is_ignored(rules: Rules, path: str) -> bool:
    names = tuple(path.rstrip("/").split("/"))
    return rules.ignoring(names, is_folder=path.endswith("/")) is not None


# Checked against `git check-ignore`.
@pytest.mark.parametrize(
    ("lines", "ignored", "followed"),
    [
        ("*.o", ["a.o", "x/a.o", "a.o/", "a.o/x"], ["a.c", "o"]),
        ("build/", ["build/", "x/build/", "build/a/b"], ["build", "x/build"]),
        ("/build", ["build", "build/", "build/a"], ["x/build"]),
        ("a/b", ["a/b", "a/b/c"], ["x/a/b", "b"]),
        ("**/b", ["b", "a/b", "a/x/b/c"], ["a"]),
        ("a/**", ["a/x", "a/x/y"], ["a/", "x/a"]),
        ("a/**/b", ["a/b", "a/x/y/b"], ["b", "x/a/b"]),
        ("*.log\n!keep.log", ["a.log"], ["keep.log", "x/keep.log"]),
        ("keep.log\n!keep.log\nkeep.log", ["keep.log"], []),
        # What is taken back in is one entry, not all that is in a folder of that name.
        ("a/**\n!a/b", ["a/x", "a/b/c"], ["a/b"]),
        ("/*\n!/src", ["a", "b/c"], ["src/", "src/x"]),
        # Nothing comes back below an ignored folder.
        ("build/\n!build/keep", ["build/keep"], []),
        ("# a comment\n\n\\#name", ["#name"], ["# a comment", "a"]),
        ("\\!name", ["!name"], ["name"]),
        ("[ab]\n[", ["a", "x/b"], ["c", "["]),
        ("?", ["a", "ü"], ["ab"]),
        ("*", ["a", "a/"], [".driveignore"]),
        (".driveignore", [], [".driveignore", "x/.driveignore"]),
        ("a b \nc\\ ", ["a b", "c "], ["a", "c"]),
        ("a\r\nb", ["a", "b"], []),
    ],
)
def test_rules_mean_what_they_mean_to_git(lines, ignored, followed):
    rules = Rules(files={(): lines})
    assert [path for path in ignored if not is_ignored(rules, path)] == []
    assert [path for path in followed if is_ignored(rules, path)] == []


def test_a_nearer_file_of_rules_comes_before_one_above_and_the_devices_before_all():
    rules = Rules(
        device=("!here.tmp", "secret"),
        files={(): "*.tmp\n/x/only", ("x",): "!kept.tmp\n/anchored\n!secret"},
    )
    assert is_ignored(rules, "a.tmp")
    assert is_ignored(rules, "x/a.tmp")
    assert not is_ignored(rules, "x/kept.tmp")
    assert is_ignored(rules, "kept.tmp")
    assert is_ignored(rules, "x/anchored")
    assert not is_ignored(rules, "anchored")
    assert is_ignored(rules, "x/only")
    assert not is_ignored(rules, "x/here.tmp")
    assert is_ignored(rules, "x/secret")


def test_the_rule_that_decides_is_named():
    rules = Rules(device=("/out",), files={("x",): "\n*.o\n"})
    assert rules.ignoring(("out", "a"), is_folder=False) == Rule(None, 1, "/out")
    assert rules.ignoring(("x", "y", "a.o"), is_folder=False) == Rule(("x",), 2, "*.o")
    assert rules.ignoring(("y", "a.o"), is_folder=False) is None


@pytest.mark.parametrize("text", ["", "   ", "# comment", "!", "/", "[", "a\nb"])
def test_what_is_no_rule_is_refused(text):
    with pytest.raises(BadRule):
        check_rule(text)


def test_a_rule_is_kept_as_it_was_given():
    assert check_rule(" a\\ \n") == " a\\ "


def test_a_view_survives_being_stored():
    view = View(Rules(("*.o",), {(): "a\n", ("n\udcff",): "b\udcff"}), frozenset({"1", "2"}))
    assert load_view(view.dump()) == view
    assert load_view(None) == View()
