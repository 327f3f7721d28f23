"""The running sync client: one per configuration folder, and the same code in the
foreground and detached.

One thread runs the engines. The watchers, the notifier and the control socket only leave
notes for it and wake it, so nothing about a folder is ever decided at two places at once.
"""

import logging
import threading
import time
from dataclasses import replace
from typing import Any

from sync_client import status as status_document
from sync_client.api import HttpApi
from sync_client.config import Config, Pause, Store
from sync_client.daemon_answers import Answers
from sync_client.daemon_work import Backoff, Work, only_one
from sync_client.errors import (
    LoginRevoked,
    MustStop,
    NotLinked,
    StateDamaged,
    SyncError,
    Transient,
    Unreachable,
)
from sync_client.limits import Limits
from sync_client.linked import LinkedFolder, link_command
from sync_client.logs import trace_of
from sync_client.notify import Contact, Notifier
from sync_client.status import Exit, State

ACCOUNT_EVERY_SECONDS = 300.0
# How often at most those who watch are told of progress, and which part of the time that may
# take: the status is counted anew each time, which is long where much is left to do.
PROGRESS_EVERY_SECONDS = 0.25
PROGRESS_SHARE = 0.05
# A pause whose end is not known, or far off, is looked at this often: clocks are set.
LONGEST_REST_SECONDS = 600.0
UNEXPECTED = "Something went wrong that should not have. It is tried again."

logger = logging.getLogger("drive.daemon")


