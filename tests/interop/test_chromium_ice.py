"""webrtc_py's ICE and a real browser's: restarts, hidden and shared addresses, TCP, lite, renomination, relays."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from webrtc_py import (
    Configuration,
    ICECandidate,
    ICECandidatePair,
    ICEServer,
    MulticastDNSMode,
    RenominationOptions,
    SettingEngine,
    TCPMux,
    UDPMux,
)
from webrtc_py.ice import CandidatePairStats, unmarshal_candidate
from webrtc_py.runtime.interfaces import system_interfaces
from webrtc_py.sdp import parse

from .chromium import TIMEOUT, Chromium
from .coturn import PASSWORD, USERNAME, Coturn, coturn
from .session import Session, connected, under_load
from .test_relay import own_address

pytestmark = [pytest.mark.interop, pytest.mark.realtime, pytest.mark.needs("chromium")]


@pytest.fixture(scope="module")
def server() -> Iterator[Coturn]:
    """The browser does not look at loopback, so that the server has the host's address too."""
    host = own_address()
    with coturn(f"--listening-ip={host}", f"--relay-ip={host}") as one:
        yield one


both_offer = pytest.mark.parametrize("browser_offers", [True, False], ids=["browser offers", "browser answers"])


def credentials(sdp: str) -> tuple[str | None, str | None]:
    media = parse(sdp).media[0]
    return media.ice_ufrag, media.ice_pwd


async def restart(session: Session, way: str) -> None:
    """Restart, and come back when both ends are on the new path."""
    before = await described(session)
    if way == "page":
        await session.browser.restart_ice()
    elif way == "restart_ice":
        session.connection.restart_ice()
    await session.negotiate(browser_offers=way == "page", ice_restart=way == "offer")
    after = await described(session)
    assert not {value for one in before for value in one} & {value for one in after for value in one}
    ours, theirs = after
    await session.on_path(str(ours[0]), str(theirs[0]))


async def described(session: Session) -> list[tuple[str | None, str | None]]:
    """The credentials of both ends, ours and the browser's."""
    local = session.connection.local_description
    assert local is not None
    return [credentials(local.sdp), credentials((await session.browser.local_description())["sdp"])]


@pytest.mark.row("X-04")
@pytest.mark.parametrize("way", ["page", "restart_ice", "offer"])
@both_offer
def test_a_restart_under_load_loses_nothing(chromium: Chromium, browser_offers: bool, way: str) -> None:
    """From either side, whoever offered at first; twice, since the first one's credentials must be forgotten."""

    async def test() -> None:
        async with connected(chromium, browser_offers=browser_offers) as session, under_load(session):
            for _ in range(2):
                await restart(session, way)
            assert session.connection_states == ["connecting", "connected"]
            assert session.browser.connection_states == ["connecting", "connected"]

    chromium.run(test)


@pytest.mark.row("X-04")
@pytest.mark.needs("coturn")
@pytest.mark.parametrize("way", ["page", "restart_ice"])
@pytest.mark.parametrize(("our_way", "their_way"), [("udp", "udp"), ("tcp", "tcp"), ("tls", "udp")])
def test_a_restart_where_only_relays_may_be_used(
    chromium: Chromium, server: Coturn, our_way: str, their_way: str, way: str
) -> None:
    host = own_address()
    settings = SettingEngine()
    settings.set_turn_tls_context(server.tls_context())
    url = server.url("turns", "localhost") if our_way == "tls" else server.url("turn", host, our_way)
    configuration = Configuration([ICEServer(url, USERNAME, PASSWORD)], ice_transport_policy="relay")
    theirs = {"urls": server.url("turn", host, their_way), "username": USERNAME, "credential": PASSWORD}

    async def test() -> None:
        browser = await chromium.peer(iceServers=[theirs], iceTransportPolicy="relay")
        async with Session(browser, settings, configuration) as session:
            await session.connect(browser_offers=way == "page")
            async with under_load(session):
                await restart(session, way)
            pair = await browser.selected_pair()
            assert [pair[end]["candidateType"] for end in ("local", "remote")] == ["relay", "relay"]
            assert {candidate.typ for candidate in session.candidates} == {"relay"}
            assert session.connection_states == ["connecting", "connected"]

    chromium.run(test)


