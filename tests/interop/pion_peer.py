"""Pion, in a process that is made of ``pion/peer.go``: its connections and agents, and what passes between the ends."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

from webrtc_py import API, Configuration, DataChannel, ICETransport, PeerConnection, SettingEngine

SOURCE = Path(__file__).parent / "pion" / "peer.go"
# Where Debian's golang-github-pion-webrtc.v3-dev puts Pion; the modules of Go's own proxy are not asked for.
GOPATH = Path("/usr/share/gocode")
TIMEOUT = 60.0
_LINE_LIMIT = 1 << 20
# Of the load: between two numbers.
_PERIOD = 0.005


def build(directory: Path, cache: Path) -> Path:
    """Make the program. ``cache`` is what Go keeps between two runs of the tests."""
    package = directory / "src" / "peer"
    package.mkdir(parents=True)
    shutil.copy(SOURCE, package)
    # Without modules Go finds a package named v3 in a directory without v3 only for a package that has this file.
    (package / "go.mod").write_text("module peer\n")
    program = directory / "peer"
    # No C compiler is needed either.
    settings = {"GO111MODULE": "off", "GOPROXY": "off", "GOFLAGS": "", "CGO_ENABLED": "0"}
    environment = os.environ | settings | {"GOPATH": f"{directory}:{GOPATH}", "GOCACHE": str(cache)}
    command = ["go", "build", "-o", str(program), "peer"]
    subprocess.run(command, env=environment, cwd=directory, check=True)
    return program


class Pion:
    """The process. :meth:`ask` is for one of its peers, which have numbers."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.events: defaultdict[tuple[int, str], asyncio.Queue[Any]] = defaultdict(asyncio.Queue)
        """By the number of the peer, and the event's name."""

    async def __aenter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(self._program, stdin=pipe, stdout=pipe, limit=_LINE_LIMIT)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *error: Any) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._reading

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ask(self, peer: int, command: str, **fields: Any) -> Any:
        """RuntimeError with what Pion says when it refuses."""
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": number, "peer": peer, "do": command} | fields).encode() + b"\n")
        result = await asyncio.wait_for(answer, TIMEOUT)
        if isinstance(result, dict) and "error" in result:
            raise RuntimeError(f"{command}: {result['error']}")
        return result

    async def event(self, peer: int, name: str) -> Any:
        """The value of the next event of this name."""
        return await asyncio.wait_for(self.events[peer, name].get(), TIMEOUT)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            message = json.loads(line)
            if "event" in message:
                self.events[message["peer"], message["event"]].put_nowait(message["value"])
            else:
                answer = self._answers.pop(message["id"])
                if not answer.cancelled():
                    answer.set_result(message["result"])


