"""Programs inside namespaces, and the lines of JSON that the tests steer them by.

A line to a program is a call, ``{"id": 1, "call": "name", ...arguments}``. It answers ``{"id": 1, "result": ...}`` or
``{"id": 1, "error": "..."}``, unless the id is 0. Of what happens by itself it tells in lines with an ``event``.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import json
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from .namespaces import Namespace

ROOT = Path(__file__).parents[2]
_START_TIMEOUT = 100.0
_CALL_TIMEOUT = 60.0
_LIMIT = 1 << 20


class Remote:
    """The tests' end."""

    def __init__(self, label: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.label = label
        self.log = log
        self.takers: dict[str, Callable[[dict[str, Any]], None]] = {}
        """Who is told of the events of what has this name inside."""
        self._process = process
        self._numbers = itertools.count(1)
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._ready = asyncio.Event()
        self._ended = False

    @classmethod
    @contextlib.asynccontextmanager
    async def start(cls, module: str, namespace: Namespace, directory: Path) -> AsyncIterator[Remote]:
        """Run ``python -m module`` inside; what it logs goes to a file in ``directory``."""
        log = directory / f"{namespace.label}.log"
        with log.open("w") as errors:
            process = await asyncio.create_subprocess_exec(
                *namespace.command(sys.executable, "-m", module),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                limit=_LIMIT,
            )
        remote = cls(namespace.label, process, log)
        reading = asyncio.create_task(remote._read())
        try:
            await remote._is_ready()
            yield remote
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), 20)
            except TimeoutError:
                process.kill()
                await process.wait()
            await reading

    async def _is_ready(self) -> None:
        """Wait until the program can be called; many may be starting at once."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ready.wait(), _START_TIMEOUT)
        if self._ended or not self._ready.is_set():
            raise RuntimeError(f"{self.label} did not start:\n{self.log_text()}")

    async def call(self, method: str, /, **arguments: Any) -> Any:
        """What the program's method returns. RuntimeError when it raised or has ended."""
        assert self._process.stdin is not None
        if self._ended:
            raise RuntimeError(f"{self.label} has ended:\n{self.log_text()}")
        number = next(self._numbers)
        answer = self._calls[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps({"id": number, "call": method, **arguments}).encode() + b"\n")
        try:
            return await asyncio.wait_for(answer, _CALL_TIMEOUT)
        except TimeoutError:
            raise RuntimeError(f"{self.label} did not answer {method} {arguments}:\n{self.log_text()}") from None
        finally:
            del self._calls[number]

    def post(self, method: str, /, **arguments: Any) -> None:
        """Call without waiting: what goes wrong stands in the program's log."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": 0, "call": method, **arguments}).encode() + b"\n")

    def log_text(self, *words: str, lines: int = 60) -> str:
        """The last lines that it logged, or the last of those that have one of the words."""
        text = self.log.read_text(errors="replace").splitlines()
        chosen = [line for line in text if not words or any(word in line for word in words)]
        return "\n".join([f"--- {self.label} ---", *chosen[-lines:]])

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            message = json.loads(line)
            if message.get("event") == "ready":
                self._ready.set()
                continue
            if "id" not in message:
                self.takers[message["name"]](message)
                continue
            answer = self._calls.get(message["id"])
            if answer is None or answer.done():
                continue
            if "error" in message:
                answer.set_exception(RuntimeError(f"{self.label}: {message['error']}"))
            else:
                answer.set_result(message["result"])
        self._ended = True
        self._ready.set()
        for answer in self._calls.values():
            if not answer.done():
                answer.set_exception(RuntimeError(f"{self.label} has ended:\n{self.log_text()}"))


class Service:
    """The program's end: its public methods, plain or coroutines, are what can be called."""

    def tell(self, event: str, **details: Any) -> None:
        _write({"event": event, **details})

    async def close(self) -> None:
        """The tests have finished."""

    async def serve(self) -> None:
        """Until standard input ends."""
        reader = asyncio.StreamReader(limit=_LIMIT)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        tasks: set[asyncio.Task[None]] = set()
        self.tell("ready")
        async for line in reader:
            message = json.loads(line)
            number, method = message.pop("id"), message.pop("call")
            # Plain methods act at once, so that calls have the effects of their order.
            task = asyncio.create_task(self._answer(number, method, message))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        for task in tasks:
            task.cancel()
        await self.close()

    async def _answer(self, number: int, method: str, arguments: dict[str, Any]) -> None:
        try:
            result = getattr(self, method)(**arguments)
            if inspect.isawaitable(result):
                result = await result
        except Exception as error:
            logging.exception("%s failed", method)
            answer = {"error": f"{method}: {type(error).__name__}: {error}"}
        else:
            answer = {"result": result}
        if number:
            _write({"id": number, **answer})


def _write(message: dict[str, Any]) -> None:
    # A line of a pipe's atomic size or less; the tests read at once.
    os.write(sys.stdout.fileno(), json.dumps(message).encode() + b"\n")


def serve(service: Service) -> None:
    """A program's main function. Its log has the wall clock's time in front."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.Formatter.converter = time.gmtime
    asyncio.run(service.serve())
