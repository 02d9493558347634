"""What else a real TURN server can ask of us: to go elsewhere, new nonces, credentials for a while; and proxies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.support.real_loop import run_real
from tests.support.real_proxy import real_proxy
from webrtc_py.ice.agent import Agent
from webrtc_py.ice.agent_options import AgentOptions
from webrtc_py.ice.candidate import Candidate
from webrtc_py.ice.gather_plan import GatheringError
from webrtc_py.ice.relay import Relay
from webrtc_py.ice.time_limited import time_limited_credentials
from webrtc_py.ice.url import parse_url
from webrtc_py.states import CandidateType

from .coturn import PASSWORD, USERNAME, Coturn, coturn, has_ipv6_loopback

pytestmark = [pytest.mark.interop, pytest.mark.realtime, pytest.mark.needs("coturn")]

SECRET = "known to both servers"


@pytest.fixture(scope="module")
def server() -> Iterator[Coturn]:
    with coturn() as one:
        yield one


class Gathered:
    """An agent that has gathered from one server."""

    def __init__(self, url: str, username: str = USERNAME, password: str = PASSWORD, **options: Any) -> None:
        complete = replace(parse_url(url), username=username, password=password)
        options = {"candidate_types": [CandidateType.RELAY], "include_loopback": True, **options}
        self.agent = Agent(AgentOptions(urls=[complete], **options))
        self.candidates: list[Candidate] = []
        self.errors: list[GatheringError] = []
        self.agent.on_candidate(lambda one: self.candidates.append(one) if one is not None else None)
        self.agent.on_candidate_error(self.errors.append)

    async def __aenter__(self) -> Gathered:
        await self.agent.gather_candidates()
        await self.agent.gathering_complete()
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.agent.close()

    @property
    def relay(self) -> Relay:
        base = next(iter(self.agent._newest.bases()))
        assert base.relay is not None
        return base.relay


@pytest.mark.row("TRN-08")
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
@pytest.mark.parametrize(("network_types", "families"), [(["udp4", "udp6"], {4, 6}), (["udp4"], {4}), (["udp6"], {6})])
def test_one_allocation_has_an_address_of_each_family(
    server: Coturn, host: str, network_types: list[str], families: set[int]
) -> None:
    if not has_ipv6_loopback():
        pytest.skip("not applicable: no IPv6 loopback")
    reachable = ("udp6" if ":" in host else "udp4") in network_types

    async def main() -> None:
        async with Gathered(server.url(host=host), network_types=network_types) as gathered:
            if not reachable:
                assert "no local address can reach" in gathered.errors[0].reason
                return
            assert gathered.errors == []
            assert {6 if ":" in one.address else 4 for one in gathered.candidates} == families
            assert len(gathered.candidates) == len(families)

    run_real(main())


@pytest.mark.row("TRN-13")
def test_credentials_for_a_while() -> None:
    async def main(server: Coturn) -> None:
        async with Gathered(server.url(), *time_limited_credentials(SECRET, "alice", 600)) as gathered:
            assert gathered.errors == []
            assert gathered.candidates
        async with Gathered(server.url(), *time_limited_credentials(SECRET)) as gathered:
            assert gathered.candidates
        over = time_limited_credentials(SECRET, "alice", 10, now=time.time() - 100)
        for username, password in (over, time_limited_credentials("another secret", "alice")):
            async with Gathered(server.url(), username, password) as gathered:
                assert gathered.candidates == []
                assert {error.error_code for error in gathered.errors} == {401}

    with coturn("--use-auth-secret", f"--static-auth-secret={SECRET}", users=False) as one:
        run_real(main(one))


@pytest.mark.row("TRN-02", "STN-15")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_an_alternate_server_is_gone_to(server: Coturn, transport: str) -> None:
    async def main(first: Coturn) -> None:
        log_before = len(server.log_text())
        async with Gathered(first.url(transport=transport), network_types=["udp4"]) as gathered:
            assert gathered.errors == []
            [candidate] = gathered.candidates
            assert candidate.url == first.url(transport=transport)
            # The servers write their logs in their own time.
            while "new, realm=" not in server.log_text()[log_before:]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert "new, realm=" not in first.log_text()

    with coturn(f"--alternate-server=127.0.0.1:{server.port}") as first:
        run_real(main(first))


@pytest.mark.row("STN-13", "TRN-02")
def test_a_stale_nonce_is_replaced() -> None:
    async def main(server: Coturn) -> None:
        async with Gathered(server.url(), network_types=["udp4"]) as gathered:
            transactions = gathered.relay._allocation._client._transactions
            login = transactions._credential.login
            assert login is not None
            host = 1
            while transactions._credential.login == login:
                host += 1
                gathered.relay.permit(f"127.0.0.{host}", asyncio.get_running_loop().time())
                await asyncio.sleep(0.05)
            permission = gathered.relay._allocation._client._peers._permissions[f"127.0.0.{host}"]
            while not permission.is_installed:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    with coturn("--stale-nonce=1") as one:
        run_real(main(one))


@pytest.mark.row("TRN-14", "TRN-16")
@pytest.mark.parametrize("scheme", ["http", "socks5"])
@pytest.mark.parametrize("secure", [False, True])
def test_through_a_proxy(server: Coturn, scheme: str, secure: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")

    async def main() -> None:
        url = server.url("turns" if secure else "turn", "localhost", "tcp")
        async with (
            real_proxy(scheme) as proxy,
            Gathered(url, tls_context=server.tls_context(), proxy=proxy.url, network_types=["udp4"]) as gathered,
        ):
            assert gathered.errors == []
            [candidate] = gathered.candidates
            assert candidate.relay_protocol == ("tls" if secure else "tcp")
            # The proxy looks the name up; and inside its tunnel it sees no TURN where there is TLS.
            assert proxy.asked == [("localhost", server.tls_port if secure else server.port)]
            assert (b"coturn.test" in proxy.octets) != secure

    run_real(main())
    assert "p@ss" not in caplog.text
    assert "p%40ss" not in caplog.text


@pytest.mark.row("TRN-16")
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_tls_and_dtls_are_verified_against_the_name(server: Coturn, transport: str) -> None:
    async def main() -> None:
        url = server.url("turns", "localhost", transport)
        for options in ({}, {"tls_context": server.tls_context()}):
            async with Gathered(url, network_types=["udp4"], **options) as gathered:
                assert bool(gathered.candidates) == bool(options)
                assert bool(gathered.errors) != bool(options)

    run_real(main())
