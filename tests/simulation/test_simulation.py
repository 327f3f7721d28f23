"""Whole runs on models of disks, network and server; each seed is a run that replays exactly.

`make simulate` runs more of them; `python -m tests.simulation --seed N` shows one.
"""

import os
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.simulation.kernel import Kernel, Violation
from tests.simulation.machine import Machine
from tests.simulation.runs import run
from tests.simulation.world import World

SEEDS = int(os.environ.get("DRIVE_SEEDS", "60"))


@pytest.mark.parametrize("block", range(6))
def test_whatever_happens_all_devices_end_the_same_and_nothing_is_lost(block: int):
    for seed in range(block, SEEDS, 6):
        outcome = run(seed)
        assert outcome.failure is None, f"seed {seed}: {outcome.failure}"


@pytest.mark.parametrize("seed", [0, 1, 2, 9])
def test_a_second_run_of_a_seed_goes_the_same_way(seed: int):
    first, second = run(seed), run(seed)
    assert first.trace == second.trace
    assert first.steps == second.steps


# Each of these runs once found something that is mended now.
FOUND = {
    204: "a name that only differs in case holds up an edit of another device",
    360: "a download got the name of a folder that was removed a moment before",
    27: "a full disk had no room in the stash for what was deleted",
    62: "a device interfered while another one exchanged two names",
    10054: "a name that was taken on both sides kept a device busy for a minute",
    90: "a folder that was closed to the client while it deleted in it",
    397: "a file was sent into a folder that the server had to make anew, and stayed outside here",
    444: "a mode was changed in the moment in which the client set it",
    1131: "an edit in the moment of a download kept size and time",
}


@pytest.mark.parametrize("seed", FOUND)
def test_what_was_found_before_stays_mended(seed: int):
    outcome = run(seed)
    assert outcome.failure is None, f"{FOUND[seed]}: {outcome.failure}"
    assert outcome.steps < 30_000


# What a rule leaves open (which file, which name) is drawn from this.
CHANCE = st.randoms(use_true_random=False)
# Which device: of those there are, so many further.
DEVICE = st.integers(0, 3)


class SimulatedWorld(RuleBasedStateMachine):
    """The same world, moved on by Hypothesis, which makes what it finds short."""

    @initialize(
        machines=st.integers(2, 4),
        is_alone=st.booleans(),
        has_old_disks=st.booleans(),
        chance=CHANCE,
    )
    def begin(self, machines: int, is_alone: bool, has_old_disks: bool, chance: Random) -> None:
        self.world = World(
            chance, machines=machines, is_alone=is_alone, has_old_disks=has_old_disks
        )
        self.world.rest()

    def _machine(self, device: int, chance: Random) -> Machine:
        self.world.chance = chance
        return self.world.machines[device % len(self.world.machines)]

    def _person(self, device: int, chance: Random, what: str) -> None:
        machine = self._machine(device, chance)
        self.world.person(self.world.machines[0] if self.world.is_alone else machine, what)

    # What people do

    @rule(device=DEVICE, chance=CHANCE, how=st.sampled_from(["write", "save"]))
    def write(self, device: int, chance: Random, how: str) -> None:
        self._person(device, chance, how)

    @rule(
        device=DEVICE,
        chance=CHANCE,
        how=st.sampled_from(
            ["edit", "edit_keeping_the_time", "append", "open", "write_to_open", "close"]
        ),
    )
    def edit(self, device: int, chance: Random, how: str) -> None:
        self._person(device, chance, how)

    @rule(
        device=DEVICE,
        chance=CHANCE,
        how=st.sampled_from(["move", "rename", "move_into_new", "swap"]),
    )
    def move(self, device: int, chance: Random, how: str) -> None:
        self._person(device, chance, how)

    @rule(device=DEVICE, chance=CHANCE, how=st.sampled_from(["remove", "change_type"]))
    def delete(self, device: int, chance: Random, how: str) -> None:
        self._person(device, chance, how)

    @rule(device=DEVICE, chance=CHANCE)
    def make_folder(self, device: int, chance: Random) -> None:
        self._person(device, chance, "make_folder")

    @rule(device=DEVICE, chance=CHANCE)
    def make_executable(self, device: int, chance: Random) -> None:
        self._person(device, chance, "make_executable")

    @rule(device=DEVICE, chance=CHANCE, keeps=st.sampled_from(["copy", "original", "both"]))
    def settle_a_conflict(self, device: int, chance: Random, keeps: str) -> None:
        machine = self._machine(device, chance)
        if not self.world.is_alone:
            self.world.settle_conflict(machine, keeps)

    @rule(chance=CHANCE)
    def act_in_the_browser(self, chance: Random) -> None:
        self.world.chance = chance
        if not self.world.is_alone:
            self.world.web()

    # What the devices do

    @rule(device=DEVICE, chance=CHANCE, effects=st.sampled_from([1, 3, 10, 30, 100, 300]))
    def go_on(self, device: int, chance: Random, effects: int) -> None:
        self.world.advance(self._machine(device, chance), effects)

    @rule(device=DEVICE, chance=CHANCE)
    def complete_a_cycle(self, device: int, chance: Random) -> None:
        self.world.complete(self._machine(device, chance))

    @rule(device=DEVICE, chance=CHANCE)
    def interfere(self, device: int, chance: Random) -> None:
        machine = self._machine(device, chance)
        self.world.interfere(self.world.machines[0] if self.world.is_alone else machine)

    # What befalls them

    @rule(device=DEVICE, chance=CHANCE)
    def crash(self, device: int, chance: Random) -> None:
        self.world.crash(self._machine(device, chance), loses_power=False)

    @rule(device=DEVICE, chance=CHANCE)
    def cut_power(self, device: int, chance: Random) -> None:
        self.world.crash(self._machine(device, chance), loses_power=True)

    @rule(device=DEVICE, chance=CHANCE)
    def crash_between_two_steps(self, device: int, chance: Random) -> None:
        self.world.crash_in_the_middle(self._machine(device, chance))

    @rule(trouble=st.sampled_from([0, 5, 20]))
    def change_the_network(self, trouble: int) -> None:
        self.world.trouble = trouble

    @rule(chance=CHANCE)
    def deliver_what_was_late(self, chance: Random) -> None:
        self.world.chance = chance
        self.world.deliver()

    @rule(device=DEVICE, chance=CHANCE, seconds=st.sampled_from([-3600, -5, -1, 1, 5, 3600]))
    def put_the_clock(self, device: int, chance: Random, seconds: int) -> None:
        self._machine(device, chance).skew_ns += seconds * 1_000_000_000

    @rule(device=DEVICE, chance=CHANCE)
    def fill_the_disk_or_make_room(self, device: int, chance: Random) -> None:
        kernel = self._machine(device, chance).kernel
        kernel.is_full = not kernel.is_full

    @rule(chance=CHANCE)
    def maintain_the_server(self, chance: Random) -> None:
        self.world.chance = chance
        self.world.maintain_server()

    @rule(device=DEVICE, chance=CHANCE)
    def lose_the_state(self, device: int, chance: Random) -> None:
        machine = self._machine(device, chance)
        if not self.world.is_alone:
            self.world.wipe_state(machine)

    # What must hold

    @rule(chance=CHANCE)
    def rest(self, chance: Random) -> None:
        """All come to rest, and everything is checked: `World.check`."""
        self.world.chance = chance
        self.world.rest()

    @invariant()
    def nothing_outside_is_touched(self) -> None:
        if hasattr(self, "world"):
            self.world.check_outside()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            try:
                self.world.chance = Random(0)
                self.world.rest()
            finally:
                self.world.close()


