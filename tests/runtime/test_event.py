"""Events run in order, one handler at a time, never inside the call that caused them, and never fatally."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.support.virtual_loop import run
from webrtc_py.errors import ConnectionClosedError
from webrtc_py.runtime.event import Event, EventQueue, OnceEvent
from webrtc_py.runtime.shared import Shared


def test_a_handler_never_runs_inside_the_call_that_caused_it() -> None:
    async def main() -> None:
        events = EventQueue("test")
        on_number = Event[int]("on_number", events)
        seen: list[int] = []
        on_number(seen.append)
        on_number.emit(1)
        assert seen == []
        await asyncio.sleep(0)
        assert seen == [1]

    run(main())


def test_inside_a_step_handlers_run_when_it_ends_and_not_before() -> None:
    async def main() -> None:
        shared = Shared.of_running_loop()
        step = shared.step
        on_number = Event[int]("on_number", EventQueue("test"))
        seen: list[int] = []

        def handler(number: int) -> None:
            seen.append(number)
            if number < 3:
                on_number.emit(number + 1)
                assert seen[-1] == number

        on_number(handler)
        with step:
            with step:
                on_number.emit(1)
            assert seen == []
        assert seen == [1, 2, 3]

    run(main())


def test_the_next_event_of_an_object_waits_for_a_coroutine_handler() -> None:
    async def main() -> None:
        events = EventQueue("test")
        on_slow = Event[str]("on_slow", events)
        on_quick = Event[str]("on_quick", events)
        other = Event[str]("other", EventQueue("other"))
        seen: list[str] = []
        gate = asyncio.Event()

        async def slow(text: str) -> None:
            seen.append(f"{text} starts")
            await gate.wait()
            seen.append(f"{text} ends")

        on_slow(slow)
        on_quick(seen.append)
        other(seen.append)
        on_slow.emit("slow")
        on_quick.emit("quick")
        other.emit("another object")
        for _ in range(3):
            await asyncio.sleep(0)
        assert seen == ["another object", "slow starts"]
        gate.set()
        await events.join()
        await asyncio.sleep(0)
        assert seen[2:] == ["slow ends", "quick"]

    run(main())


@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError])
def test_what_a_handler_raises_is_logged_and_changes_nothing(
    caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    async def main() -> None:
        on_number = Event[int]("on_number", EventQueue("thing 7"))
        seen: list[int] = []

        @on_number
        def handler(number: int) -> None:
            seen.append(number)
            raise error(f"in {number}")

        on_number.emit(1)
        on_number.emit(2)
        await asyncio.sleep(0)

        @on_number
        async def coroutine(number: int) -> None:
            seen.append(number)
            raise error(f"in {number}")

        on_number.emit(3)
        on_number.emit(4)
        for _ in range(9):
            await asyncio.sleep(0)
        assert seen == [1, 2, 3, 4]

    with caplog.at_level(logging.ERROR):
        run(main())
    assert [record.message for record in caplog.records] == ["thing 7: the on_number handler raised"] * 4
    assert all(record.exc_info for record in caplog.records)


def test_a_handler_that_finds_something_closed_came_too_late_and_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        on_number = Event[int]("on_number", EventQueue("thing 7"))

        @on_number
        def handler(number: int) -> None:
            raise ConnectionClosedError("the connection is closed")

        on_number.emit(1)
        await asyncio.sleep(0)

        @on_number
        async def coroutine(number: int) -> None:
            raise ConnectionClosedError("the connection is closed")

        on_number.emit(2)
        for _ in range(3):
            await asyncio.sleep(0)

    with caplog.at_level(logging.INFO):
        run(main())
    message = "thing 7: the on_number handler came too late: the connection is closed"
    assert [(record.levelno, record.message, record.exc_info) for record in caplog.records] == [
        (logging.INFO, message, None)
    ] * 2


def test_one_handler_an_event_and_none_removes_it() -> None:
    async def main() -> None:
        on_number = Event[int]("on_number", EventQueue("test"))
        first: list[int] = []
        second: list[int] = []
        assert on_number(first.append) is not None
        on_number(second.append)
        on_number.emit(1)
        await asyncio.sleep(0)
        assert on_number(None) is None
        on_number.emit(2)
        await asyncio.sleep(0)
        assert (first, second) == ([], [1])
        with pytest.raises(TypeError, match="on_number takes a function"):
            on_number(5)  # type: ignore[arg-type]

    run(main())


def test_after_close_nothing_runs() -> None:
    async def main() -> None:
        events = EventQueue("test")
        on_number = Event[int]("on_number", events)
        seen: list[int] = []
        on_number(seen.append)
        on_number.emit(1)
        events.close()
        on_number.emit(2)
        await asyncio.sleep(0)
        assert seen == []

    run(main())


def test_close_and_join_work_from_inside_a_handler() -> None:
    async def main() -> None:
        events = EventQueue("test")
        on_number = Event[int]("on_number", events)
        ended = asyncio.Event()

        @on_number
        async def handler(number: int) -> None:
            events.close()
            await events.join()
            ended.set()

        on_number.emit(1)
        on_number.emit(2)
        await ended.wait()

    run(main())


def test_an_event_that_happens_once_reaches_a_handler_that_is_set_late() -> None:
    async def main() -> None:
        on_open = OnceEvent("on_open", EventQueue("test"))
        seen: list[str] = []
        on_open.emit()
        await asyncio.sleep(0)
        on_open(lambda: seen.append("late"))
        assert seen == []
        await asyncio.sleep(0)
        on_open(lambda: seen.append("too late"))
        await asyncio.sleep(0)
        assert seen == ["late"]

    run(main())


def test_handlers_that_post_without_end_leave_the_loop_its_turns() -> None:
    async def main() -> None:
        on_number = Event[int]("on_number", EventQueue("test"))
        count = 0

        @on_number
        def handler(number: int) -> None:
            nonlocal count
            count += 1
            on_number.emit(number + 1)

        on_number.emit(0)
        for _ in range(10):
            await asyncio.sleep(0)
        assert count > 0
        on_number(None)

    run(main())
