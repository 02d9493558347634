from __future__ import annotations

import asyncio

import pytest

from tests.support.virtual_loop import turns
from webrtc_py.errors import ConnectionClosedError
from webrtc_py.runtime.operations import OperationsChain


class Script:
    """Operations that wait until they are told to go on, and a record of what happened."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.chain = OperationsChain(lambda: self.log.append("empty"))

    def start(self, name: str, *, fails: bool = False) -> asyncio.Task[str]:
        gate = self.gates[name] = asyncio.Event()

        async def operation() -> str:
            self.log.append(f"{name} starts")
            await gate.wait()
            self.log.append(f"{name} ends")
            if fails:
                raise ValueError(name)
            return name

        return asyncio.get_running_loop().create_task(self.chain.run(operation))

    def let(self, *names: str) -> None:
        for name in names:
            self.gates[name].set()


@pytest.mark.row("WPC-01")
def test_one_at_a_time_in_order_and_results_settle_in_order() -> None:
    async def scenario() -> None:
        script = Script()
        assert script.chain.empty
        tasks = [script.start(name) for name in "abc"]
        script.let("c", "b")
        await turns()
        assert script.log == ["a starts"]
        assert not script.chain.empty
        script.let("a")
        assert await asyncio.gather(*tasks) == ["a", "b", "c"]
        assert script.log == ["a starts", "a ends", "b starts", "b ends", "c starts", "c ends", "empty"]
        assert script.chain.empty

    asyncio.run(scenario())


def test_an_operation_that_fails_lets_the_next_one_run() -> None:
    async def scenario() -> None:
        script = Script()
        first, second = script.start("a", fails=True), script.start("b")
        script.gates["a"].set()
        script.gates["b"].set()
        with pytest.raises(ValueError, match="a"):
            await first
        assert await second == "b"

    asyncio.run(scenario())


def test_a_cancelled_caller_takes_its_operation_along() -> None:
    async def scenario() -> None:
        script = Script()
        tasks = {name: script.start(name) for name in "abcd"}
        await turns()
        tasks["b"].cancel()
        tasks["a"].cancel()
        await turns()
        assert script.log == ["a starts", "c starts"]
        # Given its turn and cancelled before it took it.
        script.let("c", "d")
        await turns(1)
        tasks["d"].cancel()
        await turns()
        assert script.log == ["a starts", "c starts", "c ends", "empty"]
        assert script.chain.empty

    asyncio.run(scenario())


@pytest.mark.row("WPC-01")
def test_close_refuses_what_waits_and_what_comes() -> None:
    async def scenario() -> None:
        script = Script()
        tasks = {name: script.start(name) for name in "abc"}
        await turns()
        script.chain.close()
        script.chain.close()
        for name in "bc":
            with pytest.raises(ConnectionClosedError):
                await tasks[name]
        with pytest.raises(ConnectionClosedError):
            await script.start("d")
        script.let("a")
        assert await tasks["a"] == "a"
        assert script.log == ["a starts", "a ends"]

    asyncio.run(scenario())


def test_a_call_whose_turn_comes_while_the_connection_closes_does_not_start() -> None:
    """As in ``await pc.set_local_description()`` and then ``await pc.close()``, with another call in between."""

    async def scenario() -> None:
        script = Script()

        async def first_and_close() -> None:
            await script.chain.run(turns)
            script.chain.close()

        first = asyncio.get_running_loop().create_task(first_and_close())
        await asyncio.sleep(0)
        second = script.start("b")
        await first
        with pytest.raises(ConnectionClosedError):
            await second
        assert script.log == []

    asyncio.run(scenario())
