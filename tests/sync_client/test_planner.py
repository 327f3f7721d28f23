"""Whatever drifted apart, plans bring it together; and a plan lists only what can be done."""

import os
import random
import re
from collections import Counter
from dataclasses import replace

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sync_client import viewing
from sync_client.apply_books import ACTIONS as BOOKS
from sync_client.names import is_parked, name_key
from sync_client.nodes import ROOT_ID, LocalNode
from sync_client.operations import Action
from sync_client.planner import plan
from sync_client.ports import Kind, Path, Signature
from tests.sync_client.worlds import ROOT, World

# The same each time, unless more are asked for: then others, too.
EXAMPLES = int(os.environ.get("DRIVE_EXAMPLES", "2000"))
NAMES = ["a", "b", "c", "d"]
CREATING = {Action.CREATE_LOCAL, Action.CREATE_REMOTE}

quick = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize="DRIVE_EXAMPLES" not in os.environ,
)
seeds = st.integers(0, 2**32)


def grown(seed: random.Random) -> World:
    """A world at rest: both sides have the same random tree."""
    world = World()
    folders = [ROOT_ID]
    for _ in range(seed.randint(2, 14)):
        parent = seed.choice(folders)
        name = seed.choice(NAMES)
        if world.trees.local_in_place(parent, name_key(name)):
            continue
        if seed.random() < 0.5:
            folders.append(world.folder_here(parent, name))
        else:
            # Few contents, so that equal ones occur.
            world.write_here(parent, name, b"base %d" % seed.randint(0, 3))
    world.agree()
    return world


def disturb_here(world: World, seed: random.Random, fresh: set[bytes]) -> None:
    """What a person may do to the disk, some of it several times."""
    trees = world.trees
    for _ in range(seed.randint(1, 6)):
        everything = [trees.local(each) for each in trees.local_below(ROOT_ID)]
        nodes = [each for each in everything if each is not None]
        folders = [ROOT_ID, *(each.local_id for each in nodes if each.is_folder)]
        parent, name = seed.choice(folders), seed.choice(NAMES)
        taken = bool(trees.local_in_place(parent, name_key(name)))
        node = seed.choice(nodes) if nodes else None
        match seed.randint(0, 4):
            case 0 if not taken:
                content = b"here %d" % world.number()
                fresh.add(content)
                world.write_here(parent, name, content)
            case 1 if not taken:
                world.folder_here(parent, name)
            case 2 if node is not None and not node.is_folder:
                fresh.discard(world.disk[node.local_id])
                content = b"here %d" % world.number()
                fresh.add(content)
                world.edit_here(node, content)
            case 3 if node is not None:
                for gone in [node.local_id, *trees.local_below(node.local_id)]:
                    fresh.discard(world.disk.get(gone, b""))
                trees.drop_local(node.local_id)
            case 4 if node is not None and not taken:
                if parent not in [node.local_id, *trees.local_below(node.local_id)]:
                    trees.put_local(replace(node, parent_id=parent, name=name))


def disturb_there(world: World, seed: random.Random, fresh: set[bytes]) -> None:
    """The same on the server."""
    trees = world.trees
    for _ in range(seed.randint(1, 6)):
        everything = [trees.remote(each) for each in trees.remote_below(ROOT)]
        items = [each for each in everything if each is not None]
        folders = [ROOT, *(each.item_id for each in items if each.is_folder)]
        parent, name = seed.choice(folders), seed.choice(NAMES)
        taken = bool(trees.remote_in_place(parent, name_key(name)))
        item = seed.choice(items) if items else None
        match seed.randint(0, 4):
            case 0 if not taken:
                content = b"there %d" % world.number()
                fresh.add(content)
                world.write_there(f"new{world.number()}", parent, name, content)
            case 1 if not taken:
                world.folder_there(f"new{world.number()}", parent, name)
            case 2 if item is not None and not item.is_folder:
                fresh.discard(world.server[item.version_id or ""])
                content = b"there %d" % world.number()
                fresh.add(content)
                world.write_there(item.item_id, item.parent_id or "", item.name, content)
            case 3 if item is not None:
                for gone in [item.item_id, *trees.remote_below(item.item_id)]:
                    version = trees.remote(gone)
                    if version is not None and version.version_id:
                        fresh.discard(world.server[version.version_id])
                world.delete_there(item.item_id)
            case 4 if item is not None and not taken:
                if parent not in [item.item_id, *trees.remote_below(item.item_id)]:
                    world.move_there(item, parent, name)


def has_problems(world: World) -> bool:
    """Whether anything is set aside and listed."""
    run = world.trees.database.connection.execute
    return run("SELECT 1 FROM dirty_items WHERE code IS NOT NULL").fetchone() is not None


