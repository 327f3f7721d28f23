"""What the Notification Service may ask: who is signed in, how far somebody is."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone

from drive_project.common.errors import InvalidCursor
from files import public
from files.journal import START, Position, decode_cursor, encode_cursor
from files.models import Change, DeviceKind, Membership, Namespace, Role, UserDevice
from files.services.devices import revoke_device
from tests.people import new_device, token_of

MARGIN = public.CLOCK_MARGIN


@pytest.fixture
def root(alice):
    return Namespace.objects.get(owner=alice)


@pytest.fixture
def now():
    return timezone.now()


def set_history(namespace, *moments):
    """A journal with one entry at each of these moments."""
    Change.objects.filter(namespace=namespace).delete()
    Change.objects.bulk_create(
        Change(
            namespace=namespace,
            seq=seq,
            changed_at=moment,
            action="upsert",
            item_type="folder",
            item_id=uuid4(),
            item={},
        )
        for seq, moment in enumerate(moments, start=1)
    )
    namespace.head_seq = len(moments)
    namespace.last_changed_at = moments[-1] if moments else None
    namespace.save()


def join(user, namespace, moment):
    membership, _ = Membership.objects.get_or_create(
        namespace=namespace, user=user, defaults={"role": Role.EDITOR}
    )
    Membership.objects.filter(pk=membership.pk).update(created_at=moment)


def position(namespace, seq):
    if seq == 0:
        return START
    return Position(seq, Change.objects.get(namespace=namespace, seq=seq).change_id)


def cursor_at(*seqs_of):
    """A cursor from pairs of namespace and seq."""
    return encode_cursor({namespace.pk: position(namespace, seq) for namespace, seq in seqs_of})


def sign_in_with_token(token):
    return public.sign_in_with_tokens([token]).get(token)


def compare(user_id, cursor):
    return public.compare([(user_id, cursor)])[user_id, cursor]


# --- Signing in


def test_a_token_signs_its_device_in(alice, laptop):
    session = sign_in_with_token(token_of(laptop))
    assert session == public.Session(alice.pk, laptop.pk, is_browser=False, last_sync_time=None)


def test_a_token_that_is_unknown_revoked_or_of_somebody_switched_off_does_not(alice, laptop, phone):
    for token in ("", "nonsense", "x" * 100_000, "\xff"):
        assert sign_in_with_token(token) is None
    revoke_device(user=alice, device_id=laptop.pk)
    assert sign_in_with_token(token_of(laptop)) is None
    alice.is_active = False
    alice.save()
    assert sign_in_with_token(token_of(phone)) is None


def test_many_tokens_sign_in_by_one_question_and_are_seen(
    laptop, phone, stranger, django_assert_num_queries
):
    owners = {token_of(device): device.pk for device in (laptop, phone, stranger)}
    UserDevice.objects.update(last_seen_at=None)
    for _ in range(2):
        sessions = public.sign_in_with_tokens([*owners, "nonsense"])
        assert {token: session.device_id for token, session in sessions.items()} == owners
        assert not UserDevice.objects.filter(last_seen_at=None).exists()
    # They were seen just now, so nothing is written again.
    with django_assert_num_queries(1):
        public.sign_in_with_tokens(owners)


def test_a_browser_signs_in_with_its_session(client, alice):
    client.force_login(alice)
    session = public.sign_in_with_browser(client.session.session_key)
    assert session is not None
    assert session.user_id == alice.pk
    assert session.is_browser
    assert UserDevice.objects.get(pk=session.device_id).kind == DeviceKind.BROWSER


def test_a_session_ends_with_the_sign_out_the_password_and_the_person(client, alice):
    client.force_login(alice)
    key = client.session.session_key
    alice.set_password("something else")
    alice.save()
    assert public.sign_in_with_browser(key) is None

    client.force_login(alice)
    key = client.session.session_key
    client.logout()
    assert public.sign_in_with_browser(key) is None

    client.force_login(alice)
    key = client.session.session_key
    alice.is_active = False
    alice.save()
    assert public.sign_in_with_browser(key) is None


def test_a_session_that_nobody_signed_in_to_is_nobodys(db):
    store = SessionStore()
    store["theme"] = "dark"
    store.create()
    for key in (store.session_key or "", "nonsense", "", "x" * 10_000):
        assert public.sign_in_with_browser(key) is None


def test_a_revoked_browser_does_not_sign_in_again(client, alice):
    client.force_login(alice)
    key = client.session.session_key
    session = public.sign_in_with_browser(key)
    assert session is not None
    revoke_device(user=alice, device_id=session.device_id)
    assert public.sign_in_with_browser(key) is None


def test_of_many_devices_those_that_are_still_signed_in(alice, laptop, phone, stranger):
    revoke_device(user=alice, device_id=phone.pk)
    asked = [laptop.pk, phone.pk, stranger.pk, uuid4()]
    assert public.signed_in_devices(asked) == {laptop.pk, stranger.pk}
    stranger.user.is_active = False
    stranger.user.save()
    assert public.signed_in_devices(asked) == {laptop.pk}


# --- Heads and members


def test_everybody_has_the_heads_of_what_they_can_read(alice, bob, mallory, root, now):
    shared = Namespace.objects.create(owner=bob, is_root=False)
    set_history(shared, now, now, now)
    join(alice, shared, now)
    heads = public.heads_of([alice.pk, mallory.pk])

    assert heads[alice.pk] == {root.pk: 1, shared.pk: 3}
    assert heads[mallory.pk] == {Namespace.objects.get(owner=mallory).pk: 1}
    assert public.members_of([shared.pk, root.pk, uuid4()]) == {
        shared.pk: {alice.pk},
        root.pk: {alice.pk},
    }


def test_the_number_of_questions_does_not_grow_with_the_people(
    alice, bob, mallory, django_assert_num_queries
):
    people = [alice.pk, bob.pk, mallory.pk]
    with django_assert_num_queries(1):
        public.heads_of(people)
    with django_assert_num_queries(1):
        public.members_of([])
        public.members_of([uuid4(), uuid4()])
    with django_assert_num_queries(1):
        public.compare([(person, "") for person in people])


# --- Cursors


def test_a_cursor_at_the_head_finds_nothing_newer(alice, root, now):
    set_history(root, now, now)
    at_head = cursor_at((root, 2))
    standing = compare(alice.pk, at_head)
    assert standing == public.Standing(at_head, {root.pk: 2}, frozenset())


@pytest.mark.parametrize("seq", [0, 1])
def test_a_cursor_behind_the_head_finds_something_newer(alice, root, now, seq):
    set_history(root, now, now)
    assert compare(alice.pk, cursor_at((root, seq))).newer == {root.pk}


def test_a_cursor_of_another_history_finds_something_newer(alice, root, now):
    """The server was restored: the same seq, or a lower one, is another change."""
    set_history(root, now, now)
    cursor = cursor_at((root, 2))
    set_history(root, now, now)
    assert compare(alice.pk, cursor).newer == {root.pk}
    set_history(root, now)
    assert compare(alice.pk, cursor).newer == {root.pk}


def test_a_namespace_that_was_joined_is_newer_and_one_that_was_left_is_not(alice, bob, root, now):
    shared = Namespace.objects.create(owner=bob, is_root=False)
    set_history(shared, now)
    cursor = cursor_at((root, 1))
    join(alice, shared, now)
    assert compare(alice.pk, cursor).newer == {shared.pk}

    behind = cursor_at((root, 1), (shared, 0))
    Membership.objects.filter(user=alice, namespace=shared).delete()
    assert compare(alice.pk, behind).newer == frozenset()


def test_a_cursor_that_is_not_ours_is_refused(alice):
    for text in ("made-up", "a:b:c", "\udcff"):
        assert public.compare([(alice.pk, text), (alice.pk, "")]).keys() == {(alice.pk, "")}
        with pytest.raises(InvalidCursor):
            public.record_ack(uuid4(), text)


# --- Time


def test_a_time_becomes_the_cursor_of_a_minute_before(alice, root, now):
    hours = [now - timedelta(hours=count) for count in (3, 2, 1)]
    set_history(root, *hours)
    join(alice, root, hours[0])
    for moment, seq in (
        (hours[0] + MARGIN - timedelta(microseconds=1), 0),
        (hours[0] + MARGIN, 1),
        (hours[1] + MARGIN - timedelta(microseconds=1), 1),
        (hours[1] + MARGIN, 2),
        (now, 3),
    ):
        standing = public.compare_time(alice.pk, moment)
        assert decode_cursor(standing.cursor) == {root.pk: position(root, seq)}
        assert standing.newer == ({root.pk} if seq < 3 else set())
        assert standing.seen == {root.pk: seq}


def test_a_time_in_the_future_is_no_later_than_now(alice, root, now):
    set_history(root, now - timedelta(hours=1), now - MARGIN / 2)
    join(alice, root, now - timedelta(hours=1))
    standing = public.compare_time(alice.pk, now + timedelta(days=365))
    assert standing.seen == {root.pk: 1}


def test_of_changes_at_one_moment_the_last_counts(alice, root, now):
    moment = now - timedelta(hours=1)
    set_history(root, *[moment] * 5)
    join(alice, root, moment)
    assert public.compare_time(alice.pk, now).seen == {root.pk: 5}


def test_what_one_joined_later_is_begun_at_its_beginning(alice, bob, root, now):
    """Its old changes are older than the device's time, and the device has none of them."""
    shared = Namespace.objects.create(owner=bob, is_root=False)
    set_history(shared, now - timedelta(days=300))
    set_history(root, now - timedelta(days=200))
    join(alice, root, now - timedelta(days=200))
    join(alice, shared, now - timedelta(days=1))
    assert public.compare_time(alice.pk, now - timedelta(days=2)).seen == {root.pk: 1, shared.pk: 0}


