"""Relays of a real TURN server: over UDP, TCP and TLS, IPv4 and IPv6, and what is told when it does not work."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.support.real_loop import run_real
from webrtc_py import API, Configuration, DataChannel, PeerConnection
from webrtc_py.ice_gatherer import GathererListener, ICEGatherer
from webrtc_py.ice_parameters import ICECandidate, ICECandidateError, ICEGatherOptions, ICEServer
from webrtc_py.ice_transport import ICETransport
from webrtc_py.setting_engine import SettingEngine
from webrtc_py.states import CandidateType, ICETransportState
from webrtc_py.train import Train

from .coturn import PASSWORD, USERNAME, Coturn, coturn, has_ipv6_loopback

pytestmark = [pytest.mark.interop, pytest.mark.realtime, pytest.mark.needs("coturn")]


@pytest.fixture(scope="module")
def server() -> Iterator[Coturn]:
    with coturn() as one:
        yield one


WAYS = {
    "udp": ("turn", "127.0.0.1", "udp"),
    "tcp": ("turn", "127.0.0.1", "tcp"),
    "tls": ("turns", "localhost", "tcp"),
    "dtls": ("turns", "localhost", "udp"),
    "udp over IPv6": ("turn", "[::1]", "udp"),
    "tcp over IPv6": ("turn", "[::1]", "tcp"),
    "tls over IPv6": ("turns", "[::1]", "tcp"),
    "dtls over IPv6": ("turns", "[::1]", "udp"),
}


RELAY_PROTOCOLS = {
    ("turn", "udp"): "udp",
    ("turn", "tcp"): "tcp",
    ("turns", "tcp"): "tls",
    ("turns", "udp"): "dtls",
}


class Side:
    """A gatherer and a transport."""

    def __init__(
        self,
        urls: list[str],
        *,
        policy: str = "relay",
        password: str = PASSWORD,
        tls: ssl.SSLContext | None = None,
        gather_timeout: float = 60.0,
    ) -> None:
        settings = SettingEngine()
        settings.set_include_loopback_candidate(True)
        settings.set_turn_tls_context(tls)
        settings.set_stun_gather_timeout(gather_timeout)
        servers = [ICEServer(urls, USERNAME, password)]
        self.gatherer = ICEGatherer(ICEGatherOptions(servers, policy), settings)
        self.transport = ICETransport(self.gatherer)
        self.candidates: list[ICECandidate] = []
        self.errors: list[ICECandidateError] = []
        self.received = bytearray()
        self.arrived = asyncio.Event()
        self.connected = asyncio.Event()
        self.gatherer.on_local_candidate(lambda one: self.candidates.append(one) if one is not None else None)
        self.gatherer.on_error(self.errors.append)
        self.transport.add_state_listener(self._on_state)
        self.transport.set_receiver(self._receive)

    async def __aenter__(self) -> Side:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.transport.stop()

    def _on_state(self, state: ICETransportState) -> None:
        if state in (ICETransportState.CONNECTED, ICETransportState.COMPLETED):
            self.connected.set()

    def _receive(self, train: Train, now: float) -> None:
        self.received += train.data
        self.arrived.set()

    async def gather(self) -> None:
        await self.gatherer.gather()
        await self.gatherer.gathering_complete()
        await asyncio.sleep(0)

    async def expect(self, data: bytes) -> None:
        while len(self.received) < len(data):
            self.arrived.clear()
            await self.arrived.wait()
        assert self.received == data
        self.received.clear()

    @property
    def channel(self) -> int | None:
        """The channel to the selected pair's other end."""
        pair = self.transport.get_selected_candidate_pair()
        assert pair is not None
        [number] = {
            base.relay._allocation._client.channel_number((pair.remote.address, pair.remote.port))
            for base in self.gatherer.agent._newest.bases()
            if base.relay is not None
        }
        return number


class Trickle(GathererListener):
    """Hands each candidate to the other side."""

    def __init__(self, to: Side) -> None:
        self._to = to

    def local_candidate(self, candidate: ICECandidate | None) -> None:
        self._to.transport.add_remote_candidate(candidate)


async def connect(one: Side, other: Side) -> None:
    for near, far in ((one, other), (other, one)):
        near.gatherer.add_listener(Trickle(far))
    await one.gather()
    await other.gather()
    await one.transport.start(None, other.gatherer.get_local_parameters(), "controlling")
    await other.transport.start(None, one.gatherer.get_local_parameters(), "controlled")
    await one.connected.wait()
    await other.connected.wait()


