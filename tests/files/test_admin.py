"""What an administrator changes by hand does not undo what happens at the same time."""

from contextlib import contextmanager

import pytest
from django.db import connection
from django.test import Client

from files.models import StorageAccount, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(bob):
    bob.is_staff = bob.is_superuser = True
    bob.save()
    client = Client()
    client.force_login(bob)
    return client


@contextmanager
def whenever_read(table, act):
    """Somebody else does something each time that a row of this table has been read."""

    def execute(carry_out, sql, params, many, context):
        found = carry_out(sql, params, many, context)
        if sql.startswith("SELECT") and f'FROM "{table}"' in sql:
            act()
        return found

    with connection.execute_wrapper(execute):
        yield


def test_a_new_quota_leaves_alone_what_a_commit_has_counted_meanwhile(staff, alice):
    account = StorageAccount.objects.filter(owner=alice)
    with whenever_read(
        "files_storageaccount", lambda: account.update(used_bytes=700, reserved_bytes=20)
    ):
        answer = staff.post(f"/admin/files/storageaccount/{alice.pk}/change/", {"limit_bytes": 50})

    assert answer.status_code == 302
    kept = account.get()
    assert (kept.limit_bytes, kept.used_bytes, kept.reserved_bytes) == (50, 700, 20)


def test_an_empty_quota_means_no_limit_and_a_negative_one_is_refused(staff, alice):
    where = f"/admin/files/storageaccount/{alice.pk}/change/"
    StorageAccount.objects.filter(owner=alice).update(limit_bytes=10)

    assert staff.post(where, {"limit_bytes": "-1"}).status_code == 200
    assert StorageAccount.objects.get(owner=alice).limit_bytes == 10
    assert staff.post(where, {"limit_bytes": ""}).status_code == 302
    assert StorageAccount.objects.get(owner=alice).limit_bytes is None


def test_a_new_name_leaves_alone_a_password_that_was_changed_meanwhile(staff, alice):
    person = User.objects.filter(pk=alice.pk)
    passwords = []

    def change_password():
        passwords.append(f"number {len(passwords)}")
        person.update(password=passwords[-1])

    with whenever_read("files_user", change_password):
        answer = staff.post(
            f"/admin/files/user/{alice.pk}/change/", {"name": "Alice", "is_active": "on"}
        )

    assert answer.status_code == 302
    assert (person.get().name, person.get().password) == ("Alice", passwords[-1])