class Daemon:
    """Runs until it is told to stop. `run` is the engines' thread; the rest is for any."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._config = Config()
        self._works: list[Work] = []
        self._notifier: Notifier | None = None
        self._api: HttpApi | None = None
        self._account: dict[str, Any] = {}
        self._account_at = 0.0
        self._wake = threading.Event()
        # Set once the daemon was told to end.
        self.stopping = threading.Event()
        # Ends what waits or transfers inside a cycle.
        self._interrupt = threading.Event()
        # Notified after every step, for those who wait for an outcome.
        self.changed = threading.Condition()
        # Notes from other threads, under `changed`.
        self._reload = False
        self._signalled = False
        self._asked = 0
        # Up to which of the numbers asked for a turn has come to its end.
        self._tried = 0
        # How it stands.
        self._is_working = False
        self._offline: str | None = None
        # Why nothing could be opened at all, and whether that is for the user to mend.
        self._failure: str | None = None
        self._is_fatal = False
        self._backoff = Backoff()
        self._revoked: LoginRevoked | None = None
        self._pause: Pause | None = None
        self._progress_at = 0.0
        self._moved_bytes = {"up": 0, "down": 0}
        # One for all folders, and for as long as the daemon runs.
        self._limits = Limits()

    def run(self) -> None:
        """Work until `stop`. Raises AlreadyRunning, and NotLinked where nothing is to do."""
        with only_one(self._store.folder):
            self._store.load().linked()
            answers = Answers(self, self._store.folder)
            answers.start()
            try:
                while not self.stopping.is_set():
                    self._run_configured()
            finally:
                answers.close()

    # For other threads

    def stop(self) -> None:
        """End soon; also from a signal handler."""
        self.stopping.set()
        self._end_cycle()

    def reload(self) -> None:
        """Take notice of a new login or a newly linked folder."""
        with self.changed:
            self._reload = True
        self._end_cycle()

    def set_limits(self) -> None:
        """Take notice of other limits; whatever is under way keeps them from now on."""
        rates = self._store.load().rates
        with self.changed:
            self._config = replace(self._config, rates=rates)
        self._limits.set(rates)

    def confirm_deletions(self) -> int:
        """Let held deletions go ahead; how many are held now."""
        with self.changed:
            # As many as whoever confirms has been told of, and no more.
            for work in self._works:
                work.confirmed = work.status.held_deletions
            held = sum(work.confirmed for work in self._works)
        self.ask_for_everything()
        return held

    def ask_for_everything(self) -> int:
        """Have all folders scanned and all changes pulled; a number for `outcome`."""
        with self.changed:
            self._asked += 1
            number = self._asked
        self._wake.set()
        return number

    def outcome(self, number: int, *, is_once: bool = False) -> Exit | None:
        """How it ended, once everything asked for until then is done; None before.

        is_once: that the server did not answer is an end, too.
        """
        with self.changed:
            if self._revoked or not self._config.roots:
                return Exit.NOT_LINKED
            if self._pause is not None and self._tried >= number:
                return Exit.TEMPORARY
            if self._failure and self._is_fatal and self._tried >= number:
                return Exit.FATAL
            if is_once and self._tried >= number:
                if self._failure or any(work.failure for work in self._works):
                    return Exit.OTHER
                if self._offline or any(work.offline for work in self._works):
                    return Exit.TEMPORARY
            if not self._works or any(work.covered < number for work in self._works):
                return None
            if any(work.trouble for work in self._works):
                return Exit.FATAL
            if not all(work.result and work.result.is_finished for work in self._works):
                return None
            statuses = [work.status for work in self._works]
            code = status_document.exit_code_of(statuses)
            all_settled = all(work.result and work.result.is_settled for work in self._works)
            return code if code or all_settled else Exit.WITH_PROBLEMS

    def document(self) -> dict[str, Any]:
        """The document of `drive status --json`."""
        with self.changed:
            state, reason, next_step = self._state()
            return status_document.document(
                self._config,
                is_running=True,
                state=state,
                reason=reason,
                next_step=next_step,
                account=self._account,
                is_connected=self._is_connected(),
                statuses=[work.status for work in self._works],
                watched=[work.is_watched for work in self._works],
            )

    def moved_bytes(self) -> dict[str, int]:
        """Bytes sent and received since the start, for those who watch."""
        with self.changed:
            return dict(self._moved_bytes)

    def _state(self) -> tuple[State, str | None, str | None]:
        if self._revoked or self._config.login is None:
            return State.NEEDS_LOGIN, "The server no longer knows this device.", "drive login URL"
        for work in self._works:
            if work.trouble:
                next_step = work.trouble.next_step or link_command(work.folder.root)
                return State.ATTENTION, str(work.trouble), next_step
        if resting := status_document.paused(self._config):
            return State.PAUSED, *resting
        failures = [self._failure, *(work.failure for work in self._works)]
        if failure := next(filter(None, failures), None):
            return State.ATTENTION, failure, "drive log"
        if offline := self._why_offline():
            return State.OFFLINE, offline, None
        if found := status_document.attention([work.status for work in self._works]):
            return State.ATTENTION, *found
        results = [work.result for work in self._works]
        is_busy = any(result is not None and not result.is_finished for result in results)
        pending = [work.status.up_files + work.status.down_files for work in self._works]
        if is_busy or any(pending) or (self._is_working and None in results):
            return State.SYNCING, None, None
        if None in results:
            return State.CONNECTING, None, None
        return State.UP_TO_DATE, None, None

    def _why_offline(self) -> str | None:
        return self._offline or next(filter(None, (work.offline for work in self._works)), None)

    def _is_connected(self) -> bool:
        return (
            not self._why_offline()
            and self._notifier is not None
            and self._notifier.contact is Contact.CONNECTED
        )

    def _end_cycle(self) -> None:
        self._interrupt.set()
        for work in self._works:
            work.folder.stop()
        self._wake.set()

    def _on_signal(self) -> None:
        with self.changed:
            self._signalled = True
        self._wake.set()

    def _known_cursor(self) -> str | None:
        with self.changed:
            return self._works[0].cursor if self._works else None

    def _note_bytes(self, up: int, down: int) -> None:
        with self.changed:
            self._moved_bytes["up"] += up
            self._moved_bytes["down"] += down

    # One configuration

    def _run_configured(self) -> None:
        """Work on what is configured, until that changes or the daemon stops."""
        try:
            self._open()
            while not self._must_end():
                self._turn()
                self._wake.wait(self._seconds_to_next())
                self._wake.clear()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next start may do
            self._begin_anew(error)
        finally:
            self._close()
        if self._failure and not self._must_end():
            self._wake.wait(max(0.0, self._backoff.until - time.monotonic()))
            self._wake.clear()

    def _begin_anew(self, error: Exception) -> None:
        """What went wrong concerns more than one cycle: close everything, open it again."""
        pause = self._backoff.lengthen()
        logger.error("starting again in %.0f s: %s", pause, trace_of(error))
        with self.changed:
            self._failure = str(error) if isinstance(error, SyncError) else UNEXPECTED
            self._is_fatal = isinstance(error, MustStop)
            self._tried = self._asked
            self.changed.notify_all()

    def _must_end(self) -> bool:
        return self.stopping.is_set() or self._reload

    def _open(self) -> None:
        with self.changed:
            self._reload = False
            self._revoked = self._offline = None
            self._config = config = self._store.load()
            self._pause = config.pause_now()
            self._account, self._account_at = self._store.account(), 0.0
        self._limits.set(config.rates)
        if not self.stopping.is_set():
            self._interrupt.clear()
        self._store.drop_old_states()
        if config.login is None:
            return
        try:
            token = self._store.token()
        except NotLinked as error:
            self._revoked = LoginRevoked(str(error))
            return
        self._api = HttpApi(config.login.server_url, token, sleep=self._interrupt.wait)
        works = [
            Work(
                LinkedFolder(
                    self._store,
                    config.login,
                    root,
                    self._api,
                    stopping=self._interrupt,
                    limits=self._limits,
                    ignore=config.ignore,
                    on_progress=self._progress,
                    on_bytes=self._note_bytes,
                ),
                changed=self.changed,
                on_change=self._wake.set,
            )
            for root in config.roots
        ]
        with self.changed:
            self._works = works
        if self._pause is not None:
            # Nobody need tell us of changes that we would not fetch.
            return
        self._notifier = Notifier(
            self._api,
            config.login.server_url,
            token,
            cursor=self._known_cursor,
            on_signal=self._on_signal,
        )
        self._notifier.start()

    def _close(self) -> None:
        if self._notifier:
            self._notifier.stop()
        with self.changed:
            works, self._works = self._works, []
        for work in works:
            work.close()
        if self._api:
            self._api.close()
        self._notifier = self._api = None

    # The loop

    def _turn(self) -> None:
        """Do what is due."""
        with self.changed:
            signalled, self._signalled = self._signalled, False
            asked = self._asked
        if signalled and self._notifier and self._notifier.contact is Contact.REVOKED:
            self._revoked = LoginRevoked("The server no longer knows this device.")
        if self._revoked:
            self._publish()
            return
        if self._pause is not None:
            self._rest(self._pause, asked=asked)
            return
        for work in self._works:
            work.want(asked=asked, pull=signalled)
        try:
            if not self._look_at_all(is_signalled=signalled, asked=asked):
                return
            with self.changed:
                self._offline = None
                self._tried = asked
                self.changed.notify_all()
            self._acknowledge()
            self._refresh_account()
        except LoginRevoked as error:
            logger.warning("the server no longer knows this device")
            self._revoked = error
        except Transient as error:
            if not self._must_end():
                logger.info("again in %.0f s: %s", self._backoff.lengthen(error.retry_after), error)
                with self.changed:
                    self._offline = str(error)
                    self._tried = asked
        else:
            self._backoff.end()
            with self.changed:
                self._failure, self._is_fatal = None, False
        self._publish()

    def _rest(self, pause: Pause, *, asked: int) -> None:
        """Do nothing, and say so to whoever asks for something."""
        if pause.is_over(time.time()):
            logger.info("the pause is over")
            # With everything anew: what happened meanwhile, nobody has watched.
            with self.changed:
                self._reload = True
            return
        with self.changed:
            self._tried = asked
        self._publish()

    def _look_at_all(self, *, is_signalled: bool, asked: int) -> bool:
        """A cycle of each folder that has a reason for it; whether the turn is complete."""
        has_tried = time.monotonic() >= self._backoff.until
        for work in self._works:
            if self._must_end():
                return False
            # News from the server, or somebody who waits: no need to go on waiting.
            is_wanted = is_signalled or work.covered < asked
            not_before = max(work.backoff.until, self._backoff.until)
            if (is_wanted or time.monotonic() >= not_before) and work.is_due(self._interrupt):
                has_tried = True
                self._cycle(work)
        return has_tried

    def _cycle(self, work: Work) -> None:
        """One look at one folder. What goes wrong there stays there, unless the server
        cannot be reached at all."""
        self._is_working = True
        self._publish()
        try:
            work.cycle()
        except (LoginRevoked, Unreachable, StateDamaged):
            raise
        except MustStop as error:
            if work.trouble is None:
                logger.error("a linked folder has to wait: %s", type(error).__name__)
            work.suspend(error)
        except Transient as error:
            if not self._must_end():
                pause = work.backoff.lengthen(error.retry_after)
                logger.info("a linked folder, again in %.0f s: %s", pause, error)
                work.postpone(offline=str(error))
        except Exception as error:  # noqa: BLE001 - it must not end the others
            pause = work.backoff.lengthen()
            logger.error("a linked folder, again in %.0f s: %s", pause, trace_of(error))
            text = str(error) if isinstance(error, SyncError) else UNEXPECTED
            work.postpone(failure=text)
        finally:
            self._is_working = False
        if work.result and work.result.operations:
            logger.info("%d steps done", work.result.operations)
            self._account_at = 0.0

    def _seconds_to_next(self) -> float | None:
        """How long nothing will be due unless something happens; None: for ever."""
        if self._must_end():
            return 0.0
        if self._revoked or not self._works:
            return None
        if self._pause is not None:
            # Wall clock: a pause outlives the daemon, and sleeps with the machine.
            left = LONGEST_REST_SECONDS
            if self._pause.until is not None:
                left = min(left, max(0.0, self._pause.until - time.time()))
            return left
        next_at = max(min(work.next_at() for work in self._works), self._backoff.until)
        return max(0.0, next_at - time.monotonic())

    def _acknowledge(self) -> None:
        """Say up to where all folders have applied what the first of them has pulled."""
        first = self._works[0] if self._works else None
        if self._notifier is None or first is None or first.cursor is None:
            return
        if all(
            work.result is not None
            and work.result.is_finished
            and work.pulled_at >= first.pulled_at
            for work in self._works
        ):
            self._notifier.acknowledge(first.cursor)

    def _refresh_account(self) -> None:
        now = time.monotonic()
        if self._api is None or now < self._account_at + ACCOUNT_EVERY_SECONDS:
            return
        answer = self._api.request("GET", "account")
        self._account = {key: answer[key] for key in ("used_bytes", "quota_bytes")}
        self._account_at = now
        self._store.save_account(self._account)

    def _progress(self) -> None:
        """Let those who wait see how far it is, now and then."""
        began = time.monotonic()
        if began < self._progress_at:
            return
        self._publish()
        ended = time.monotonic()
        self._progress_at = ended + max(PROGRESS_EVERY_SECONDS, (ended - began) / PROGRESS_SHARE)

    def _publish(self) -> None:
        """Let those who wait see how it stands."""
        found = [(work, work.folder.engine.status()) for work in self._works]
        with self.changed:
            for work, status in found:
                work.status = status
            self.changed.notify_all()
