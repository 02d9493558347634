"""An event loop whose clock jumps: when nothing is ready, it is at once the time of the next timer.

A minute of virtual time costs what its callbacks cost, and two runs of one test are the same: timers with equal
deadlines fire in the order in which they were set, which asyncio's own heap does not promise.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import heapq
import random
import secrets
from asyncio.base_events import BaseEventLoop
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from .leaks import Watch, settle

T = TypeVar("T")

START = 1000.0
"""The loop's time when it is made: not zero, so that code which takes a moment for a duration is found out."""

# So many turns of the loop without the clock moving mean that something schedules itself again and again.
_TURNS_BEFORE_LIVELOCK = 1_000_000


class DeadlockError(AssertionError):
    """The test waits, and nothing is left that could end its wait."""


class VirtualTimeoutError(AssertionError):
    """The test's virtual time is up."""


class _OrderedTimer(asyncio.TimerHandle):
    """A timer that knows how many were set before it."""

    __slots__ = ("sequence",)
    sequence: int

    def __lt__(self, other: asyncio.TimerHandle) -> bool:
        assert isinstance(other, _OrderedTimer)
        return (self._when, self.sequence) < (other._when, other.sequence)  # type: ignore[attr-defined]


class _Jump:
    """Stands in for the selector, which is where a loop would sleep."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._turns = 0

    def select(self, timeout: float | None) -> list[Any]:
        if timeout == 0:
            self._turns += 1
            if self._turns > _TURNS_BEFORE_LIVELOCK:
                self._turns = 0
                raise DeadlockError(f"the loop turns without end at {self._loop.time()}")
            return []
        self._turns = 0
        self._loop.jump()
        return []

    def close(self) -> None:
        pass


class VirtualLoop(BaseEventLoop):
    """See the module. ``limit`` is how many virtual seconds may pass before :class:`VirtualTimeoutError`."""

    def __init__(self, limit: float | None = None) -> None:
        super().__init__()
        self._now = START
        self._end = None if limit is None else START + limit
        self._set_timers = 0
        self._selector = _Jump(self)
        # What else must be empty at the end, a virtual network for example: each call describes what is still open.
        self.leftovers: list[Callable[[], list[str]]] = []

    def time(self) -> float:
        return self._now

    @property
    def elapsed(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now - START

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        self._check_closed()  # type: ignore[attr-defined]
        timer = _OrderedTimer(when, callback, args, self, context)
        timer.sequence = self._set_timers
        self._set_timers += 1
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Run it here and now: no thread, and the clock stands still meanwhile."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001
            future.set_exception(error)
        return future

    def jump(self) -> None:
        """Make it the time of the next timer."""
        timers = self._scheduled  # type: ignore[attr-defined]
        if not timers:
            raise DeadlockError(f"nothing is ready and no timer is set at {self._now}:\n{self._who_waits()}")
        when = timers[0].when()
        if self._end is not None and when > self._end:
            raise VirtualTimeoutError(f"{self._end - START} virtual seconds are over:\n{self._who_waits()}")
        self._now = max(self._now, when)

    def _who_waits(self) -> str:
        tasks = asyncio.all_tasks(self)
        return "\n".join(f"  {task.get_name()} waits in {_place(task)}" for task in tasks) or "  no task is left"

    # What BaseEventLoop asks of a loop with a real selector.

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


def _place(task: asyncio.Task[Any]) -> str:
    """Where a task is: the innermost frame of its chain of awaits."""
    frames = task.get_stack()
    coroutine: Any = task.get_coro()
    frame = frames[-1] if frames else None
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or frame
        coroutine = getattr(coroutine, "cr_await", None)
    if frame is None:
        return "no frame"
    return f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})"


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let ``secrets`` and ``random`` give the same values each time. OpenSSL's own, its keys above all, stay random."""
    source, state = random.Random(seed), random.getstate()
    replaced = {"token_bytes": source.randbytes, "randbits": source.getrandbits, "choice": source.choice}
    originals = {name: getattr(secrets, name) for name in (*replaced, "randbelow")}
    random.seed(seed)
    for name, function in {**replaced, "randbelow": source.randrange}.items():
        setattr(secrets, name, function)
    try:
        yield
    finally:
        random.setstate(state)
        for name, function in originals.items():
            setattr(secrets, name, function)


def run(main: Coroutine[Any, Any, T], *, timeout_virtual: float | None = 600.0, seed: int = 0) -> T:
    """Run ``main`` on a fresh virtual loop, and fail when anything went wrong beside it or is left after it.

    With the same ``seed`` and the same network a test takes the same course each time, packet by packet.
    Wrong is a call of the loop's exception handler, an exception of a task that nobody took, a task, a timer, a socket
    of a virtual network or a thread that is still there when ``main`` is done.
    """
    loop = VirtualLoop(timeout_virtual)
    watch = Watch(loop)
    try:
        asyncio.set_event_loop(loop)
        with seeded(seed):
            result = loop.run_until_complete(main)
        loop.run_until_complete(settle())
        watch.assert_nothing_left(more=[line for call in loop.leftovers for line in call()])
        return result
    finally:
        watch.abandon()
        asyncio.set_event_loop(None)
        loop.close()


async def turns(count: int = 20) -> None:
    """Let the loop turn this often: what was posted has happened then, and no time has passed."""
    for _ in range(count):
        await asyncio.sleep(0)