@pytest.mark.row("TRN-01", "TRN-03", "TRN-05", "TRN-06", "TRN-07", "TRN-08", "ICE-23", "SEC-11")
@pytest.mark.parametrize("way", WAYS)
def test_two_relays_carry_trains_both_ways(server: Coturn, way: str) -> None:
    scheme, host, transport = WAYS[way]
    if ":" in host and not has_ipv6_loopback():
        pytest.skip("not applicable: no IPv6 loopback")

    async def main() -> None:
        url = server.url(scheme, host, transport)
        log_before = len(server.log_text())
        async with AsyncExitStack() as stack:
            one, other = [await stack.enter_async_context(Side([url], tls=server.tls_context())) for _ in range(2)]
            await connect(one, other)
            pair = one.transport.get_selected_candidate_pair()
            assert pair is not None
            assert (pair.local.typ, pair.remote.typ) == (CandidateType.RELAY, CandidateType.RELAY)
            assert pair.local.relay_protocol == RELAY_PROTOCOLS[scheme, transport]
            for candidate in one.candidates:
                assert candidate.typ is CandidateType.RELAY
                assert candidate.related_address in ("0.0.0.0", "::")
                assert candidate.related_port == 9
            for side, far in ((one, other), (other, one)):
                for size in (1, 3, 400, 1200):
                    data = bytes([size % 251 + 4]) * size * 20 + b"\xff"
                    side.transport.send(Train(memoryview(data), size))
                    await far.expect(data)
                # By now the server has confirmed the channel, so that nothing goes in indications any more.
                assert side.channel == 0x4000
        assert len(await all_deleted(server, log_before)) == 2

    run_real(main())


async def all_deleted(server: Coturn, log_before: int) -> set[str]:
    """Wait until the server's log says of every allocation in it that it is gone."""
    while True:
        log = server.log_text()[log_before:]
        made = set(re.findall(r"session (\d+): new", log))
        gone = set(re.findall(r"session (\d+): (?:refreshed.*lifetime=0|delete)", log))
        if made <= gone:
            return made
        await asyncio.sleep(0.01)


