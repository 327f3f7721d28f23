"""What the File Service does by itself: thin doors for Celery. The times are in celery.py."""

from datetime import timedelta

from celery import shared_task

from files import idempotency, outbox
from files.services import aborts, confirmation, damage, purging, retention, trash

# Of one run; the next one goes on.
CONFIRM_BUDGET = timedelta(seconds=50)


@shared_task(ignore_result=True, acks_late=True)
def relay_outbox() -> None:
    """Every 5 s: deliver what could not be delivered at once.

    Twice is harmless: receivers take a message again without a difference.
    """
    while outbox.relay():
        pass


@shared_task(ignore_result=True, acks_late=True)
def expire_uploads() -> None:
    """Every 10 minutes: abort uploads that are too old, forget what nobody asks for again.

    Twice is harmless: each row is settled by a conditional update, or is gone already.
    """
    aborts.abort_expired()
    aborts.forget_old()
    idempotency.forget_before()


@shared_task(ignore_result=True, acks_late=True)
def expire_trash() -> None:
    """Every hour: delete for ever what has been in the trash for its time.

    Twice is harmless: the second finds nothing.
    """
    trash.expire_trash()


@shared_task(ignore_result=True, acks_late=True)
def expire_versions() -> None:
    """Every 6 hours: remove versions that their owners' policies no longer keep.

    Twice is harmless: what is gone does not change what the others are.
    """
    for _ in retention.expire_versions():
        pass


@shared_task(ignore_result=True, acks_late=True)
def finish_deletions() -> None:
    """Every minute: go on with large or interrupted deletions for ever.

    Twice is harmless: each batch takes what is left, under the namespace's lock.
    """
    purging.purge_all()


@shared_task(ignore_result=True, acks_late=True)
def note_damage() -> None:
    """Every minute: mark versions of which a stored block is damaged, and unmark what healed.

    Twice is harmless: the second finds nothing new.
    """
    damage.note_damage()


@shared_task(ignore_result=True, acks_late=True)
def confirm_content_hashes() -> None:
    """Every minute: read new versions and confirm their content hashes.

    Twice is harmless: a version is read by one at a time, and to confirm again changes
    nothing.
    """
    confirmation.confirm_content_hashes(budget=CONFIRM_BUDGET)
