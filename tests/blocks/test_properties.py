"""Whatever devices do, in whatever order: no bytes are lost, and no stranger's are told of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blocks import gc
from blocks.local import LocalBlockService
from blocks.service import NewVersion, Settlement, VersionCopy
from blocks.storage import LocalObjectStore
from drive_project.common.errors import DriveError
from tests.blocks.devices import Device, Door, pack_of, sha256
from tests.blocks.worlds import collect_now, faults, forget_everything, let_time_pass

# Few blocks, so that devices meet in them: four small and two with URLs of their own.
BLOCKS = [b"block %d" % number for number in range(4)] + [b"A" * 270_000, b"B" * 270_000]

numbers = st.lists(st.integers(0, len(BLOCKS) - 1), max_size=4)
who = st.integers(0, 2)
which = st.integers(0, 3)

steps = st.one_of(
    st.tuples(st.just("begin"), who, numbers),
    st.tuples(st.just("upload"), who, numbers),
    st.tuples(st.just("put"), who, which, numbers),
    st.tuples(st.just("pack"), who, numbers),
    st.tuples(st.just("report"), who, which, numbers),
    st.tuples(st.just("commit"), who, which),
    st.tuples(st.just("release"), who, which),
    st.tuples(st.just("copy"), who, which),
    st.tuples(st.just("collect")),
    st.tuples(st.just("collect at once")),
    st.tuples(st.just("days pass"), st.integers(1, 8)),
)


@dataclass
class Actor:
    """A device with what it began and what is visible, as the File Service would know it."""

    device: Device
    open: list[NewVersion] = field(default_factory=list)
    committed: list[NewVersion] = field(default_factory=list)

    def pick(self, of: Sequence[NewVersion], number: int) -> NewVersion | None:
        return of[number % len(of)] if of else None


@dataclass
class Story:
    """Runs steps; answers in words that do not depend on ids or places."""

    actors: list[Actor]
    store: LocalObjectStore
    contents: Callable[[int], bytes]

    def run(self, step: tuple[Any, ...]) -> Any:
        name, *arguments = step
        try:
            return getattr(self, name.replace(" ", "_"))(*arguments)
        except DriveError as error:
            return error.code

    def _data(self, picked: Sequence[int]) -> list[bytes]:
        return [self.contents(number) for number in picked]

    def _number(self, block_hash: str) -> int:
        """Which block it is, told from its hash."""
        return [sha256(self.contents(number)) for number in range(len(BLOCKS))].index(block_hash)

    def begin(self, actor: int, picked: list[int]) -> Any:
        me = self.actors[actor]
        version = me.device.version(self._data(picked))
        locations = me.device.begin(version)
        me.open.append(version)
        return [
            (self._number(each.block_hash), each.state, each.upload is not None)
            for each in locations
        ]

    def upload(self, actor: int, picked: list[int]) -> Any:
        """A whole upload, so that the steps after it have something to work on."""
        told = self.begin(actor, picked)
        me = self.actors[actor]
        wanted = [number for number, state, _ in told if state == "send"]
        if packed := [number for number in wanted if number < 4]:
            me.device.send_pack(self._data(packed))
        me.device.send(me.open[-1], self._data([number for number in wanted if number >= 4]))
        return told, self.commit(actor, len(me.open) - 1)

    def put(self, actor: int, number: int, picked: list[int]) -> Any:
        me = self.actors[actor]
        if version := me.pick(me.open, number):
            me.device.send(version, self._data(picked))
        return None

    def pack(self, actor: int, picked: list[int]) -> Any:
        small = sorted({number for number in picked if number < 4})
        if not small:
            return None
        device = self.actors[actor].device
        pack, body = pack_of(self._data(small))
        [answer] = device.service.create_pack_uploads(device_id=device.device_id, packs=[pack])
        if answer.upload is not None:
            device.put(answer.upload, body)
        return [self._number(block_hash) for block_hash in answer.unnamed]

    def report(self, actor: int, number: int, picked: list[int]) -> Any:
        me = self.actors[actor]
        version = me.pick(me.open, number)
        if version is None:
            return None
        answer = me.device.refresh(version, done=self._data(picked), want=self._data(picked))
        return (
            [self._number(block_hash) for block_hash in answer.verified],
            [self._number(block_hash) for block_hash in answer.missing],
            sorted(self._number(block_hash) for block_hash in answer.urls),
        )

    def commit(self, actor: int, number: int) -> Any:
        me = self.actors[actor]
        version = me.pick(me.open, number)
        if version is None:
            return None
        verdict = me.device.verdict(version)
        if verdict.verdict == "ready":
            me.device.settle(version)
            me.open.remove(version)
            me.committed.append(version)
        return verdict.verdict, [self._number(block_hash) for block_hash in verdict.missing]

    def release(self, actor: int, number: int) -> Any:
        me = self.actors[actor]
        if version := me.pick([*me.open, *me.committed], number):
            me.device.settle(version, is_committed=False)
            (me.open if version in me.open else me.committed).remove(version)
        return None

    def copy(self, actor: int, number: int) -> Any:
        me = self.actors[actor]
        source = me.pick(me.committed, number)
        if source is None:
            return None
        version = me.device.version([], blocks=source.blocks)
        me.device.service.copy_versions(copies=[VersionCopy(source.file_version_id, version)])
        me.device.service.settle_versions(
            settlements=[
                Settlement(version.file_version_id, True, version.file_id, version.namespace_id)
            ]
        )
        me.committed.append(version)
        return None

    def collect(self) -> Any:
        gc.collect(store=self.store)

    def collect_at_once(self) -> Any:
        collect_now(self.store)

    def days_pass(self, count: int) -> Any:
        let_time_pass(timedelta(days=count))
        collect_now(self.store)


def story(store: LocalObjectStore, contents: Callable[[int], bytes] = BLOCKS.__getitem__) -> Story:
    """Alice with laptop and phone, and Mallory."""
    service, door = LocalBlockService(store), Door()
    laptop = Device(service, door)
    phone = Device(service, door, namespace_id=laptop.namespace_id)
    mallory = Device(service, door)
    return Story([Actor(laptop), Actor(phone), Actor(mallory)], store, contents)


properties = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.django_db(databases=["default", "blocks"])
@properties
@given(plan=st.lists(steps, max_size=25))
def test_every_committed_version_reads_back_and_every_count_is_right(
    store: LocalObjectStore, plan: list[tuple[Any, ...]]
) -> None:
    forget_everything(store)
    told = story(store)
    for step in plan:
        told.run(step)

    assert faults(store) == []
    for actor in told.actors:
        for version in actor.committed:
            blocks = {sha256(data): data for data in BLOCKS}
            expected = [blocks[each.block_hash] for each in version.blocks]
            assert actor.device.download(version) == expected
            assert actor.device.read(version) == b"".join(expected)

    # And when all is given up, nothing stays behind.
    for actor in told.actors:
        for version in [*actor.open, *actor.committed]:
            actor.device.settle(version, is_committed=False)
    let_time_pass(timedelta(days=8))
    collect_now(store)
    assert list(store.listing()) == []
    assert faults(store) == []


@pytest.mark.django_db(databases=["default", "blocks"])
@properties
@given(
    # Two people act; the stranger to both of them does nothing more.
    plan=st.lists(steps, max_size=25),
    hers=st.lists(st.integers(0, len(BLOCKS) - 1), min_size=1, max_size=4),
    packed=st.booleans(),
)
def test_nothing_tells_whether_a_stranger_has_a_block(
    store: LocalObjectStore, plan: list[tuple[Any, ...]], hers: list[int], packed: bool
) -> None:
    """The same steps in two worlds: in one a stranger has some of the blocks all the time."""
    everything = list(range(len(BLOCKS)))
    give_up_and_ask = [
        *(("release", actor, 0) for actor in range(3) for _ in range(len(plan))),
        ("collect at once",),
        *(("begin", actor, everything) for actor in range(3)),
    ]
    answers = []
    for is_there in (True, False):
        forget_everything(store)
        told = story(store)
        if is_there:
            alice = Device(told.actors[0].device.service, Door())
            data = [BLOCKS[number] for number in hers]
            version = alice.version(data)
            alice.begin(version)
            if packed and all(number < 4 for number in hers):
                alice.send_pack([BLOCKS[number] for number in sorted(set(hers))])
            alice.upload(data)
        # In the end they give up what they have and ask for everything once more: whoever
        # is not asked for the bytes then would know that somebody else has them.
        answers.append([told.run(step) for step in [*plan, *give_up_and_ask]])

    assert answers[0] == answers[1]
