"""The virtual loop: time jumps, order is kept, and what is left behind is found."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from .real_loop import run_real
from .virtual_loop import DeadlockError, VirtualLoop, VirtualTimeoutError, run


def test_time_jumps_to_exactly_the_next_timer() -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        start = loop.time()
        moments = []
        for delay in (0.1, 3600.0, 86400.0 * 30):
            await asyncio.sleep(delay)
            moments.append(loop.time() - start)
        return moments

    assert run(main(), timeout_virtual=None) == pytest.approx([0.1, 3600.1, 86400.0 * 30 + 3600.1])


def test_timers_with_equal_deadlines_keep_their_order() -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        fired: list[int] = []
        when = loop.time() + 1
        for number in range(100):
            loop.call_at(when, fired.append, number)
            if number % 3 == 0:
                loop.call_at(when - 0.5, int).cancel()
        await asyncio.sleep(2)
        return fired

    assert run(main()) == list(range(100))


def test_a_deadlock_says_who_waits_where() -> None:
    async def wait_for_nothing() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(DeadlockError, match="wait_for_nothing"):
        run(wait_for_nothing())


def test_the_virtual_timeout_says_who_waits_where() -> None:
    async def too_long() -> None:
        await asyncio.sleep(100)

    with pytest.raises(VirtualTimeoutError, match="sleep"):
        run(too_long(), timeout_virtual=99)


def test_a_loop_that_turns_without_end_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.virtual_loop._TURNS_BEFORE_LIVELOCK", 1000)

    async def spin() -> None:
        while True:  # noqa: ASYNC110
            await asyncio.sleep(0)

    with pytest.raises(DeadlockError, match="without end"):
        run(spin())


def test_a_task_that_is_left_is_a_failure() -> None:
    async def main() -> None:
        main.task = asyncio.create_task(asyncio.sleep(5), name="forgotten")  # type: ignore[attr-defined]

    with pytest.raises(AssertionError, match=r"task left.*forgotten"):
        run(main())


def test_a_timer_that_is_left_is_a_failure() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_later(5, print)

    with pytest.raises(AssertionError, match="timer left"):
        run(main())


def test_an_exception_in_a_callback_is_a_failure() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(1)

    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        run(main())


@pytest.mark.parametrize("keep", [True, False])
def test_an_exception_of_a_task_that_nobody_took_is_a_failure(keep: bool) -> None:
    kept = []

    async def fail() -> None:
        raise ValueError("nobody looks")

    async def main() -> None:
        task = asyncio.create_task(fail())
        if keep:
            kept.append(task)
        del task
        await asyncio.sleep(1)

    with pytest.raises(AssertionError, match="nobody looks"):
        run(main())


def test_a_thread_that_is_left_is_a_failure() -> None:
    stop = threading.Event()

    async def main() -> None:
        threading.Thread(target=stop.wait).start()

    with pytest.raises(AssertionError, match="thread left"):
        run(main())
    stop.set()


def test_the_result_and_the_exception_of_the_test_come_through() -> None:
    async def answer() -> int:
        return 42

    async def fail() -> None:
        raise KeyError("mine")

    assert run(answer()) == 42
    with pytest.raises(KeyError, match="mine"):
        run(fail())


def test_what_an_executor_would_do_is_done_at_once() -> None:
    async def main() -> tuple[int, float]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        result = await loop.run_in_executor(None, sum, [1, 2, 3])
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return result, loop.elapsed

    assert run(main()) == (6, 0.0)


def test_a_real_loop_has_the_same_checks() -> None:
    async def clean() -> str:
        await asyncio.sleep(0)
        return "done"

    left: socket.socket | None = None

    async def leaves_a_socket() -> None:
        nonlocal left
        left = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        asyncio.get_running_loop().add_reader(left, print)

    assert run_real(clean()) == "done"
    with pytest.raises(AssertionError, match="socket watched") as caught:
        run_real(leaves_a_socket())
    assert "descriptor left" in str(caught.value)
    assert left is not None
    left.close()