@pytest.mark.row("TRN-02", "TRN-16")
@pytest.mark.parametrize("way", ["udp", "tcp"])
def test_a_wrong_password_is_reported(server: Coturn, way: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    scheme, host, transport = WAYS[way]

    async def main() -> None:
        async with Side([server.url(scheme, host, transport)], password="guessed-badly") as side:
            await side.gather()
            assert side.candidates == []
            [error] = side.errors
            assert error.error_code == 401
            assert error.url == server.url(scheme, host, transport)

    run_real(main())
    assert "guessed-badly" not in caplog.text


def test_an_exhausted_quota_is_reported() -> None:
    async def main(one: Coturn) -> None:
        async with Side([one.url()]) as first, Side([one.url()]) as second:
            await first.gather()
            await second.gather()
            assert first.candidates
            assert [error.error_code for error in second.errors] == [486]

    with coturn("--user-quota=1") as one:
        run_real(main(one))


@pytest.mark.row("TRN-02")
def test_an_unreachable_server_delays_nothing_but_itself(server: Coturn) -> None:
    async def main() -> None:
        # Ports on which nobody listens; and one that is open but silent.
        silent = await asyncio.get_running_loop().create_datagram_endpoint(
            asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
        )
        port = silent[0].get_extra_info("sockname")[1]
        dead = [
            f"turn:127.0.0.1:{port}",
            "turn:127.0.0.1:1?transport=tcp",
            "turns:localhost:1",
            f"stun:127.0.0.1:{port}",
        ]
        async with Side([*dead, server.url()], policy="all", gather_timeout=5.0) as side:
            found = asyncio.Event()

            def on_candidate(candidate: ICECandidate | None) -> None:
                if candidate is not None and candidate.typ is CandidateType.RELAY:
                    found.set()

            side.gatherer.on_local_candidate(on_candidate)
            await side.gatherer.gather()
            await found.wait()
            assert not [error for error in side.errors if error.url.startswith(dead[0])], "it is still being asked"
            await side.gatherer.gathering_complete()
            await asyncio.sleep(0)
            assert {error.url.partition("?")[0] for error in side.errors} >= {url.partition("?")[0] for url in dead}
            assert {error.error_code for error in side.errors} == {701}
            assert all(error.error_text for error in side.errors)
        silent[0].close()

    run_real(main())


@pytest.mark.row("TRN-16")
def test_a_certificate_that_nobody_vouches_for_is_refused(server: Coturn) -> None:
    async def main() -> None:
        async with Side([server.url("turns", "localhost")]) as side:
            await side.gather()
            assert side.candidates == []
            assert {error.error_code for error in side.errors} == {701}
            assert any("certificate is not trusted" in error.error_text for error in side.errors)

    run_real(main())


@pytest.mark.row("TRN-16")
def test_a_certificate_of_another_name_is_refused(server: Coturn) -> None:
    async def main() -> None:
        # The certificate is trusted, but it is for localhost and 127.0.0.1.
        async with Side([server.url("turns", "127.0.0.2")], tls=server.tls_context()) as side:
            await side.gather()
            assert side.candidates == []
            assert all(error.error_code == 701 for error in side.errors)
            assert side.errors

    with coturn("--listening-ip=127.0.0.2") as server:
        run_real(main())


@pytest.mark.row("ICE-05")
def test_reflexive_candidates_that_equal_host_candidates_are_left_out(server: Coturn) -> None:
    async def main() -> None:
        async with Side([server.url("stun"), server.url()], policy="all") as side:
            await side.gather()
            assert side.errors == []
            kinds = [candidate.typ for candidate in side.candidates]
            assert CandidateType.SRFLX not in kinds
            # One allocation has an address of each family.
            assert kinds.count(CandidateType.RELAY) == 1 + has_ipv6_loopback()
            assert {CandidateType.HOST, CandidateType.RELAY} == set(kinds)

    run_real(main())


@pytest.mark.row("TRN-03")
def test_closing_at_any_moment_leaves_nothing(server: Coturn) -> None:
    async def main() -> None:
        log_before = len(server.log_text())
        for turns in (0, 1, 2, 3, 5, 8, 13, 21, 34):
            async with Side([server.url(), server.url(transport="tcp"), server.url("turns")], policy="all") as side:
                await side.gatherer.gather()
                for _ in range(turns):
                    await asyncio.sleep(0)
            assert side.transport.state is ICETransportState.CLOSED
        await all_deleted(server, log_before)

    run_real(main())


# Whole connections


def make_connection(urls: list[str], *, password: str = PASSWORD, tls: ssl.SSLContext | None = None) -> PeerConnection:
    settings = SettingEngine()
    settings.set_include_loopback_candidate(True)
    settings.set_turn_tls_context(tls)
    settings.set_stun_gather_timeout(60.0)
    configuration = Configuration([ICEServer(urls, USERNAME, password)], ice_transport_policy="relay")
    return API(setting_engine=settings).new_peer_connection(configuration)


@pytest.mark.row("TRN-01", "SEC-11")
@pytest.mark.parametrize("way", ["udp", "tcp", "tls"])
def test_data_channels_over_relays_on_both_sides(server: Coturn, way: str) -> None:
    async def main() -> None:
        url = server.url(*WAYS[way])
        async with (
            make_connection([url], tls=server.tls_context()) as offerer,
            make_connection([url], tls=server.tls_context()) as answerer,
        ):
            announced: asyncio.Queue[DataChannel] = asyncio.Queue()
            answerer.on_data_channel(announced.put_nowait)
            offerer.on_ice_candidate(answerer.add_ice_candidate)
            answerer.on_ice_candidate(offerer.add_ice_candidate)
            here = offerer.create_data_channel("relayed")
            # Candidates follow their description through the same signalling, so the description goes first.
            offer = await offerer.create_offer()
            await answerer.set_remote_description(offer)
            await offerer.set_local_description(offer)
            answer = await answerer.create_answer()
            await offerer.set_remote_description(answer)
            await answerer.set_local_description(answer)
            there = await announced.get()
            await here.opened()
            await there.opened()
            message = bytes(range(256)) * 1024
            for near, far in ((here, there), (there, here)):
                near.send(message)
                assert await far.recv() == message
            for connection in (offerer, answerer):
                sctp, local = connection.sctp, connection.local_description
                assert sctp is not None
                assert local is not None
                dtls: Any = sctp.transport
                pair = dtls.ice_transport.get_selected_candidate_pair()
                assert {pair.local.typ, pair.remote.typ} == {CandidateType.RELAY}
                for line in local.sdp.splitlines():
                    if line.startswith("a=candidate:"):
                        assert re.search(r" typ relay raddr (0\.0\.0\.0|::) rport 9\b", line)

    run_real(main())


@pytest.mark.row("TRN-02")
def test_connections_tell_which_server_failed_and_why(server: Coturn) -> None:
    async def main() -> None:
        async with make_connection([server.url(), "turn:127.0.0.1:1?transport=tcp"], password="wrong") as connection:
            errors: list[ICECandidateError] = []
            connection.on_ice_candidate_error(errors.append)
            connection.create_data_channel("never")
            await connection.set_local_description()
            await connection.gathering_complete()
            await asyncio.sleep(0)
            assert {error.url.partition("?")[0]: error.error_code for error in errors} == {
                server.url(): 401,
                "turn:127.0.0.1:1": 701,
            }

    run_real(main())
