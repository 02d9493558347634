"""A headless Chromium whose page is one WebRTC peer, driven from asyncio; ``page.html`` is its other half.

One browser serves all tests of a module (starting it takes a second); each peer is a page in its own browser context.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from playwright.async_api import Browser, BrowserContext, Page, Playwright, Route, async_playwright

Result = TypeVar("Result")

PAGE = Path(__file__).with_name("page.html")
# A secure context (crypto.subtle) without a certificate. No server listens: the browser's requests are answered here.
ORIGIN = "http://localhost"
TIMEOUT = 60.0
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Each window would have two pages of its own behind the address bar, which cost more than the page under test.
    "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup",
]


class Summary(NamedTuple):
    """What a message was, without carrying 256 KiB through the browser's debugging port."""

    binary: bool
    size: int
    sha256: str


def summary(message: bytes | str) -> Summary:
    encoded = message.encode() if isinstance(message, str) else message
    return Summary(not isinstance(message, str), len(encoded), hashlib.sha256(encoded).hexdigest())


def content(binary: bool, size: int, seed: int = 0) -> bytes | str:
    """A message of ``size`` bytes; text is of two-byte letters, and one ASCII letter where the size is odd."""
    source = random.Random(f"{binary} {size} {seed}")
    if binary:
        return source.randbytes(size)
    return "x" * (size % 2) + "".join(chr(0x100 + byte) for byte in source.randbytes(size // 2))


@dataclass(frozen=True)
class BrowserChannel:
    """A data channel of the page, named by its index there."""

    peer: BrowserPeer
    index: int

    async def describe(self) -> dict[str, Any]:
        """The channel's W3C attributes, and ``events``: the names of its events so far, in order."""
        described: dict[str, Any] = await self.peer.call("describe", self.index)
        return described

    async def state(self, wanted: str) -> None:
        """Wait until ``readyState`` is ``wanted``."""
        await self.peer.evaluate(
            "([index, wanted]) => until(() => channels[index].channel.readyState === wanted || undefined)",
            [self.index, wanted],
        )

    async def event(self, name: str) -> None:
        """Wait until the event ``name`` has been fired, now or earlier."""
        await self.peer.evaluate(
            "([index, name]) => until(() => channels[index].events.includes(name) || undefined)", [self.index, name]
        )

    async def send_text(self, text: str) -> None:
        await self.peer.evaluate("([index, text]) => channels[index].channel.send(text)", [self.index, text])

    async def send_content(self, binary: bool, size: int) -> Summary:
        """Send random content that the page makes."""
        sent = await self.peer.call("sendContent", self.index, binary, size)
        return Summary(sent["binary"], sent["size"], sent["sha256"])

    async def send_numbers(self, count: int) -> None:
        """Send the strings "0", "1", ... up to ``count``, at once."""
        await self.peer.call("sendNumbers", self.index, count)

    async def start_counting(self, period: float) -> None:
        """Send the strings "0", "1", ..., one in ``period`` seconds."""
        await self.peer.call("startCounting", self.index, 1000 * period)

    async def stop_counting(self) -> int:
        """How many have been sent."""
        counted: int = await self.peer.call("stopCounting", self.index)
        return counted

    async def received(self, count: int) -> list[Summary]:
        """Wait until ``count`` messages have come; all so far, in order."""
        return [Summary(one["binary"], one["size"], one["sha256"]) for one in await self._received(count)]

    async def received_texts(self, count: int) -> list[str | None]:
        """The same as texts; None for what is binary or longer than 64 bytes."""
        return [one["text"] for one in await self._received(count)]

    async def _received(self, count: int) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = await self.peer.evaluate(
            """([index, count]) =>
                until(() => channels[index].received.length >= count ? channels[index].received : undefined)""",
            [self.index, count],
        )
        return messages

    async def close(self) -> None:
        await self.peer.evaluate("(index) => channels[index].channel.close()", self.index)


class BrowserPeer:
    """The page's RTCPeerConnection. Everything that waits gives up after ``TIMEOUT`` seconds."""

    def __init__(self, context: BrowserContext, page: Page) -> None:
        self._context = context
        self._page = page
        self.candidates: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.connection_states: list[str] = []

    async def open(self, configuration: dict[str, Any]) -> None:
        await self._page.expose_function("report", self._report)
        await self._page.goto(ORIGIN)
        await self.call("start", configuration)

    def _report(self, name: str, value: Any) -> None:
        if name == "ice_candidate":
            self.candidates.put_nowait(value)
        else:
            self.connection_states.append(value)

    async def evaluate(self, expression: str, argument: Any = None) -> Any:
        try:
            async with asyncio.timeout(TIMEOUT):
                return await self._page.evaluate(expression, argument)
        except TimeoutError:
            raise TimeoutError(f"the page did not answer {expression!r} {argument!r} in {TIMEOUT} s") from None

    async def call(self, function: str, *arguments: Any) -> Any:
        """Call one of the page's functions."""
        return await self.evaluate(f"(parameters) => {function}(...parameters)", list(arguments))

    async def create_data_channel(self, label: str, **init: Any) -> BrowserChannel:
        """``init`` has the names of RTCDataChannelInit."""
        index = await self.evaluate(
            "([label, init]) => adopt(pc.createDataChannel(label, init))",
            [label, init],
        )
        return BrowserChannel(self, index)

    async def incoming_channel(self, number: int = 0) -> BrowserChannel:
        """Wait for the ``number``-th channel that the other side made."""
        return BrowserChannel(self, await self.evaluate("(number) => until(() => incoming[number])", number))

    async def add_transceiver(self, kind: str) -> None:
        await self.evaluate("(kind) => void pc.addTransceiver(kind)", kind)

    async def transceivers(self) -> list[dict[str, Any]]:
        described: list[dict[str, Any]] = await self.evaluate(
            "() => pc.getTransceivers().map(({mid, currentDirection, stopped}) => ({mid, currentDirection, stopped}))"
        )
        return described

    async def create_offer(self) -> dict[str, str]:
        """Create an offer and set it as the local description."""
        offer: dict[str, str] = await self.call("create", "offer")
        return offer

    async def create_answer(self) -> dict[str, str]:
        answer: dict[str, str] = await self.call("create", "answer")
        return answer

    async def local_description(self) -> dict[str, str]:
        described: dict[str, str] = await self.evaluate("() => pc.localDescription.toJSON()")
        return described

    async def set_remote_description(self, description: dict[str, str]) -> None:
        await self.evaluate("(description) => pc.setRemoteDescription(description)", description)

    async def add_ice_candidate(self, candidate: dict[str, Any] | None) -> None:
        await self.evaluate("(candidate) => pc.addIceCandidate(candidate)", candidate)

    async def gathering_complete(self) -> None:
        await self.evaluate("() => until(() => pc.iceGatheringState === 'complete' || undefined)")

    async def connection_state(self, wanted: str) -> None:
        """Wait until ``connectionState`` is ``wanted``."""
        await self.evaluate("(wanted) => until(() => pc.connectionState === wanted || undefined)", wanted)

    async def restart_ice(self) -> None:
        await self.evaluate("() => pc.restartIce()")

    async def selected_pair(self) -> dict[str, dict[str, Any]]:
        """``local`` and ``remote``: the RTCIceCandidateStats of the path in use."""
        pair: dict[str, dict[str, Any]] = await self.call("selectedPair")
        return pair

    async def candidate_pairs(self) -> list[dict[str, Any]]:
        """The RTCIceCandidatePairStats of all, with the addresses at both ends as ``local`` and ``remote``."""
        pairs: list[dict[str, Any]] = await self.call("candidatePairs")
        return pairs

    async def close(self) -> None:
        """Close the connection, and the page after it."""
        await self.evaluate("() => pc.close()")
        await self._context.close()


class Chromium:
    """The browser process. ``run`` runs a test's coroutine on the loop that the browser's driver lives on."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._playwright: Playwright | None = None
        self._browser: Browser | None = None

    def run(self, test: Callable[[], Awaitable[Result]]) -> Result:
        async def bounded() -> Result:
            async with asyncio.timeout(3 * TIMEOUT):
                return await test()

        return self._runner.run(bounded())

    def start(self) -> None:
        self._runner.run(self._start())

    async def _start(self) -> None:
        self._playwright = await async_playwright().start()
        self._browser = await self._playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)

    async def peer(self, *, mdns: bool = True, **configuration: Any) -> BrowserPeer:
        """A new page's RTCPeerConnection(configuration).

        Without ``mdns`` the page may use a microphone, and then the browser shows real addresses in candidates.
        """
        assert self._browser is not None
        context = await self._browser.new_context(permissions=[] if mdns else ["microphone", "camera"])
        await context.route("**/*", _answer)
        peer = BrowserPeer(context, await context.new_page())
        await peer.open(configuration)
        return peer

    def stop(self) -> None:
        self._runner.run(self._stop())
        self._runner.close()

    async def _stop(self) -> None:
        if self._browser is not None:
            await self._browser.close()
        if self._playwright is not None:
            await self._playwright.stop()


async def _answer(route: Route) -> None:
    await route.fulfill(content_type="text/html", body=PAGE.read_text())