def test_an_acknowledged_time_never_skips_what_the_device_lacks(alice, bob, laptop, root, now):
    """Whatever it acknowledges: its time leads to a cursor that is not later."""
    shared = Namespace.objects.create(owner=bob, is_root=False)
    steps = [now - timedelta(seconds=seconds) for seconds in (400, 300, 300, 200, 61, 59, 30, 0)]
    set_history(root, *steps)
    set_history(shared, *steps[2:6])
    for joined in (steps[0], steps[3], steps[6]):
        join(alice, root, steps[0])
        join(alice, shared, joined)
        for own in range(9):
            for other in range(5):
                acknowledged = cursor_at((root, own), (shared, other))
                moment = public.record_ack(laptop.pk, acknowledged)
                assert moment is not None
                seen = public.compare_time(alice.pk, moment).seen
                assert seen[root.pk] <= own
                assert seen[shared.pk] <= other


# --- Acknowledgements


def test_a_device_that_has_everything_is_in_step_up_to_a_minute_ago(laptop, root, now):
    set_history(root, now - timedelta(days=30))
    cursor = cursor_at((root, 1))
    moment = public.record_ack(laptop.pk, cursor)

    laptop.refresh_from_db()
    assert laptop.last_sync_time == moment
    assert laptop.cursor == cursor
    assert timedelta(0) <= moment + MARGIN - now < timedelta(seconds=5)


