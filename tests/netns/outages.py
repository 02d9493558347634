"""What becomes of calls when networks do what networks do: each outage in a network of its own, all at the same time.

Both ends of a call count aloud on a reliable, ordered channel; no outage may leave a hole. Times are in seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.interop.coturn import make_certificate

from .calling import PROGRAM, Call, Report
from .lab import Lab, Router
from .nat import NAT, Firewall, NATKind
from .remote import Remote
from .turn import TurnServer, turn_server

HUB = "198.51.100.1"
SERVERS = ("192.0.2.10", "192.0.2.11")
# What is usual before and after an outage.
CALM = 1.0
CONNECTED = ("connected", "completed")
# The defaults, what may come on top where networks come back, and how late a busy machine may be to tell.
DISCONNECTED_AFTER = 5.0
FAILED_AFTER = 30.0
ALLOWANCE = 3.0
LATE = 15.0
# The kernel may take as long to notice that a cable is in again.
CARRIER = 1.0


@dataclass(frozen=True)
class Outage:
    """How a call came through."""

    silence: float
    """The longest that either end heard nothing, from the beginning of the outage on."""
    resumed: float
    """When both ends heard each other again, counted from when they could."""
    stall: float
    """How much of that may be due to the machine, which kept both programs from running for so long in all."""
    story: str

    @classmethod
    def of(cls, reports: tuple[Report, Report], began: float, ended: float) -> Outage:
        silences = [silence for report in reports for silence in report.silences if silence[1] > began]
        longest = max((last - first for first, last in silences), default=0.0)
        resumed = max((last for first, last in silences if first < ended), default=ended)
        states = [f"{state} {at - began:+.1f}" for at, state in reports[0].states if at >= began]
        story = ", ".join([*states, f"by {' - '.join(reports[0].types)}"])
        return cls(longest, max(resumed - ended, 0.0), sum(report.stall for report in reports), story)


@dataclass
class Outages:
    """The networks. One end of each call is at the hub, which has a public address."""

    lab: Lab
    hub: Remote
    servers: list[TurnServer]
    directory: Path
    running: AsyncExitStack
    calls: dict[str, Call] = field(default_factory=dict)
    _number: int = 10

    async def home(self, label: str, nat: NAT | NATKind = NATKind.PORT_RESTRICTED) -> tuple[Router, Remote]:
        self._number += 1
        router = self.lab.router(f"{label}-router", f"203.0.113.{self._number}", nat)
        return router, await self.running.enter_async_context(Remote.start(PROGRAM, router.host(label), self.directory))

    async def call(self, name: str, left: Remote, right: Remote, **options: Any) -> Call:
        """Connected, and calm so far. ``name`` is the scenario's."""
        call = self.calls[name] = Call(name, left, right)
        await call.connect(ca_file=self.servers[0].certificate, **options)
        await asyncio.sleep(CALM)
        return call


async def _cable_pulled(outages: Outages, name: str) -> tuple[Router, Call, float]:
    """A home's router, the call from there that it carried until just now, and when its cable was pulled."""
    router, home = await outages.home(name.replace("_", "-"))
    call = await outages.call(name, home, outages.hub)
    down = time.monotonic()
    router.cable.pull()
    return router, call, down


async def link_down_for_3_s(outages: Outages) -> Outage:
    router, call, down = await _cable_pulled(outages, "link_down_for_3_s")
    await asyncio.sleep(3.0)
    router.cable.plug_in()
    up = time.monotonic()
    await asyncio.sleep(6.0)
    for end in call.ends:
        await end.until(*CONNECTED, timeout=LATE)
        assert "failed" not in end.history
    outage = Outage.of(await call.finish(), down, up)
    # Checks go out twice a second, and SCTP does not wait for its timer, which has doubled twice.
    assert outage.resumed < 1.5 + CARRIER + outage.stall
    return outage


async def link_down_for_20_s(outages: Outages) -> Outage:
    router, call, down = await _cable_pulled(outages, "link_down_for_20_s")
    for end in call.ends:
        noticed = await end.until("disconnected", timeout=DISCONNECTED_AFTER + LATE) - down
        assert noticed > DISCONNECTED_AFTER - 0.5
    await asyncio.sleep(max(down + 20.0 - time.monotonic(), 0))
    router.cable.plug_in()
    up = time.monotonic()
    for end in call.ends:
        await end.until(*CONNECTED, timeout=CARRIER + LATE)
        assert "failed" not in end.history
    await asyncio.sleep(CALM)
    outage = Outage.of(await call.finish(), down, up)
    assert outage.resumed < CARRIER + ALLOWANCE + outage.stall
    return outage


