"""Whole connections through a real TURN server: relay-only on both sides, and what an application is told otherwise."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.real_loop import run_real
from webrtc_py import (
    API,
    Configuration,
    DataChannel,
    ICECandidate,
    ICECandidateError,
    ICEServer,
    PeerConnection,
    SettingEngine,
)
from webrtc_py.ice import time_limited_credentials

from .chromium import Chromium, content, summary
from .coturn import PASSWORD, USERNAME, Coturn, coturn
from .test_chromium import negotiate as negotiate_with_browser
from .test_coturn import all_deleted

pytestmark = [pytest.mark.interop, pytest.mark.realtime, pytest.mark.needs("coturn")]

SIZES = (0, 1, 1024, 16 * 1024, 64 * 1024, 256 * 1024)
WAYS = {
    "udp": ("turn", "127.0.0.1", "udp"),
    "tcp": ("turn", "127.0.0.1", "tcp"),
    "tls": ("turns", "localhost", "tcp"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Coturn]:
    with coturn() as one:
        yield one


def relayed(
    server: Coturn, urls: list[str], password: str = PASSWORD, username: str = USERNAME, gather_timeout: float = 60.0
) -> PeerConnection:
    settings = SettingEngine()
    settings.set_include_loopback_candidate(True)
    settings.set_turn_tls_context(server.tls_context())
    settings.set_stun_gather_timeout(gather_timeout)
    configuration = Configuration([ICEServer(urls, username, password)], ice_transport_policy="relay")
    return API(settings).new_peer_connection(configuration)


async def negotiate(offerer: PeerConnection, answerer: PeerConnection) -> None:
    offerer.on_ice_candidate(answerer.add_ice_candidate)
    answerer.on_ice_candidate(offerer.add_ice_candidate)
    await offerer.set_local_description()
    assert offerer.local_description is not None
    await answerer.set_remote_description(offerer.local_description)
    await answerer.set_local_description()
    assert answerer.local_description is not None
    await offerer.set_remote_description(answerer.local_description)


@pytest.mark.parametrize(("one_way", "other_way"), [("udp", "udp"), ("tcp", "tcp"), ("tls", "tls"), ("udp", "tls")])
def test_two_connections_that_use_only_relays(server: Coturn, one_way: str, other_way: str) -> None:
    async def main() -> None:
        log_before = len(server.log_text())
        async with (
            relayed(server, [server.url(*WAYS[one_way])]) as one,
            relayed(server, [server.url(*WAYS[other_way])]) as other,
        ):
            incoming: asyncio.Future[DataChannel] = asyncio.get_running_loop().create_future()
            other.on_data_channel(incoming.set_result)
            here = one.create_data_channel("relayed")
            await negotiate(one, other)
            await here.opened()
            there = await incoming

            messages = [content(binary, size) for size in SIZES for binary in (False, True)]
            for message in messages:
                here.send(message)
                there.send(message)
            assert [await here.recv() for _ in messages] == messages
            assert [await there.recv() for _ in messages] == messages

            for connection in (one, other):
                assert connection.sctp is not None
                pair = connection.sctp.transport.ice_transport.get_selected_candidate_pair()
                assert pair is not None
                assert (pair.local.typ, pair.remote.typ) == ("relay", "relay")
                assert connection.local_description is not None
                addresses = {line.split()[4] for line in candidate_lines(connection.local_description.sdp)}
                assert addresses <= {"127.0.0.1", "::1"}, "only the server's address may show"
        # Closing gives both allocations back.
        assert len(await all_deleted(server, log_before)) == 2

    run_real(main())


def candidate_lines(sdp: str) -> list[str]:
    return [line for line in sdp.splitlines() if line.startswith("a=candidate:")]


@pytest.mark.needs("chromium")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_browser_and_a_connection_that_use_only_relays(chromium: Chromium, transport: str) -> None:
    """The browser does not look at loopback, so that the server has the host's address too."""
    host = own_address()

    async def test(server: Coturn) -> None:
        url = server.url("turn", host, transport)
        servers = [{"urls": url, "username": USERNAME, "credential": PASSWORD}]
        browser = await chromium.peer(iceServers=servers, iceTransportPolicy="relay")
        async with relayed(server, [url]) as connection:
            here = connection.create_data_channel("relayed")
            await negotiate_with_browser(browser, connection, browser_offers=False, trickle=True)
            there = await browser.incoming_channel()
            await here.opened()
            here.send(content(True, 200_000))
            assert await there.received(1) == [summary(content(True, 200_000))]
            sent = await there.send_content(False, 200_000)
            assert summary(await here.recv()) == sent
            pair = await browser.selected_pair()
            assert [pair[end]["candidateType"] for end in ("local", "remote")] == ["relay", "relay"]
        await browser.close()

    with coturn(f"--listening-ip={host}", f"--relay-ip={host}") as server:
        chromium.run(lambda: test(server))


def own_address() -> str:
    """The address that this host would reach others from; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("192.0.2.1", 9))
        address: str = sock.getsockname()[0]
        return address


async def gather_errors(connection: PeerConnection) -> tuple[list[ICECandidate], list[ICECandidateError]]:
    """The candidates and errors of a connection that offers."""
    candidates: list[ICECandidate] = []
    errors: list[ICECandidateError] = []
    finished = asyncio.Event()
    connection.on_ice_candidate(lambda one: finished.set() if one is None else candidates.append(one))
    connection.on_ice_candidate_error(errors.append)
    connection.create_data_channel("unused")
    await connection.set_local_description()
    await finished.wait()
    return candidates, errors


@pytest.mark.row("TRN-13")
def test_credentials_that_expire() -> None:
    """A service hands out user names that say until when, with passwords from a secret it shares with the server."""

    async def main(server: Coturn) -> None:
        for made, found in ((time.time(), {"relay"}), (time.time() - 120, set())):
            username, password = time_limited_credentials("shared", "carol", 60, made)
            async with relayed(server, [server.url()], password, username) as connection:
                candidates, errors = await gather_errors(connection)
                assert {candidate.typ for candidate in candidates} == found
                assert [error.error_code for error in errors] == ([] if found else [401])

    with coturn("--use-auth-secret", "--static-auth-secret=shared") as server:
        run_real(main(server))


@pytest.mark.row("TRN-02", "TRN-16")
@pytest.mark.parametrize("way", WAYS)
def test_a_wrong_password_is_told(server: Coturn, way: str) -> None:
    async def main() -> None:
        url = server.url(*WAYS[way])
        async with relayed(server, [url], password="guessed-badly") as connection:
            candidates, errors = await gather_errors(connection)
            assert candidates == []
            assert {(error.url, error.error_code) for error in errors} == {(url, 401)}
            assert connection.ice_gathering_state == "complete"

    run_real(main())


def test_an_unreachable_server_is_told_and_the_other_serves(server: Coturn) -> None:
    async def main() -> None:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent,
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as not_listening,
        ):
            silent.bind(("127.0.0.1", 0))
            not_listening.bind(("127.0.0.1", 0))
            dead = [
                f"turn:127.0.0.1:{silent.getsockname()[1]}",
                f"turn:127.0.0.1:{not_listening.getsockname()[1]}?transport=tcp",
                f"turns:localhost:{not_listening.getsockname()[1]}",
            ]
            async with relayed(server, [*dead, server.url()], gather_timeout=5.0) as connection:
                candidates, errors = await gather_errors(connection)
                assert {candidate.typ for candidate in candidates} == {"relay"}
                assert {error.url.partition("?")[0] for error in errors} == {url.partition("?")[0] for url in dead}
                assert {error.error_code for error in errors} == {701}

    run_real(main())