def test_the_newest_change_that_it_has_counts_where_that_is_later(laptop, root, now):
    set_history(root, now - timedelta(seconds=10))
    assert public.record_ack(laptop.pk, cursor_at((root, 1))) == now - timedelta(seconds=10)


def test_a_device_that_lags_is_dated_by_the_last_change_that_it_has(laptop, root, now):
    set_history(root, now - timedelta(hours=2), now - timedelta(hours=1))
    assert public.record_ack(laptop.pk, cursor_at((root, 1))) == now - timedelta(hours=2)


def test_a_cursor_that_does_not_fit_the_journal_moves_nothing(laptop, root, now):
    set_history(root, now, now)
    before_restore = cursor_at((root, 1))
    ahead = encode_cursor({root.pk: Position(9, uuid4())})
    set_history(root, now, now)
    for cursor in (before_restore, ahead):
        assert public.record_ack(laptop.pk, cursor) is None
    laptop.refresh_from_db()
    assert laptop.last_sync_time is None
    assert laptop.cursor == ""


def test_a_revoked_or_unknown_device_acknowledges_nothing(alice, laptop, root):
    cursor = cursor_at((root, 1))
    revoke_device(user=alice, device_id=laptop.pk)
    assert public.record_ack(laptop.pk, cursor) is None
    assert public.record_ack(uuid4(), cursor) is None


def test_acks_of_a_browser_and_of_a_device_are_kept_apart(alice, laptop, root):
    other = new_device(alice, "Browser", DeviceKind.BROWSER)
    public.record_ack(laptop.pk, cursor_at((root, 1)))
    other.refresh_from_db()
    assert other.last_sync_time is None