def bring_together(world: World, seed: random.Random) -> list[Action]:
    """Plan and carry out, in a random order, until nothing is left. Fails if that never ends."""
    done: list[Action] = []
    for _ in range(200):
        found = plan(world.trees, now_ns=0)
        world.trees.clear(item_ids=found.clean_items, local_ids=found.clean_locals)
        world.trees.drop_stale_marks()
        if not found.operations:
            # A folder that was deleted there waits for one below that is kept, and listed.
            assert not found.waiting or has_problems(world), "something waits for ever"
            return done
        for operation in found.operations:
            if operation.action not in CREATING:
                world.check(operation)
        creating = [each for each in found.operations if each.action in CREATING]
        others = [each for each in found.operations if each.action not in CREATING]
        seed.shuffle(others)
        for operation in [*others, *creating] if seed.random() < 0.5 else [*creating, *others]:
            done.append(operation.action)
            world.run(operation)
    raise AssertionError("the plans do not come to an end")


@quick
@given(seeds)
# A folder took the name of another one and got that below itself, and the server did likewise.
@example(117076848)
def test_both_sides_end_the_same_and_no_edit_is_lost(number: int):
    seed = random.Random(number)
    world = grown(seed)
    fresh: set[bytes] = set()
    disturb_here(world, seed, fresh)
    disturb_there(world, seed, fresh)

    bring_together(world, seed)

    assert world.here() == world.there()
    assert fresh <= set(world.here().values())
    assert not any(is_parked(name) for path in world.here() for name in path)
    assert world.trees.is_settled()


@quick
@given(seeds, seeds)
# A folder that goes back where it was stood in the way of a new one.
@example(22534, 0)
def test_the_order_of_the_steps_does_not_matter(number: int, order: int):
    def unnumbered(path: Path) -> Path:
        # The model counts its steps, and names a conflict copy by the count.
        return tuple(re.sub(r"laptop, \d+\)", "laptop)", name) for name in path)

    ends = []
    for shuffled in (order, order + 1):
        seed = random.Random(number)
        world = grown(seed)
        disturb_here(world, seed, set())
        disturb_there(world, seed, set())
        bring_together(world, random.Random(shuffled))
        ends.append(Counter((unnumbered(path), what) for path, what in world.here().items()))

    assert ends[0] == ends[1]


@quick
@given(seeds)
def test_what_changed_here_only_ends_as_it_is_here(number: int):
    seed = random.Random(number)
    world = grown(seed)
    disturb_here(world, seed, set())
    wanted = world.here()

    done = bring_together(world, seed)

    assert world.here() == world.there() == wanted
    assert world.copies == 0
    assert Action.DOWNLOAD not in done
    assert Action.DELETE_LOCAL not in done


@quick
@given(seeds)
def test_what_changed_there_only_ends_as_it_is_there(number: int):
    seed = random.Random(number)
    world = grown(seed)
    disturb_there(world, seed, set())
    wanted = world.there()

    done = bring_together(world, seed)

    assert world.here() == world.there() == wanted
    assert world.copies == 0
    assert Action.UPLOAD not in done
    assert Action.DELETE_REMOTE not in done


class NoFiles(viewing.RulesReader):
    """No `.driveignore` anywhere."""

    def __init__(self) -> None:
        pass

    def read(self) -> dict[Path, str]:
        return {}


@quick
@given(seeds, st.lists(st.sampled_from([*NAMES, "a/", "/b", "*", "!c", "a/*"]), max_size=3))
def test_new_rules_alone_change_neither_side(number: int, rules: list[str]):
    world = grown(random.Random(number))
    here, there = world.here(), world.there()

    viewing.refresh(world.trees, NoFiles(), device_rules=tuple(rules))
    done = bring_together(world, random.Random(number))

    assert set(done) <= BOOKS
    assert world.there() == there
    # What is ignored is one entry on the disk, as far as we look at it.
    assert world.here().items() <= here.items()
    assert world.trees.is_settled()


@quick
@given(seeds, st.lists(st.sampled_from([*NAMES, "a/", "/b", "*", "!c", "a/*"]), max_size=3))
def test_rules_in_the_midst_of_changes_lose_nothing(number: int, rules: list[str]):
    seed = random.Random(number)
    world = grown(seed)
    fresh: set[bytes] = set()
    ignored: set[bytes | None] = set()

    def follow_rules() -> None:
        before = set(world.here().values())
        viewing.refresh(world.trees, NoFiles(), device_rules=tuple(rules))
        # What is ignored stays on the disk, where nobody looks at it any more.
        ignored.update(before - set(world.here().values()))

    disturb_here(world, seed, fresh)
    if seed.random() < 0.5:
        follow_rules()
    disturb_there(world, seed, fresh)
    for _ in range(2):
        # Moves that were carried out may have brought more to where it is ignored.
        follow_rules()
        bring_together(world, seed)

    assert fresh <= {*world.here().values(), *world.there().values(), *ignored}


@quick
@given(seeds)
def test_equal_trees_need_nothing(number: int):
    world = grown(random.Random(number))
    for item_id in world.trees.remote_below(ROOT):
        world.trees.mark_item(item_id)
    assert plan(world.trees, now_ns=0).operations == []


