"""The test that guards the design of the journal: what devices replay is what there is."""

import hashlib
import os
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction
from django.db.models import Sum
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from drive_project.common.errors import DriveError
from files import journal, queries
from files.journal import Position
from files.models import (
    Change,
    File,
    FileStatus,
    FileVersion,
    Folder,
    StorageAccount,
    VersionStatus,
)
from files.services import deletions, folders, moves, purging, trash
from tests.files.trees import begin_upload, edit_file, put_file
from tests.people import new_device, new_person

pytestmark = pytest.mark.django_db

Tree = dict[str, dict[str, Any]]
names = st.sampled_from(["a", "A", "b", "c", "d.txt", "é", "e\u0301"])


def id_of(state: dict[str, Any]) -> str:
    return str(state.get("file_id") or state["folder_id"])


def listing(root: Folder) -> Tree:
    """The whole live tree, folder by folder, as a person who browses sees it."""
    found = {str(root.pk): journal.state_of(root)}
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        place = None
        while True:
            page = queries.children(folder, place=place, limit=3)
            for item in page.items:
                found[str(item.pk)] = journal.state_of(item)
                if isinstance(item, Folder):
                    waiting.append(item)
            place = page.next_place
            if place is None:
                break
    return found


def snapshot(user, namespace_id) -> Tree:
    found: Tree = {}
    place = None
    while True:
        page = queries.snapshot(user, namespace_id, place=place, limit=3)
        found |= {str(item.pk): journal.state_of(item) for item in page.items}
        place = page.next_place
        if place is None:
            return found


def replayed(tree: Tree, change: Change) -> None:
    """What a device does with one entry, as docs/protocol.md says."""
    state = change.item
    if change.action == "upsert":
        tree[id_of(state)] = state
        return
    doomed = {id_of(state)}
    while doomed:
        for item_id in doomed:
            tree.pop(item_id, None)
        doomed = {key for key, item in tree.items() if item["parent_folder_id"] in doomed}


picks = st.integers(0, 30)
devices = st.integers(0, 1)