@pytest.mark.row("X-04")
@pytest.mark.needs("coturn")
@pytest.mark.parametrize("browser_offered", [True, False], ids=["browser offered", "browser answered"])
@pytest.mark.parametrize("way", ["page", "restart_ice"])
def test_a_restart_takes_another_policy_and_servers(
    chromium: Chromium, server: Coturn, browser_offered: bool, way: str
) -> None:
    """From host to relay: Chromium prefers the old path until it falls silent, and does not nominate a new one."""
    url = server.url("turn", own_address(), "udp")
    relays = Configuration([ICEServer(url, USERNAME, PASSWORD)], ice_transport_policy="relay")
    theirs = {"iceServers": [{"urls": url, "username": USERNAME, "credential": PASSWORD}]}

    async def test() -> None:
        async with connected(chromium, browser_offers=browser_offered) as session, under_load(session):
            assert {candidate.typ for candidate in session.candidates} == {"host"}
            for policy, expected in ((relays, "relay"), (Configuration(), "host")):
                session.candidates.clear()
                session.connection.set_configuration(policy)
                wanted = theirs | {"iceTransportPolicy": policy.ice_transport_policy}
                await session.browser.evaluate("(wanted) => pc.setConfiguration(wanted)", wanted)
                await restart(session, way)
                assert {candidate.typ for candidate in session.candidates} == {expected}
                pair = await session.browser.selected_pair()
                assert {pair[end]["candidateType"] for end in ("local", "remote")} & {expected}
            assert session.connection_states == ["connecting", "connected"]

    chromium.run(test)


@pytest.mark.row("MDN-01", "MDN-02")
@pytest.mark.parametrize("told", ["both", "browser", "us"])
@both_offer
def test_both_hide_behind_names(chromium: Chromium, browser_offers: bool, told: str) -> None:
    """Where only one end is told the other's candidates, that one has resolved the name, or there is no path."""
    settings = SettingEngine()
    settings.set_ice_multicast_dns_mode(MulticastDNSMode.QUERY_AND_GATHER)

    async def test() -> None:
        browser = await chromium.peer()
        async with Session(browser, settings) as session:
            session.tell_browser, session.tell_us = told != "us", told != "browser"
            await session.connect(browser_offers=browser_offers)
            await session.exchange()
            assert session.candidates
            for candidate in session.candidates:
                assert candidate.address.endswith(".local"), candidate
            local, remote = session.connection.local_description, session.connection.remote_description
            assert local is not None
            assert remote is not None
            for address in own_addresses():
                assert address not in local.sdp
                # The browser's silence is what makes the test one.
                assert address not in remote.sdp

    chromium.run(test)


def own_addresses() -> list[str]:
    """Of this host, but not loopback's, which are everywhere."""
    found = [host.partition("%")[0] for one in system_interfaces() for host in one.addresses]
    return [host for host in found if host not in ("127.0.0.1", "::1")]


@pytest.mark.row("TCP-01", "TCP-05")
@both_offer
def test_the_browser_connects_to_our_tcp_port(chromium: Chromium, browser_offers: bool) -> None:
    async def test() -> None:
        async with await TCPMux.listen("0.0.0.0") as mux:
            settings = SettingEngine()
            settings.set_network_types(["tcp4"])
            settings.set_ice_tcp_mux(mux)
            async with connected(chromium, settings, browser_offers=browser_offers) as session:
                await session.exchange(size=256 * 1024)
                assert {str(candidate.protocol) for candidate in session.candidates} == {"tcp"}
                assert (selected(session).local.tcp_type, selected(session).local.port) == ("passive", mux.port)
                assert (await session.browser.selected_pair())["local"]["protocol"] == "tcp"
                # Where there are several addresses the browser tries each, and keeps what works in reserve.
                assert mux.connections >= 1

                async with under_load(session):
                    await restart(session, "restart_ice")

    chromium.run(test)


@pytest.mark.row("ICE-50")
@both_offer
def test_we_are_a_lite_agent(chromium: Chromium, browser_offers: bool) -> None:
    settings = SettingEngine()
    settings.set_lite(True)

    async def test() -> None:
        async with connected(chromium, settings, browser_offers=browser_offers) as session, under_load(session):
            assert session.connection.local_description is not None
            assert "a=ice-lite" in session.connection.local_description.sdp
            assert session.ice.role == "controlled"
            for way in ("page", "restart_ice"):
                await restart(session, way)

    chromium.run(test)


