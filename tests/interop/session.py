"""A page and a PeerConnection, whose candidates trickle for as long as both live: through restarts, too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

from webrtc_py import API, Configuration, DataChannel, ICECandidate, ICETransport, SettingEngine

from .chromium import TIMEOUT, BrowserChannel, BrowserPeer, Chromium, Summary, content, summary

# Of the load: of each message of the data, what may wait to be sent, and between two numbers.
_BLOCK = 32 * 1024
_BUFFERED = 512 * 1024
_PERIOD = 0.01


class Session:
    """Two ends with their signalling. ``theirs`` and ``ours`` are the ends of one channel, once it is connected."""

    theirs: BrowserChannel
    ours: DataChannel

    def __init__(
        self, browser: BrowserPeer, settings: SettingEngine | None = None, configuration: Configuration | None = None
    ) -> None:
        self.browser = browser
        self.connection = API(settings or SettingEngine()).new_peer_connection(configuration)
        self.connection_states: list[str] = []
        self.connection.on_connection_state_change(lambda state: self.connection_states.append(str(state)))
        self.candidates: list[ICECandidate] = []
        """Ours, as the application was told of them."""
        self.tell_browser = self.tell_us = True
        """Whether ours are carried to the browser, and the browser's to us."""
        self.trickling = asyncio.Event()
        """Whether candidates are carried as they are found, or kept for later, out of the descriptions too."""
        self.trickling.set()
        self._to_browser: asyncio.Queue[ICECandidate | None] = asyncio.Queue()
        self.connection.on_ice_candidate(self._found)
        # A browser takes no candidate of a description that it has not got.
        self._describing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._carrying = [asyncio.create_task(one) for one in (self._carry_to_browser(), self._carry_to_us())]
        return self

    async def __aexit__(self, *error: Any) -> None:
        for carrying in self._carrying:
            carrying.cancel()
        ends = await asyncio.gather(*self._carrying, return_exceptions=True)
        await self.connection.close()
        await self.browser.close()
        for end in ends:
            if not isinstance(end, asyncio.CancelledError):
                raise end

    def _found(self, candidate: ICECandidate | None) -> None:
        if candidate is not None:
            self.candidates.append(candidate)
        self._to_browser.put_nowait(candidate)

    async def _carry_to_browser(self) -> None:
        while True:
            candidate = await self._to_browser.get()
            await self.trickling.wait()
            if self.tell_browser:
                async with self._describing:
                    await self.browser.add_ice_candidate(candidate and candidate.to_json())

    async def _carry_to_us(self) -> None:
        while True:
            candidate = await self.browser.candidates.get()
            await self.trickling.wait()
            if self.tell_us:
                await self.connection.add_ice_candidate(candidate)

    async def negotiate(self, *, browser_offers: bool, ice_restart: bool = False) -> None:
        """An offer and its answer; ``ice_restart`` is for an offer of ours."""
        if browser_offers:
            await self._describe_to_us(await self.browser.create_offer())
            await self._describe_to_browser()
        else:
            await self._describe_to_browser(ice_restart=ice_restart)
            await self._describe_to_us(await self.browser.create_answer())

    async def _describe_to_browser(self, *, ice_restart: bool = False) -> None:
        async with self._describing:
            offer = await self.connection.create_offer(ice_restart=True) if ice_restart else None
            await self.connection.set_local_description(offer)
            assert self.connection.local_description is not None
            description = self.connection.local_description.to_json()
            await self.browser.set_remote_description(self._told(description, self.tell_browser))

    async def _describe_to_us(self, description: dict[str, str]) -> None:
        await self.connection.set_remote_description(self._told(description, self.tell_us))

    def _told(self, description: dict[str, str], with_candidates: bool) -> dict[str, str]:
        return description if with_candidates and self.trickling.is_set() else _bare(description)

    async def connect(self, *, browser_offers: bool) -> None:
        """Connect with one channel, which the browser makes if it offers."""
        if browser_offers:
            channels: asyncio.Queue[DataChannel] = asyncio.Queue()
            self.connection.on_data_channel(channels.put_nowait)
            self.theirs = await self.browser.create_data_channel("chat")
            await self.negotiate(browser_offers=True)
            self.ours = await channels.get()
        else:
            self.ours = self.connection.create_data_channel("chat")
            await self.negotiate(browser_offers=False)
            self.theirs = await self.browser.incoming_channel()
        await self.theirs.state("open")
        await self.ours.opened()

    async def connect_gathered(self, *, browser_offers: bool) -> None:
        """Connect when the browser has all its candidates: with its first path it ends its gathering."""
        self.trickling.clear()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.connect(browser_offers=browser_offers))
            await self.browser.gathering_complete()
            self.trickling.set()

    async def exchange(self, *, size: int = 200_000, count: int = 5) -> None:
        """Random messages both ways, the same when they arrive; the channel must be unused before."""
        there: list[Summary] = []
        for number in range(count):
            self.ours.send(content(True, size, number))
            there.append(await self.theirs.send_content(number % 2 == 0, size))
        assert [summary(await self.ours.recv()) for _ in there] == there
        sent = [summary(content(True, size, number)) for number in range(count)]
        assert (await self.theirs.received(count))[-count:] == sent

    async def negotiated_channel(self, id: int) -> tuple[BrowserChannel, DataChannel]:
        """Both ends of a channel that nobody announces, open."""
        ours = self.connection.create_data_channel(str(id), negotiated=id)
        theirs = await self.browser.create_data_channel(str(id), negotiated=True, id=id)
        await theirs.state("open")
        await ours.opened()
        return theirs, ours

    @property
    def ice(self) -> ICETransport:
        assert self.connection.sctp is not None
        return self.connection.sctp.transport.ice_transport

    def ufrags(self) -> tuple[str, str]:
        """Ours and the browser's, of the newest descriptions."""
        ours, theirs = self.ice.gatherer.get_local_parameters(), self.ice.get_remote_parameters()
        assert theirs is not None
        return ours.username_fragment, theirs.username_fragment

    async def on_path(self, local: str, remote: str) -> None:
        """Wait until the data takes the path of these user fragments, ours and the browser's, at both ends."""
        # Neither end tells when a nomination has arrived at the other.
        async with asyncio.timeout(TIMEOUT):
            while True:
                ours, theirs = self.ice.get_selected_candidate_pair_stats(), await self.browser.selected_pair()
                named = (theirs["remote"].get("usernameFragment"), theirs["local"].get("usernameFragment"))
                if ours is not None and ours.generation == local and named == (local, remote):
                    return
                await asyncio.sleep(0.05)


