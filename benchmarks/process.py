"""Child processes that each hold one end of a connection; the parent carries descriptions and asks for figures."""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.connection
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from benchmarks.peer import Channel, Peer, Stack, load

# How long a child may take to answer. A machine under load is slow, not dead.
PATIENCE = 60.0

_context = multiprocessing.get_context("spawn")


class Mark(NamedTuple):
    """What a child had done at one moment."""

    time: float
    cpu: float
    bytes: int


class Parent:
    """The child's end of the pipe, on its event loop."""

    def __init__(self, pipe: multiprocessing.connection.Connection) -> None:
        self._pipe = pipe
        self._received: asyncio.Queue[Any] = asyncio.Queue()
        asyncio.get_running_loop().add_reader(pipe.fileno(), self._readable)

    def _readable(self) -> None:
        self._received.put_nowait(self._pipe.recv())

    def send(self, message: object) -> None:
        self._pipe.send(message)

    async def receive(self) -> Any:
        return await self._received.get()

    async def connect(self, stack: Stack, offers: bool) -> tuple[Peer, Channel]:
        """This process's end of the connection that the parent's ``connect`` makes."""
        peer = stack.create_peer()
        if offers:
            self.send(await peer.offer())
            await peer.accept(await self.receive())
        else:
            self.send(await peer.answer(await self.receive()))
        return peer, await peer.channel()

    async def serve_marks(self, total: Callable[[], int]) -> None:
        """Answer the parent's questions "mark", until it says anything else."""
        while await self.receive() == "mark":
            self.send(Mark(time.monotonic(), time.process_time(), total()))


class Child:
    """The parent's end of the pipe."""

    def __init__(self, pipe: multiprocessing.connection.Connection) -> None:
        self._pipe = pipe

    def send(self, message: object) -> None:
        self._pipe.send(message)

    def receive(self) -> Any:
        if not self._pipe.poll(PATIENCE):
            raise TimeoutError(f"a child process said nothing for {PATIENCE} s")
        return self._pipe.recv()

    def mark(self) -> Mark:
        self.send("mark")
        return Mark(*self.receive())


# A child's life: its stack, the pipe to its parent, and what else it was started with.
Life = Callable[..., Coroutine[Any, Any, None]]


def _live(life: Life, stack: str, pipe: multiprocessing.connection.Connection, arguments: tuple[Any, ...]) -> None:
    async def main() -> None:
        await life(load(stack), Parent(pipe), *arguments)

    asyncio.run(main())


@contextmanager
def children(stack: str, *lives: tuple[Any, ...]) -> Iterator[list[Child]]:
    """Start a process for each (life, argument, ...); on leaving, wait for their end, or end them after an error."""
    with ExitStack() as at_end:
        started = []
        for life, *arguments in lives:
            here, there = _context.Pipe()
            process = _context.Process(target=_live, args=(life, stack, there, tuple(arguments)), daemon=True)
            process.start()
            there.close()
            at_end.callback(here.close)
            at_end.callback(process.kill)
            started.append((process, Child(here)))
        yield [child for _, child in started]
        for process, _ in started:
            process.join(10)


def connect(offerer: Child, answerer: Child) -> None:
    """Carry offer and answer between two children that call ``Parent.connect``."""
    answerer.send(offerer.receive())
    offerer.send(answerer.receive())