@quick
@given(seeds)
def test_without_a_common_past_nothing_is_deleted(number: int):
    seed = random.Random(number)
    world = grown(seed)
    fresh: set[bytes] = set()
    disturb_here(world, seed, fresh)
    disturb_there(world, seed, fresh)
    everything = {content for content in world.here().values() if content is not None}
    everything |= {content for content in world.there().values() if content is not None}
    for item_id in world.trees.remote_below(ROOT):
        world.trees.drop_synced(item_id)
    for local_id in world.trees.local_below(ROOT_ID):
        synced = world.trees.synced_of_local(local_id)
        if synced is not None:
            world.trees.drop_synced(synced.item_id)

    done = bring_together(world, seed)

    assert world.here() == world.there()
    assert everything <= set(world.here().values())
    assert not {Action.DELETE_LOCAL, Action.DELETE_REMOTE} & set(done)


@quick
@given(seeds, st.sampled_from(["here", "there"]))
def test_moves_alone_transfer_nothing(number: int, side: str):
    seed = random.Random(number)
    world = grown(seed)
    trees = world.trees
    for _ in range(8):
        if side == "here":
            nodes = [trees.local(each) for each in trees.local_below(ROOT_ID)]
            known = [each for each in nodes if each is not None]
            if not known:
                return
            node, home = seed.choice(known), seed.choice(known)
            below = [node.local_id, *trees.local_below(node.local_id)]
            name = seed.choice([*NAMES, "e"])
            is_free = not trees.local_in_place(home.local_id, name)
            if home.is_folder and home.local_id not in below and is_free:
                trees.put_local(replace(node, parent_id=home.local_id, name=name))
        else:
            items = [trees.remote(each) for each in trees.remote_below(ROOT)]
            live = [each for each in items if each is not None]
            if not live:
                return
            item, target = seed.choice(live), seed.choice(live)
            inside = [item.item_id, *trees.remote_below(item.item_id)]
            name = seed.choice([*NAMES, "e"])
            is_free = not trees.remote_in_place(target.item_id, name)
            if target.is_folder and target.item_id not in inside and is_free:
                world.move_there(item, target.item_id, name)

    done = bring_together(world, seed)

    assert world.here() == world.there()
    assert not {Action.UPLOAD, Action.DOWNLOAD, Action.DELETE_LOCAL, Action.DELETE_REMOTE} & set(
        done
    )


def test_a_move_that_is_undone_gets_its_name_back_from_what_was_created_there():
    world = World()
    outer = world.folder_here(ROOT_ID, "outer")
    moved = world.folder_here(ROOT_ID, "moved")
    world.agree()
    node = world.trees.local(moved)
    assert node is not None
    world.trees.put_local(replace(node, parent_id=outer))
    world.write_here(ROOT_ID, "moved", b"created here")
    item = world.trees.remote_in_place(ROOT, "outer")[0]
    world.move_there(item, world.trees.remote_in_place(ROOT, "moved")[0].item_id, "outer")

    bring_together(world, random.Random(1))

    assert world.here() == world.there()
    assert world.here()["moved", "outer"] is None
    assert b"created here" in world.here().values()


def test_a_file_follows_the_folder_that_the_server_made_for_it():
    """Its commit brought it back below a new folder, which this device had not seen then."""
    world = World()
    here = world.folder_here(ROOT_ID, "here")
    there = world.folder_here(ROOT_ID, "there")
    file = world.write_here(here, "file", b"content")
    world.agree()
    node = world.trees.local(file)
    synced = world.trees.synced_of_local(file)
    item = world.trees.remote(f"i{file}")
    assert node is not None
    assert synced is not None
    assert item is not None
    world.move_there(item, f"i{there}", "file")
    world.trees.put_synced(replace(synced, parent_id=f"i{there}"))

    bring_together(world, random.Random(1))

    assert world.here() == world.there()
    assert ("there", "file") in world.here()


def test_two_names_are_exchanged_beside_one_that_differs_in_case():
    world = World()
    rival = world.trees.new_local_id()
    world.write_here(ROOT_ID, "A", b"first")
    world.write_here(ROOT_ID, "b", b"second")
    world.agree()
    world.edit_here(
        LocalNode(rival, ROOT_ID, "a", Kind.FILE, Signature(0, 0, 0, 0, 0, False), None, None),
        b"only here",
    )
    one, other = (world.trees.remote_in_place(ROOT, key)[0] for key in ("a", "b"))
    world.move_there(one, ROOT, "between")
    world.move_there(other, ROOT, "A")
    world.move_there(one, ROOT, "b")

    bring_together(world, random.Random(1))

    assert world.here() == world.there()
    assert world.here().items() >= {("b",): b"first", ("A",): b"second"}.items()
    assert b"only here" in world.here().values()