TestSimulatedWorld = SimulatedWorld.TestCase
TestSimulatedWorld.settings = settings(
    max_examples=int(os.environ.get("DRIVE_EXAMPLES", "40")),
    stateful_step_count=40,
    deadline=None,
    # The same examples every time: what is new is looked for by `make soak`.
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)


def _disk() -> Kernel:
    kernel = Kernel(lambda: 1_764_000_000_000_000_000, lambda name, detail: None)
    kernel.by_person = True
    return kernel


def test_the_model_of_the_disk_uses_inodes_again_but_not_their_birth():
    kernel = _disk()
    kernel.close(kernel.open(kernel.root, "a", os.O_WRONLY | os.O_CREAT))
    first = kernel.status(kernel.root.entries["a"]).signature
    kernel.unlink(kernel.root, "a")
    kernel.close(kernel.open(kernel.root, "b", os.O_WRONLY | os.O_CREAT))
    second = kernel.status(kernel.root.entries["b"]).signature
    assert first.inode == second.inode
    assert first.birth_ns != second.birth_ns


def test_the_model_of_the_disk_loses_what_was_not_synced():
    lost = set()
    for seed in range(20):
        kernel = _disk()
        own = kernel.make_folder(kernel.root, ".drive", 0o755)
        kernel.by_person = False
        descriptor = kernel.open(own, "a", os.O_WRONLY | os.O_CREAT)
        kernel.pwrite(descriptor, b"content", 0)
        kernel.close(descriptor)
        kernel.cut_power(Random(seed))
        lost.add(own.entries["a"].data if "a" in own.entries else None)
    assert lost == {None, b"", b"content"}


def test_the_model_of_the_disk_keeps_what_was_synced():
    for seed in range(20):
        kernel = _disk()
        own = kernel.make_folder(kernel.root, ".drive", 0o755)
        kernel.by_person = False
        descriptor = kernel.open(own, "a", os.O_WRONLY | os.O_CREAT)
        kernel.pwrite(descriptor, b"content", 0)
        kernel.sync_file(kernel.inode_of(descriptor))
        kernel.flush(own)
        kernel.close(descriptor)
        kernel.cut_power(Random(seed))
        assert own.entries["a"].data == b"content"


def test_the_model_of_the_disk_notices_a_client_that_overwrites():
    kernel = _disk()
    for name in ("a", "b"):
        kernel.close(kernel.open(kernel.root, name, os.O_WRONLY | os.O_CREAT))
    kernel.by_person = False
    with pytest.raises(Violation):
        kernel.rename(kernel.root, "a", kernel.root, "b", 0)
    with pytest.raises(Violation):
        kernel.unlink(kernel.root, "a")
    with pytest.raises(Violation):
        kernel.make_folder(kernel.outside, "c", 0o755)
