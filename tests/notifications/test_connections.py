"""The two maps of a process, and what a connection is told."""

from uuid import UUID, uuid4

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from notifications import connections as module
from notifications.connections import (
    Connections,
    Ending,
    Inbox,
    TooManyConnections,
    UserSessionDetails,
)
from notifications.presence import Connected, leave_behind

PEOPLE = [UUID(int=number) for number in range(3)]
# Each device is one person's; the last of each person is a browser.
DEVICES = [
    (user, UUID(int=100 * (user.int + 1) + number)) for user in PEOPLE for number in range(3)
]
ROOT = UUID(int=7)


def new(user_id=PEOPLE[0], device_id=DEVICES[0][1], *, is_browser=False) -> UserSessionDetails:
    return UserSessionDetails(
        user_id=user_id,
        device_id=device_id,
        last_sync_time=None,
        is_browser=is_browser,
        since=timezone.now(),
    )


class MapsInStep(RuleBasedStateMachine):
    """Whatever comes and goes, the maps say the same as a plain list of connections."""

    def __init__(self):
        super().__init__()
        self.connections = Connections()
        self.model: list[UserSessionDetails] = []

    @rule(who=st.sampled_from(DEVICES))
    def connect(self, who):
        user_id, device_id = who
        is_browser = device_id.int % 100 == 2
        details = new(user_id, device_id, is_browser=is_browser)
        old = [one for one in self.model if one.device_id == device_id and not is_browser]
        replaced = self.connections.register(details)
        assert ([replaced] if replaced else []) == old
        self.model = [one for one in self.model if one is not replaced] + [details]

    @rule(data=st.data())
    def disconnect(self, data):
        if self.model:
            details: UserSessionDetails = data.draw(st.sampled_from(self.model))
            assert self.connections.remove(details.connection_id) is details
            self.model.remove(details)

    @rule()
    def disconnect_what_is_gone(self):
        assert self.connections.remove(uuid4()) is None

    @invariant()
    def maps_agree(self):
        def ids(some):
            return sorted(details.connection_id for details in some)

        assert ids(self.connections) == ids(self.model)
        assert len(self.connections) == len(self.model)
        assert self.connections.user_ids == {details.user_id for details in self.model}
        assert self.connections.device_ids == {details.device_id for details in self.model}
        for user_id in PEOPLE:
            of_user = [details for details in self.model if details.user_id == user_id]
            assert ids(self.connections.of_users([user_id])) == ids(of_user)
        for user_id, device_id in DEVICES:
            of_device = [details for details in self.model if details.device_id == device_id]
            assert ids(self.connections.of_device(user_id, device_id)) == ids(of_device)
            if device_id.int % 100 != 2:
                assert len(of_device) <= 1


TestMapsInStep = MapsInStep.TestCase


def test_one_person_cannot_open_connections_without_end(monkeypatch):
    monkeypatch.setattr(module, "MAX_CONNECTIONS_PER_USER", 2)
    connections = Connections()
    first = new(device_id=UUID(int=1))
    connections.register(first)
    connections.register(new(device_id=UUID(int=2)))

    with pytest.raises(TooManyConnections):
        connections.register(new(device_id=UUID(int=3)))

    assert len(connections) == 2
    assert connections.register(new(device_id=UUID(int=1))) is first
    connections.register(new(user_id=PEOPLE[1], device_id=UUID(int=4)))


@given(st.lists(st.integers(0, 20)))
def test_signals_only_rise(seqs):
    details = new()
    told: list[int] = []
    for seq in seqs:
        details.signal(ROOT, seq)
        changed, _ = details.inbox.take()
        told += changed.values()

    assert told == sorted(set(told))
    assert max(told, default=None) == max(seqs, default=None)


def test_signals_that_wait_merge_into_the_newest():
    details = new()
    for seq in (3, 5, 4):
        details.signal(ROOT, seq)

    assert details.inbox.take() == ({ROOT: 5}, None)
    assert details.inbox.take() == ({}, None)


def test_a_comparison_tells_of_a_head_that_went_back():
    details = new()
    details.learn({ROOT: 9})
    details.compare({ROOT: 9})
    assert details.inbox.take() == ({}, None)

    details.compare({ROOT: 4})
    assert details.inbox.take() == ({ROOT: 4}, None)

    details.signal(ROOT, 5)
    assert details.inbox.take() == ({ROOT: 5}, None)


def test_what_the_client_knows_by_itself_is_not_told_again():
    other = uuid4()
    details = new()
    details.signal(ROOT, 5)
    details.signal(other, 2)
    details.learn({ROOT: 5})
    assert details.inbox.take() == ({other: 2}, None)


async def test_an_ending_stays_and_its_first_reason_stands():
    inbox = Inbox()
    inbox.end(Ending.REVOKED)
    inbox.end(Ending.REPLACED)
    for _ in range(2):
        await inbox.wait()
        assert inbox.take() == ({}, Ending.REVOKED)


@given(st.data())
def test_of_two_processes_only_the_later_connection_stays(data):
    """Each process registers, then announces; all read the announcements in one order."""
    here, there = Connections(), Connections()
    mine, theirs = new(), new()
    announced: list[UserSessionDetails] = []
    heard = {id(here): 0, id(there): 0}
    ended: list[UserSessionDetails] = []

    def connect(connections, details):
        connections.register(details)
        yield
        announced.append(details)

    steps = {"mine": connect(here, mine), "theirs": connect(there, theirs)}
    while steps or any(count < len(announced) for count in heard.values()):
        ready = [
            connections for connections in (here, there) if heard[id(connections)] < len(announced)
        ]
        choice = data.draw(st.sampled_from([*steps, *ready]))
        if isinstance(choice, str):
            if next(steps[choice], "over") == "over":
                del steps[choice]
            continue
        said = announced[heard[id(choice)]]
        heard[id(choice)] += 1
        ended += leave_behind(choice, Connected(said.user_id, said.device_id, said.connection_id))

    assert ended == announced[:1]


def test_a_browser_takes_no_more_than_its_part(monkeypatch):
    monkeypatch.setattr(module, "MAX_CONNECTIONS_PER_DEVICE", 2)
    connections = Connections()
    user_id, browser_id = DEVICES[2]
    tabs = [new(user_id, browser_id, is_browser=True) for _ in range(3)]
    for tab in tabs[:2]:
        connections.register(tab)
    with pytest.raises(TooManyConnections):
        connections.register(tabs[2])

    # Another device of the same person is not held up, and a closed tab makes room.
    connections.register(new())
    connections.remove(tabs[0].connection_id)
    connections.register(tabs[2])
    assert len(connections) == 3


def test_a_device_that_comes_again_needs_no_room(monkeypatch):
    monkeypatch.setattr(module, "MAX_CONNECTIONS_PER_USER", 1)
    connections = Connections()
    first, second = new(), new()
    connections.register(first)
    assert connections.register(second) is first
    with pytest.raises(TooManyConnections):
        connections.register(new(*DEVICES[1]))
    assert connections.remove(first.connection_id) is None
    connections.remove(second.connection_id)
    connections.register(new(*DEVICES[1]))