class Call:
    """A connection of Pion's and one of ours. Candidates trickle, if they may, for as long as both live."""

    ours: DataChannel

    def __init__(
        self,
        pion: Pion,
        settings: SettingEngine | None = None,
        configuration: Configuration | None = None,
        *,
        number: int = 1,
        trickle: bool = True,
        theirs: dict[str, Any] | None = None,
        their_configuration: dict[str, Any] | None = None,
    ) -> None:
        self.pion = pion
        self.number = number
        self.connection: PeerConnection = API(settings or SettingEngine()).new_peer_connection(configuration)
        self.states: list[str] = []
        self.connection.on_connection_state_change(lambda state: self.states.append(str(state)))
        self._trickle = trickle
        self._theirs = {"settings": theirs or {}, "configuration": their_configuration or {}}
        self._candidates: asyncio.Queue[Any] = asyncio.Queue()
        # Neither end takes a candidate of a description that it has not got, and Pion's do not name theirs.
        self._describing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self.ask("connection", **self._theirs)
        self.connection.on_ice_candidate(self._candidates.put_nowait)
        self._carrying = [asyncio.create_task(one) for one in (self._carry_to_pion(), self._carry_to_us())]
        return self

    async def __aexit__(self, *error: Any) -> None:
        for carrying in self._carrying:
            carrying.cancel()
        ends = await asyncio.gather(*self._carrying, return_exceptions=True)
        await self.connection.close()
        for end in ends:
            if not isinstance(end, asyncio.CancelledError):
                raise end

    async def ask(self, command: str, **fields: Any) -> Any:
        return await self.pion.ask(self.number, command, **fields)

    async def event(self, name: str) -> Any:
        return await self.pion.event(self.number, name)

    async def _carry_to_pion(self) -> None:
        while True:
            candidate = await self._candidates.get()
            async with self._describing:
                pass
            if candidate is not None and self._trickle:
                await self.ask("candidate", candidate=candidate.to_json())

    async def _carry_to_us(self) -> None:
        while True:
            candidate = await self.pion.events[self.number, "candidate"].get()
            async with self._describing:
                if self._trickle:
                    await self.connection.add_ice_candidate(candidate)

    async def negotiate(self, *, they_offer: bool, ice_restart: bool = False) -> None:
        async with self._describing:
            if they_offer:
                await self.connection.set_remote_description(await self._describe("offer", iceRestart=ice_restart))
                await self._tell_pion()
            else:
                await self._tell_pion(ice_restart=ice_restart)
                await self.connection.set_remote_description(await self._describe("answer"))

    async def _describe(self, kind: str, **fields: Any) -> dict[str, str]:
        description: dict[str, str] = await self.ask(kind, **fields)
        return description if self._trickle else dict(await self.ask("complete"))

    async def _tell_pion(self, *, ice_restart: bool = False) -> None:
        offer = await self.connection.create_offer(ice_restart=True) if ice_restart else None
        await self.connection.set_local_description(offer)
        if not self._trickle:
            await self.connection.gathering_complete()
        assert self.connection.local_description is not None
        await self.ask("describe", description=self.connection.local_description.to_json())

    async def connect(self, *, they_offer: bool) -> None:
        """Connect with the channel ``chat``, which the offerer makes; open at both ends."""
        channels: asyncio.Queue[DataChannel] = asyncio.Queue()
        if they_offer:
            self.connection.on_data_channel(channels.put_nowait)
            await self.ask("channel", label="chat")
        else:
            channels.put_nowait(self.connection.create_data_channel("chat"))
        await self.negotiate(they_offer=they_offer)
        self.ours = await asyncio.wait_for(channels.get(), TIMEOUT)
        await asyncio.wait_for(self.ours.opened(), TIMEOUT)
        await self.event("open chat")

    async def send_there(self, message: bytes | str, label: str = "chat") -> None:
        encoded = message.encode() if isinstance(message, str) else message
        await self.ask("send", label=label, data=base64.b64encode(encoded).decode(), isText=isinstance(message, str))

    async def recv_there(self, label: str = "chat") -> bytes | str:
        message = await self.event(f"message {label}")
        data = base64.b64decode(message["data"])
        return data.decode() if message["isText"] else data

    async def exchange(self, messages: list[bytes | str]) -> None:
        for message in messages:
            self.ours.send(message)
            await self.send_there(message)
        assert [await self.recv_there() for _ in messages] == messages
        assert [await asyncio.wait_for(self.ours.recv(), TIMEOUT) for _ in messages] == messages

    async def connection_state(self, state: str) -> None:
        """Wait until ours is in it."""
        async with asyncio.timeout(TIMEOUT):
            while self.connection.connection_state != state:  # noqa: ASYNC110  the handler is taken
                await asyncio.sleep(0.01)

    @property
    def ice(self) -> ICETransport:
        assert self.connection.sctp is not None
        return self.connection.sctp.transport.ice_transport


@asynccontextmanager
async def under_load(call: Call) -> AsyncIterator[None]:
    """Both ends count aloud on a channel that nobody announces. In the end nothing is missing at either."""
    ours = call.connection.create_data_channel("count", negotiated=100)
    await call.ask("channel", label="count", init={"negotiated": True, "id": 100})
    await ours.opened()
    await call.event("open count")
    ended = False

    async def count(send: Callable[[str], Awaitable[None]]) -> int:
        for number in itertools.takewhile(lambda _: not ended, itertools.count()):
            await send(str(number))
            await asyncio.sleep(_PERIOD)
        return number + 1

    async def send_here(number: str) -> None:
        ours.send(number)

    async with asyncio.TaskGroup() as tasks:
        here = tasks.create_task(count(send_here))
        there = tasks.create_task(count(lambda number: call.send_there(number, "count")))
        try:
            assert await call.recv_there("count") == "0"
            assert await ours.recv() == "0"
            yield
        finally:
            ended = True
    for number in range(1, here.result()):
        assert await call.recv_there("count") == str(number)
    for number in range(1, there.result()):
        assert await asyncio.wait_for(ours.recv(), TIMEOUT) == str(number)
