"""Many who ask at one moment are one question."""

import asyncio

import pytest

from notifications.together import Together


class Oracle:
    """Answers when the test says so, with the number of the question."""

    def __init__(self):
        self.asked = []
        self.answers = []

    async def __call__(self, keys):
        self.asked.append(set(keys))
        answer = asyncio.get_running_loop().create_future()
        self.answers.append(answer)
        await answer
        return dict.fromkeys(keys - {"unknown"}, len(self.asked))


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_those_who_come_while_one_is_asked_are_asked_about_together():
    oracle = Oracle()
    together = Together(oracle)
    first = asyncio.ensure_future(together.ask("a"))
    await settle()
    later = [asyncio.ensure_future(together.ask(key)) for key in ("b", "c", "a", "unknown")]
    await settle()
    assert oracle.asked == [{"a"}]
    assert together.waiting == 5

    oracle.answers[0].set_result(None)
    assert await first == 1
    await settle()
    assert oracle.asked == [{"a"}, {"a", "b", "c", "unknown"}]
    oracle.answers[1].set_result(None)
    # Even who asks the same as the first is given an answer of their own time.
    assert await asyncio.gather(*later) == [2, 2, 2, None]
    assert together.waiting == 0
    assert not together.running


async def test_one_who_goes_away_takes_the_answer_from_nobody():
    oracle = Oracle()
    together = Together(oracle)
    gone, stays = (asyncio.ensure_future(together.ask(key)) for key in ("a", "b"))
    await settle()
    gone.cancel()
    await settle()
    oracle.answers[0].set_result(None)
    assert await stays == 1
    assert gone.cancelled()


async def test_a_question_that_fails_fails_for_all_of_it_and_for_nobody_after():
    oracle = Oracle()
    together = Together(oracle)
    failing = [asyncio.ensure_future(together.ask(key)) for key in ("a", "b")]
    await settle()
    oracle.answers[0].set_exception(ConnectionError("away"))
    for one in failing:
        with pytest.raises(ConnectionError, match="away"):
            await one
    after = asyncio.ensure_future(together.ask("a"))
    await settle()
    oracle.answers[1].set_result(None)
    assert await after == 2


async def test_what_runs_can_be_ended():
    together = Together(Oracle(), within_seconds=3600)
    waiting = asyncio.ensure_future(together.ask("a"))
    await settle()
    for task in together.running:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not together.running
