"""SRV records, asked of a DNS server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import dns.asyncresolver
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset
import pytest

from tests.support.real_loop import run_real
from webrtc_py.runtime.srv import resolve_srv
from webrtc_py.runtime.system_network import SystemNetwork


class NameServer(asyncio.DatagramProtocol):
    """Knows some records; ``deaf`` makes it answer nothing, ``rubbish`` nothing that makes sense."""

    def __init__(self, records: dict[str, list[str]]) -> None:
        self.records = records
        self.deaf = False
        self.rubbish = False
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        if self.deaf:
            return
        query = dns.message.from_wire(data)
        name = query.question[0].name.to_text(omit_final_dot=True)
        answer = dns.message.make_response(query)
        if name in self.records:
            records: Iterable[str] = self.records[name]
            if records:
                answer.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "SRV", *records))
        else:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        wire = answer.to_wire()
        self.transport.sendto(wire[:2] + b"\xff" * 40 if self.rubbish else wire, address)


@dataclass
class Resolving:
    """Where resolvers ask, and how long they wait for an answer."""

    port: int = 0
    lifetime: float = 60.0


@pytest.fixture
def resolving(monkeypatch: pytest.MonkeyPatch) -> Resolving:
    """Point resolvers at 127.0.0.1."""
    settings = Resolving()

    class Resolver(dns.asyncresolver.Resolver):
        def __init__(self) -> None:
            super().__init__(configure=False)
            self.nameservers = ["127.0.0.1"]
            self.port = settings.port
            self.lifetime = self.timeout = settings.lifetime

    monkeypatch.setattr(dns.asyncresolver, "Resolver", Resolver)
    return settings


RECORDS = {
    "_turn._udp.example.org": ["20 1 3478 second.example.org.", "10 1 7000 first.example.org."],
    "_stun._udp.example.org": ["0 0 0 ."],
    "_stuns._tcp.example.org": [],
}


async def serve(resolving: Resolving) -> NameServer:
    _, server = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: NameServer(RECORDS), local_addr=("127.0.0.1", 0)
    )
    resolving.port = server.transport.get_extra_info("sockname")[1]
    return server


@pytest.mark.row("TRN-11")
def test_records_come_in_their_order(resolving: Resolving) -> None:
    async def main() -> None:
        server = await serve(resolving)
        found = await SystemNetwork().resolve_srv("_turn._udp", "example.org")
        assert found == [("first.example.org", 7000), ("second.example.org", 3478)]
        assert await resolve_srv("_stun._udp", "example.org") == []  # it says that it has no such service
        server.transport.close()

    run_real(main())


@pytest.mark.row("TRN-11")
@pytest.mark.parametrize(
    ("service", "host", "kind"),
    [
        ("_turn._tcp", "example.org", ""),
        ("_stuns._tcp", "example.org", ""),
        ("_turn._udp", "example.org", "deaf"),
        ("_turn._udp", "example.org", "rubbish"),
        ("_turn._udp", "x" * 64 + ".example.org", ""),
        ("_turn._udp", "..", ""),
    ],
)
def test_what_is_no_answer_is_an_os_error(resolving: Resolving, service: str, host: str, kind: str) -> None:
    async def main() -> None:
        server = await serve(resolving)
        server.deaf, server.rubbish = kind == "deaf", kind == "rubbish"
        if kind:
            resolving.lifetime = 0.1
        with pytest.raises(OSError, match="SRV"):
            await resolve_srv(service, host)
        server.transport.close()

    run_real(main())


def test_who_does_not_wait_leaves_nothing(resolving: Resolving) -> None:
    async def main() -> None:
        server = await serve(resolving)
        server.deaf = True
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(resolve_srv("_turn._udp", "example.org"), 0.05)
        server.transport.close()

    run_real(main())


def test_a_system_without_a_configuration_has_no_records(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise dns.resolver.NoResolverConfiguration("no /etc/resolv.conf")

    monkeypatch.setattr(dns.asyncresolver, "Resolver", fail)

    async def main() -> None:
        with pytest.raises(OSError, match="NoResolverConfiguration"):
            await resolve_srv("_turn._udp", "example.org")

    run_real(main())