class Devices(RuleBasedStateMachine):
    """Two devices of one person do whatever comes to their minds, refusals included."""

    def __init__(self):
        super().__init__()
        # One example is one transaction that never commits.
        self.example = transaction.atomic()
        self.example.__enter__()
        self.alice = new_person("alice")
        self.devices = [new_device(self.alice, "laptop"), new_device(self.alice, "phone")]
        self.root_id = queries.own_root(self.alice).pk
        self.namespace_id = queries.own_root(self.alice).namespace_id
        self.moments: list[tuple[dict[UUID, Position], Tree]] = []
        self.remember_this_moment()
        # Something to begin with: /a, /a/b, and a file in each.
        folder_id = self.root_id
        for name in ("a", "b"):
            made = folders.create_folder(
                device=self.devices[0], parent_folder_id=folder_id, name=name
            )
            folder_id = made.folder.pk
            put_file(self.devices[1], folder_id, "d.txt")
        self.remember_this_moment()

    def teardown(self):
        try:
            for limit in (1, 3, 1_000):
                self.replay_from_every_moment(limit)
        finally:
            transaction.set_rollback(True)
            self.example.__exit__(None, None, None)

    def tree(self) -> Tree:
        return listing(Folder.objects.get(pk=self.root_id))

    def attempt(self, operation, **named):
        """A refusal is fine; what it leaves behind is looked at all the same."""
        try:
            with transaction.atomic():
                operation(**named)
        except DriveError:
            event(f"{operation.__name__} refused")
        else:
            event(operation.__name__)

    def any_item(self, pick, *, trashed=None):
        """One of all items ever made and not purged; mostly not a root."""
        found: list[Folder | File] = [
            *Folder.objects.filter(parent_folder__isnull=False).order_by("pk"),
            *File.objects.filter(status=FileStatus.UPLOADED).order_by("pk"),
        ]
        if trashed is not None:
            found = [each for each in found if (each.deleted_at is not None) == trashed]
        return found[pick % len(found)]

    def is_empty(self):
        return not (
            Folder.objects.filter(parent_folder__isnull=False).exists()
            or File.objects.filter(status=FileStatus.UPLOADED).exists()
        )

    def has_trash(self):
        return any(
            model.objects.filter(deleted_at__isnull=False).exists() for model in (Folder, File)
        )

    def any_folder(self, pick):
        found = list(Folder.objects.order_by("pk"))
        return found[pick % len(found)].pk

    @rule(near=picks, name=names, who=devices)
    def make_a_folder(self, near, name, who):
        self.attempt(
            folders.create_folder,
            device=self.devices[who],
            parent_folder_id=self.any_folder(near),
            name=name,
        )

    @rule(near=picks, name=names, who=devices)
    def upload_a_file(self, near, name, who):
        self.attempt(
            put_file,
            device=self.devices[who],
            parent_folder_id=self.any_folder(near),
            name=name,
        )

    @rule(near=picks, who=devices)
    def begin_an_upload(self, near, who):
        parent = Folder.objects.get(pk=self.any_folder(near))
        begin_upload(self.devices[who], parent, "pending", size_bytes=5)

    @precondition(lambda self: not self.is_empty())
    @rule(pick=picks, who=devices)
    def edit(self, pick, who):
        item = self.any_item(pick)
        if isinstance(item, File):
            self.attempt(edit_file, device=self.devices[who], file=item)

    @precondition(lambda self: not self.is_empty())
    @rule(pick=picks, who=devices, name=st.none() | names, near=st.none() | picks)
    def update(self, pick, who, name, near):
        item = self.any_item(pick)
        named = {
            "device": self.devices[who],
            "rev": item.rev,
            "name": name,
            "parent_folder_id": None if near is None else self.any_folder(near),
        }
        if isinstance(item, Folder):
            self.attempt(moves.update_folder, folder_id=item.pk, **named)
        else:
            self.attempt(moves.update_file, file_id=item.pk, executable=True, **named)

    @precondition(lambda self: not self.is_empty())
    @rule(pick=picks, who=devices, unseen=st.none() | st.integers(0, 9))
    def delete(self, pick, who, unseen):
        item = self.any_item(pick)
        named = {"device": self.devices[who], "rev": item.rev}
        if isinstance(item, File):
            self.attempt(deletions.delete_file, file_id=item.pk, **named)
            return
        as_of_seq = None if unseen is None else max(0, item.namespace.head_seq - unseen)
        self.attempt(deletions.delete_folder, folder_id=item.pk, as_of_seq=as_of_seq, **named)

    @precondition(lambda self: self.has_trash())
    @rule(pick=picks, who=devices, near=st.none() | picks)
    def restore(self, pick, who, near):
        self.attempt(
            trash.restore,
            device=self.devices[who],
            item_id=self.any_item(pick, trashed=True).pk,
            parent_folder_id=None if near is None else self.any_folder(near),
        )

    @precondition(lambda self: self.has_trash())
    @rule(pick=st.integers(0, 3), who=devices, batches=st.integers(0, 3))
    def delete_for_ever(self, pick, who, batches):
        item = self.any_item(pick, trashed=True)
        self.attempt(trash.delete_for_ever, device=self.devices[who], item_id=item.pk)
        purging.purge(self.namespace_id, batches=batches)

    @rule()
    def remember_this_moment(self):
        self.moments.append((queries.latest_positions(self.alice), self.tree()))

    def replay_from_every_moment(self, limit):
        now = self.tree()
        assert snapshot(self.alice, self.namespace_id) == now
        for positions, then in self.moments:
            assert self.pulled(then, positions, limit) == now

    def pulled(self, tree: Tree, positions, limit: int) -> Tree:
        tree = dict(tree)
        has_more = True
        while has_more:
            page = queries.changes_since(self.alice, positions, limit=limit)
            assert not page.resets
            for change in page.entries:
                replayed(tree, change)
            positions, has_more = page.positions, page.has_more
        return tree

    @invariant()
    def the_journal_has_no_gap(self):
        changes = list(Change.objects.filter(namespace=self.namespace_id).order_by("seq"))
        assert [change.seq for change in changes] == list(range(1, len(changes) + 1))
        moments = [change.changed_at for change in changes]
        assert moments == sorted(moments)

    @invariant()
    def sizes_are_exact(self):
        account = StorageAccount.objects.get(owner=self.alice)
        for status, counted in (
            (VersionStatus.COMMITTED, account.used_bytes),
            (VersionStatus.PENDING, account.reserved_bytes),
        ):
            versions = FileVersion.objects.filter(status=status)
            assert counted == (versions.aggregate(n=Sum("size_bytes"))["n"] or 0)

    @invariant()
    def the_last_moment_leads_here(self):
        now = self.tree()
        positions, then = self.moments[-1]
        assert self.pulled(then, positions, 1_000) == now
        lines = sorted(f"{key} {state['rev']}\n" for key, state in now.items())
        expected = hashlib.sha256("".join(lines).encode()).hexdigest()
        assert queries.tree_digest(self.alice, self.namespace_id).digest == expected


def test_replaying_the_journal_from_any_moment_gives_the_tree(db):
    run_state_machine_as_test(
        Devices,
        settings=settings(
            max_examples=int(os.environ.get("DRIVE_TEST_EXAMPLES", "20")),
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