async def link_down_for_good(outages: Outages) -> Outage:
    """Failed, it is in one piece all the same: a restart makes it go on where it was."""
    router, call, down = await _cable_pulled(outages, "link_down_for_good")
    for end in call.ends:
        failed = await end.until("failed", timeout=FAILED_AFTER + LATE) - down
        # The last answer to a check, which gave consent for 30 s, came up to a check's interval before.
        assert failed > FAILED_AFTER - 3.0
        assert await end.do("explain")
    router.cable.plug_in()
    await asyncio.sleep(CARRIER + 0.5)
    up = time.monotonic()
    await call.negotiate(ice_restart=True)
    for end in call.ends:
        await end.until(*CONNECTED, timeout=LATE)
    await asyncio.sleep(CALM)
    outage = Outage.of(await call.finish(), down, up)
    assert outage.resumed < ALLOWANCE + outage.stall
    return outage


async def address_change(outages: Outages) -> Outage:
    """Another network, as when a telephone leaves the house: no restart, no signalling but of candidates."""
    site = outages.lab.public("moving", "198.51.100.2")
    moving = await outages.running.enter_async_context(Remote.start(PROGRAM, site.namespace, outages.directory))
    call = await outages.call("address_change", moving, outages.hub, continual=True)
    began = time.monotonic()
    site.cable.renumber("198.51.100.4")
    ended = time.monotonic()
    await asyncio.sleep(5.0)
    for end in call.ends:
        await end.until(*CONNECTED, timeout=LATE)
        assert "failed" not in end.history
    reports = await call.finish()
    assert [report.addresses for report in reports] == [("198.51.100.4", HUB), (HUB, "198.51.100.4")]
    outage = Outage.of(reports, began, ended)
    assert outage.silence < 3.0 + outage.stall
    return outage


async def _rebinding(outages: Outages, name: str, *, home_controls: bool) -> Outage:
    router, home = await outages.home(name.replace("_", "-"))
    call = await outages.call(name, *((home, outages.hub) if home_controls else (outages.hub, home)))
    began = time.monotonic()
    router.rebind(NAT(NATKind.PORT_RESTRICTED, ports=(30000, 39999)))
    ended = time.monotonic()
    await asyncio.sleep(DISCONNECTED_AFTER + ALLOWANCE + CALM)
    for end in call.ends:
        await end.until(*CONNECTED, timeout=LATE)
        assert "failed" not in end.history
    reports = await call.finish()
    outage = Outage.of(reports, began, ended)
    assert outage.resumed < DISCONNECTED_AFTER + ALLOWANCE + outage.stall
    for end, report in zip(call.ends, reports, strict=True):
        if end.line is outages.hub:
            assert 30000 <= report.ports[1] <= 39999
    return outage


async def rebinding_of_the_controlling(outages: Outages) -> Outage:
    """The home's router restarts, and forgets what it has mapped."""
    return await _rebinding(outages, "rebinding_of_the_controlling", home_controls=True)


async def rebinding_of_the_controlled(outages: Outages) -> Outage:
    return await _rebinding(outages, "rebinding_of_the_controlled", home_controls=False)


async def short_bindings(outages: Outages) -> Outage:
    """A router that forgets after 8 s, and a call in which nobody speaks: the checks keep the mapping."""
    _, home = await outages.home("short-bindings", NAT(NATKind.SYMMETRIC, timeout=8))
    call = await outages.call("short_bindings", home, outages.hub)
    ports = tuple((await call.right.do("report"))["ports"])
    for end in call.ends:
        await end.do("stop")
    await asyncio.sleep(25.0)
    began = time.monotonic()
    for end in call.ends:
        await end.do("count", interval=0.02, size=100)
    await asyncio.sleep(CALM)
    reports = await call.finish()
    assert reports[1].ports == ports
    outage = Outage.of(reports, began, began)
    assert outage.resumed < 0.5 + outage.stall
    for end in call.ends:
        assert set(end.history) <= {"checking", *CONNECTED}
    return outage


