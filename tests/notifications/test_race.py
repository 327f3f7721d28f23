"""However a poll, a writer and a lossy queue interleave, no change is slept through."""

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings as django_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from files import public
from files.events import Changed
from files.public import Session, Standing
from notifications import dispatch
from notifications.dispatch import Dispatcher
from notifications.longpoll import long_poll

USER, DEVICE, ROOT = UUID(int=1), UUID(int=2), UUID(int=3)


class Journal:
    """Stands for the File Service: one namespace, whose head only rises."""

    def __init__(self, head: int) -> None:
        self.head = head

    def answer(self, question: Callable[..., Any], *args: Any) -> Any:
        if question is public.sign_in_with_tokens:
            session = Session(USER, DEVICE, is_browser=False, last_sync_time=None)
            return dict.fromkeys(args[0], session)
        if question is public.compare:
            return {(USER, cursor): self._standing(cursor) for _, cursor in args[0]}
        if question is public.members_of:
            return {ROOT: {USER}}
        if question is public.heads_of:
            return {USER: {ROOT: self.head}}
        if question is public.signed_in_devices:
            return {DEVICE}
        raise AssertionError(question)

    def _standing(self, cursor: str) -> Standing:
        newer = frozenset({ROOT} if int(cursor) != self.head else ())
        return Standing(cursor, {ROOT: int(cursor)}, newer)


class Scripted(Dispatcher):
    """Asks the journal when the test says so, and hears the answer when the test says so."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(django_settings.REDIS_URL, django_settings.EVENTS_REDIS_URL)
        self.journal = journal
        self.steps: list[asyncio.Future[None]] = []

    async def ask(self, question, *args, **kwargs):
        await self._step()
        answer = self.journal.answer(question, *args, **kwargs)
        await self._step()
        return answer

    ask_at_once = ask

    async def _step(self) -> None:
        step = asyncio.get_running_loop().create_future()
        self.steps.append(step)
        await step


class Stage:
    """A poll that has just come in, a writer, and the queue between them."""

    def __init__(self, *, cursor: int) -> None:
        self.journal = Journal(head=5)
        self.cursor = cursor
        self.service = Scripted(self.journal)
        # As after its start, but reading when the test says so.
        dispatch._dispatchers[asyncio.get_running_loop()] = self.service
        self.unpublished: list[int] = []
        self.queue: list[int] = []
        self.is_lossy = False
        # The intake does one thing after the other.
        self.intake: asyncio.Future[None] | None = None
        self.answers: list[dict[str, Any]] = []
        scope = {
            "method": "GET",
            "headers": [(b"authorization", b"Bearer x")],
            "query_string": f"cursor={cursor}&timeout=300".encode(),
        }
        self.poll = asyncio.ensure_future(
            long_poll(scope, asyncio.Event().wait, self._hear)  # type: ignore[arg-type]
        )

    async def _hear(self, message: dict[str, Any]) -> None:
        self.answers.append(message)

    @staticmethod
    async def settle() -> None:
        """Run all that can run now."""
        for _ in range(12):
            await asyncio.sleep(0)

    @property
    def is_intake_free(self) -> bool:
        return self.intake is None or self.intake.done()

    async def step(self, which: int = 0) -> None:
        """Go on with a question: ask it, or hear its answer."""
        self.service.steps.pop(which).set_result(None)
        await self.settle()

    def commit(self) -> None:
        self.journal.head += 1
        self.unpublished.append(self.journal.head)

    def publish(self, which: int = 0) -> None:
        self.queue.append(self.unpublished.pop(which))

    def lose(self) -> None:
        self.queue.clear()
        self.is_lossy = True

    async def deliver(self, count: int = 1) -> None:
        batch = [Changed(ROOT, self.queue.pop(0)) for _ in range(count)]
        self.intake = asyncio.ensure_future(self.service.deliver(batch))
        await self.settle()

    async def doubt(self) -> None:
        self.is_lossy = False
        self.intake = asyncio.ensure_future(self.service.compare_all())
        await self.settle()

    async def finish(self) -> None:
        """Let all that has begun come to its end; the device must know by then."""
        while self.service.steps or self.unpublished or self.queue or self.is_lossy:
            if self.service.steps:
                await self.step()
            elif self.unpublished:
                self.publish()
            elif self.queue:
                await self.deliver(len(self.queue))
            else:
                await self.doubt()
        if self.journal.head == self.cursor:
            assert self.answers == []
        else:
            assert [message["type"] for message in self.answers] == [
                "http.response.start",
                "http.response.body",
            ]
            assert json.loads(self.answers[1]["body"])["result"] == "changes"
        self.poll.cancel()
        await asyncio.gather(self.poll, return_exceptions=True)
        assert len(self.service.connections) == 0
        await self.service.close()


# The poll's two questions, each asked and answered: so many moments between its steps.
MOMENTS = range(5)


@pytest.mark.parametrize(
    ("commit_at", "publish_at", "deliver_at"),
    list(itertools.combinations_with_replacement(MOMENTS, 3)),
)
async def test_a_change_at_any_moment_wakes_the_device(commit_at, publish_at, deliver_at):
    stage = Stage(cursor=5)
    await stage.settle()
    for moment in MOMENTS:
        if moment == commit_at:
            stage.commit()
        if moment == publish_at:
            stage.publish()
        if moment == deliver_at:
            await stage.deliver()
            while not stage.is_intake_free:
                await stage.step(-1)
        if stage.service.steps:
            await stage.step()
    await stage.finish()


async def play(draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
    stage = Stage(cursor=5 - draw(st.integers(0, 1)))
    await stage.settle()
    for _ in range(draw(st.integers(0, 25))):
        possible = [
            *(["step"] if stage.service.steps else []),
            *(["commit"] if stage.journal.head < 9 else []),
            *(["publish"] if stage.unpublished else []),
            *(["lose"] if stage.queue else []),
            *(["deliver"] if stage.queue and stage.is_intake_free else []),
            *(["doubt"] if stage.is_lossy and stage.is_intake_free else []),
        ]
        if not possible:
            break
        match draw(st.sampled_from(possible)):
            case "step":
                await stage.step(draw(st.integers(0, len(stage.service.steps) - 1)))
            case "commit":
                stage.commit()
            case "publish":
                stage.publish(draw(st.integers(0, len(stage.unpublished) - 1)))
            case "lose":
                stage.lose()
            case "deliver":
                await stage.deliver(draw(st.integers(1, len(stage.queue))))
            case "doubt":
                await stage.doubt()
    await stage.finish()


@settings(deadline=None)
@given(st.data())
def test_however_events_come_or_are_lost_the_device_is_woken(data):
    asyncio.run(play(data.draw))
