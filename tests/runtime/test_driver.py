"""The driver: what the engine wants sent is sent, what happened is reported, its timer fires."""

from __future__ import annotations

import asyncio

from tests.support.virtual_loop import run
from webrtc_py.runtime.driver import Driver


class Ticker:
    """An engine that sends the time each second, three times, and reports each."""

    def __init__(self, start: float) -> None:
        self.due: float | None = start + 1.0
        self._out: list[float] = []
        self._events: list[str] = []
        self.ticks = 0

    def handle_timeout(self, now: float) -> None:
        assert self.due is not None
        assert now >= self.due
        self.ticks += 1
        self._out.append(now)
        self._events.append(f"tick {self.ticks}")
        self.due = self.due + 1.0 if self.ticks < 3 else None

    def next_timeout(self) -> float | None:
        return self.due

    def datagrams_to_send(self, now: float) -> list[float]:
        out, self._out = self._out, []
        return out

    def events(self) -> list[str]:
        happened, self._events = self._events, []
        return happened

    def say(self, text: str) -> None:
        self._events.append(text)


def test_the_timer_is_armed_from_flush_to_flush() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        engine = Ticker(start)
        sent: list[float] = []
        seen: list[str] = []
        driver: Driver[float, str] = Driver(engine, sent.append, seen.append)
        driver.flush(start)
        await asyncio.sleep(10)
        assert [round(at - start, 6) for at in sent] == [1, 2, 3]
        assert seen == ["tick 1", "tick 2", "tick 3"]

    run(main())


def test_a_deadline_that_moves_away_fires_no_engine() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        engine = Ticker(start)
        sent: list[float] = []
        driver: Driver[float, str] = Driver(engine, sent.append, lambda event: None)
        driver.flush(start)
        engine.due = start + 5
        await asyncio.sleep(4)
        assert sent == []
        engine.due = start + 4.5
        driver.flush(loop.time())
        await asyncio.sleep(0.6)
        assert sent == [start + 4.5]
        driver.close()

    run(main())


def test_time_does_not_go_back_when_timers_fire_a_clock_tick_early() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        start = loop.time() + 0.5
        loop.call_at(start, lambda: None)
        times: list[float] = []
        # Both within the clock's resolution of the moment at which the loop wakes.
        deadlines = [start + 4e-10, start + 2e-10]

        class Engine(Ticker):
            def handle_timeout(self, now: float) -> None:
                times.append(now)
                deadlines.pop(0)

            def next_timeout(self) -> float | None:
                return deadlines[0] if deadlines else None

        driver: Driver[float, str] = Driver(Engine(start), lambda data: None, lambda event: None)
        driver.flush(loop.time())
        await asyncio.sleep(1)
        assert times == [start + 4e-10] * 2

    run(main())


def test_an_idle_engine_is_not_woken_for_a_deadline_that_has_moved_away() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        engine = Ticker(start)
        driver: Driver[float, str] = Driver(engine, lambda at: None, lambda event: None)
        driver.flush(start)
        engine.due = start + 5
        driver.flush(start)
        asked: list[float] = []

        def next_timeout() -> float | None:
            asked.append(loop.time())
            return engine.due

        engine.next_timeout = next_timeout  # type: ignore[method-assign]
        await asyncio.sleep(4.9)
        assert asked == []
        await asyncio.sleep(0.2)
        assert engine.ticks == 1
        driver.close()

    run(main())


def test_a_deadline_that_moves_away_all_the_time_seldom_moves_the_timer() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        engine = Ticker(loop.time())
        driver: Driver[float, str] = Driver(engine, lambda at: None, lambda event: None)
        timers: list[float] = []
        call_at = loop.call_at

        def counting_call_at(when: float, *args: object, **kwargs: object) -> asyncio.TimerHandle:
            timers.append(when)
            return call_at(when, *args, **kwargs)  # type: ignore[arg-type]

        loop.call_at = counting_call_at  # type: ignore[method-assign,assignment]
        for _ in range(1000):
            await asyncio.sleep(0.001)
            engine.due = loop.time() + 1
            driver.flush(loop.time())
        set_by_driver = len(timers) - 1000
        assert set_by_driver <= 5
        driver.close()

    run(main())


def test_far_deadlines_of_many_engines_are_met_together_and_near_ones_at_once() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        fired: list[float] = []
        drivers: list[Driver[float, str]] = []
        deadlines = [0.5, 0.999, *(1.801 + 0.001 * i for i in range(40))]
        for deadline in deadlines:
            engine = Ticker(start - 1 + deadline)
            engine.ticks = 2
            driver: Driver[float, str] = Driver(engine, fired.append, lambda event: None)
            driver.flush(start)
            drivers.append(driver)
        await asyncio.sleep(1.9)
        assert fired[:2] == [start + 0.5, start + 0.999]
        assert len(set(fired[2:])) <= 2
        for deadline, at in zip(deadlines[2:], fired[2:], strict=True):
            assert 0 <= at - start - deadline < 0.0501
        for driver in drivers:
            driver.close()

    run(main())


def test_flush_from_inside_an_event_is_done_in_the_same_flush() -> None:
    async def main() -> None:
        now = asyncio.get_running_loop().time()
        engine = Ticker(now)
        seen: list[str] = []

        def on_event(event: str) -> None:
            seen.append(event)
            if event == "first":
                engine.say("second")
                driver.flush(now)
                assert seen == ["first"]

        driver: Driver[float, str] = Driver(engine, lambda datagram: None, on_event)
        engine.say("first")
        driver.flush(now)
        assert seen == ["first", "second"]
        driver.close()

    run(main())


def test_after_close_the_engine_is_left_alone() -> None:
    async def main() -> None:
        now = asyncio.get_running_loop().time()
        engine = Ticker(now)
        driver: Driver[float, str] = Driver(engine, lambda datagram: None, lambda event: None)
        driver.flush(now)
        driver.close()
        await asyncio.sleep(2)
        assert engine.ticks == 0

    run(main())