@pytest.mark.parametrize(("transport", "count"), [("udp", 20), ("tcp", 5)])
def test_one_port_for_many_pages_at_once(chromium: Chromium, transport: str, count: int) -> None:
    async def test() -> None:
        kind = UDPMux if transport == "udp" else TCPMux
        async with await kind.listen() as mux, AsyncExitStack() as stack:
            settings = SettingEngine()
            settings.set_network_types([f"{transport}4", f"{transport}6"])
            settings.disable_active_tcp()
            if isinstance(mux, UDPMux):
                settings.set_ice_udp_mux(mux)
            else:
                settings.set_ice_tcp_mux(mux)
            open_before = open_sockets(transport)
            pages = await asyncio.gather(*(chromium.peer(mdns=False) for _ in range(count)))
            sessions = [await stack.enter_async_context(Session(page, settings)) for page in pages]
            await asyncio.gather(*(one.connect(browser_offers=at % 2 == 0) for at, one in enumerate(sessions)))
            await asyncio.gather(*(session.exchange() for session in sessions))
            for session in sessions:
                assert {candidate.port for candidate in session.candidates} == {mux.port}
            opened = open_sockets(transport) - open_before
            assert opened == (mux.connections if isinstance(mux, TCPMux) else 0)

    chromium.run(test)


def open_sockets(transport: str) -> int:
    """How many of this kind the process has, on Linux."""
    tables = [Path(f"/proc/net/{transport}{family}").read_text().splitlines()[1:] for family in ("", "6")]
    numbers = {line.split()[9] for table in tables for line in table}
    opened = [os.readlink(one.path) for one in os.scandir("/proc/self/fd")]
    return sum(name.removeprefix("socket:[").removesuffix("]") in numbers for name in opened)


@pytest.mark.row("REN-01", "REN-03")
def test_renomination_moves_the_browser_to_another_path(chromium: Chromium) -> None:
    """Between IPv4 and IPv6, under load. Chromium follows a nomination, but its descriptions do not say so.

    It does not follow to a path that it has given up itself: all but the best on each of its networks.
    """
    settings = SettingEngine()
    settings.set_ice_renomination(RenominationOptions(automatic=False))

    async def test() -> None:
        async with Session(await chromium.peer(mdns=False), settings) as session:
            await session.connect_gathered(browser_offers=False)
            assert session.connection.local_description is not None
            theirs = (await session.browser.local_description())["sdp"]
            if any(families(sdp) != {False, True} for sdp in (session.connection.local_description.sdp, theirs)):
                pytest.skip("not applicable: this host has only one family of addresses for peers")
            assert "renomination" in session.connection.local_description.sdp
            session.ice.set_remote_renomination(True)
            first = is_ipv6(await used_by_browser(session))
            async with under_load(session):
                for wanted in (not first, first, not first):
                    await renominate(session, wanted)

    chromium.run(test)


def selected(session: Session) -> ICECandidatePair:
    pair = session.ice.get_selected_candidate_pair()
    assert pair is not None
    return pair


async def renominate(session: Session, ipv6: bool) -> None:
    """Change to a pair of this family; returns when both ends have done so."""
    good: list[CandidatePairStats] = []
    try:
        async with asyncio.timeout(TIMEOUT):
            while not good:
                await asyncio.sleep(0.05)
                good = [one for one in session.ice.get_candidate_pairs_stats() if is_working(one, ipv6)]
            local, remote = (ICECandidate.from_candidate(one) for one in (good[0].local, good[0].remote))
            session.ice.renominate(local, remote)
            while {local.address} != {await used_by_browser(session), selected(session).local.address}:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    except TimeoutError:
        theirs = await session.browser.candidate_pairs()
        ours = session.ice.get_candidate_pairs_stats()
        raise AssertionError(f"renominates {good}; it is {selected(session)} of {ours}, there {theirs}") from None


def is_working(pair: CandidatePairStats, ipv6: bool) -> bool:
    return pair.state == "succeeded" and is_ipv6(pair.local.address) == ipv6


def families(sdp: str) -> set[bool]:
    """Whether there are candidates over UDP whose address is of IPv6, and of IPv4."""
    candidates = [unmarshal_candidate(one) for one in parse(sdp).media[0].candidates]
    return {is_ipv6(one.address) for one in candidates if one.transport == "udp"}


def is_ipv6(address: str) -> bool:
    return ":" in address


async def used_by_browser(session: Session) -> str:
    """The address of ours that it sends to."""
    return str((await session.browser.selected_pair())["remote"]["address"])