def _bare(description: dict[str, str]) -> dict[str, str]:
    """Without candidates: some may have been found before it was read."""
    lines = description["sdp"].splitlines(keepends=True)
    return description | {"sdp": "".join(line for line in lines if not line.startswith("a=candidate:"))}


@asynccontextmanager
async def connected(
    chromium: Chromium,
    settings: SettingEngine | None = None,
    configuration: Configuration | None = None,
    *,
    browser_offers: bool = False,
    mdns: bool = False,
    **browser_configuration: Any,
) -> AsyncIterator[Session]:
    browser = await chromium.peer(mdns=mdns, **browser_configuration)
    async with Session(browser, settings, configuration) as session:
        await session.connect(browser_offers=browser_offers)
        yield session


@asynccontextmanager
async def under_load(session: Session) -> AsyncIterator[None]:
    """Both ends count aloud, and beside it send each other random data. In the end nothing is missing at either."""
    numbers_there, numbers_here = await session.negotiated_channel(100)
    bulk_there, bulk_here = await session.negotiated_channel(101)
    numbers: list[bytes | str] = []
    bulk: list[Summary] = []
    sent: list[Summary] = []
    sent_there: list[Summary] = []
    counted = 0
    ended = False
    # Read as it comes: a reader who waits makes the sender wait.
    numbers_here.on_message(numbers.append)
    bulk_here.on_message(lambda message: bulk.append(summary(message)))

    async def count() -> None:
        nonlocal counted
        while not ended:
            numbers_here.send(str(counted))
            counted += 1
            await asyncio.sleep(_PERIOD)

    async def send_bulk() -> None:
        while not ended:
            await bulk_here.drain(_BUFFERED)
            message = content(True, _BLOCK, len(sent))
            bulk_here.send(message)
            sent.append(summary(message))
            await asyncio.sleep(_PERIOD)

    async def send_bulk_there() -> None:
        while not ended:
            sent_there.append(await bulk_there.send_content(True, _BLOCK))

    async def arrive(numbers_here: int, bulk_here: int) -> None:
        async with asyncio.timeout(TIMEOUT):
            while len(numbers) < numbers_here or len(bulk) < bulk_here:  # noqa: ASYNC110  handlers tell nobody
                await asyncio.sleep(_PERIOD)

    async with asyncio.TaskGroup() as tasks:
        for sending in (count(), send_bulk(), send_bulk_there()):
            tasks.create_task(sending)
        await numbers_there.start_counting(_PERIOD)
        try:
            await arrive(10, 10)
            yield
            await arrive(len(numbers) + 10, len(bulk) + 10)
        finally:
            ended = True
    counted_there = await numbers_there.stop_counting()

    assert await numbers_there.received_texts(counted) == [str(number) for number in range(counted)]
    assert await bulk_there.received(len(sent)) == sent
    await arrive(counted_there, len(sent_there))
    assert numbers == [str(number) for number in range(counted_there)]
    assert bulk == sent_there