async def server_death(outages: Outages) -> Outage:
    """The relay that both ends use is gone without a word; the application has another server."""
    _, home = await outages.home("server-death")
    first, second = outages.servers
    call = await outages.call("server_death", home, outages.hub, urls=(first.udp,), policy="relay")
    began = time.monotonic()
    first.die()
    for end in call.ends:
        await end.until("disconnected", timeout=DISCONNECTED_AFTER + LATE)
        assert first.address in await end.do("explain")
        await end.do("set_servers", urls=[second.udp], policy="relay")
    ended = time.monotonic()
    await call.negotiate(ice_restart=True)
    for end in call.ends:
        await end.until(*CONNECTED, timeout=LATE)
    await asyncio.sleep(CALM)
    reports = await call.finish()
    assert {report.types for report in reports} == {("relay", "relay")}
    assert {address for report in reports for address in report.addresses} == {second.address}
    outage = Outage.of(reports, began, ended)
    assert outage.resumed < ALLOWANCE + outage.stall
    return outage


async def udp_blocked_on_the_way(outages: Outages) -> Outage:
    """A firewall begins to let out nothing but TCP to port 443; a restart finds the way that is left."""
    router, home = await outages.home("udp-blocked")
    server = outages.servers[1]
    call = await outages.call("udp_blocked_on_the_way", home, outages.hub, urls=(server.udp, server.tls))
    assert (await call.left.do("report"))["types"] == ["srflx", "host"]
    began = time.monotonic()
    router.set_firewall(Firewall.ONLY_TCP_443)
    for end in call.ends:
        await end.until("disconnected", timeout=DISCONNECTED_AFTER + LATE)
    ended = time.monotonic()
    await call.negotiate(ice_restart=True)
    for end in call.ends:
        # A relay is acceptable after two seconds.
        await end.until(*CONNECTED, timeout=2.0 + LATE)
    await asyncio.sleep(CALM)
    reports = await call.finish()
    assert reports[0].types == ("relay", "host")
    outage = Outage.of(reports, began, ended)
    assert outage.resumed < 2.0 + ALLOWANCE + outage.stall
    return outage


async def restarts_under_load(outages: Outages) -> Outage:
    """Six restarts, by either side in turn, of a line that carries all that goes in: nothing stops."""
    _, home = await outages.home("restarts")
    call = await outages.call("restarts_under_load", home, outages.hub, interval=0.002, size=1000)
    began = time.monotonic()
    for number in range(6):
        before = (await call.left.do("report"))["ports"]
        await call.negotiate(ice_restart=True, offerer=call.ends[number % 2])
        await asyncio.sleep(1.0)
        assert (await call.left.do("report"))["ports"] == before, "a restart needs no other sockets"
    ended = time.monotonic()
    for end in call.ends:
        assert set(end.history) <= {"checking", *CONNECTED}
        assert await end.do("generations") == 7
    reports = await call.finish()
    outage = Outage.of(reports, began, ended)
    # What is lost is sent again after a second; a busy machine may be silent by itself.
    assert outage.silence < 0.5 + outage.stall
    return outage


Scenario = Callable[[Outages], Coroutine[Any, Any, Outage]]
SCENARIOS: tuple[Scenario, ...] = (
    link_down_for_3_s,
    link_down_for_20_s,
    link_down_for_good,
    address_change,
    rebinding_of_the_controlling,
    rebinding_of_the_controlled,
    short_bindings,
    server_death,
    udp_blocked_on_the_way,
    restarts_under_load,
)


async def let_all_happen(directory: Path, *names: str) -> dict[str, Outage | BaseException]:
    """All outages, or those named, with what became of the calls, or what was wrong with it and both ends' logs."""
    with Lab() as lab, ExitStack() as stack:
        certificate = make_certificate(directory, *SERVERS)
        servers = []
        for number, address in enumerate(SERVERS):
            files = directory / f"server-{number}"
            files.mkdir()
            place = lab.public(files.name, address).namespace
            servers.append(stack.enter_context(turn_server(place, address, files, certificate)))
        async with AsyncExitStack() as running:
            hub = await running.enter_async_context(Remote.start(PROGRAM, lab.public("hub", HUB).namespace, directory))
            outages = Outages(lab, hub, servers, directory, running)
            chosen = [scenario for scenario in SCENARIOS if not names or scenario.__name__ in names]
            results = await asyncio.gather(*(scenario(outages) for scenario in chosen), return_exceptions=True)
    outcomes = dict(zip((scenario.__name__ for scenario in chosen), results, strict=True))
    for name, outcome in outcomes.items():
        if isinstance(outcome, BaseException) and name in outages.calls:
            outcome.add_note(outages.calls[name].logs())
    return outcomes
