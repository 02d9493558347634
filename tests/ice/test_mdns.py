"""Names in .local: looked up with aioice's protocol on a socket of the test's."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import aioice.mdns
import dns.message
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.real_loop import run_real
from webrtc_py.ice import mdns
from webrtc_py.ice.mdns import LocalNames

NAME = "5e1b3c94-6f4e-4d0b-9c3b-3f5b7a0c6f11.local"


class Responder:
    """Stands where the multicast group would be: loopback, on a port of its own."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.setblocking(False)
        self.questions: list[str] = []
        self.answers: dict[str, list[str]] = {}
        self.ignore = 0
        asyncio.get_running_loop().add_reader(self.sock.fileno(), self._on_readable)

    def _on_readable(self) -> None:
        data, source = self.sock.recvfrom(2048)
        query = dns.message.from_wire(data)
        for question in query.question:
            kind = dns.rdatatype.to_text(question.rdtype)
            self.questions.append(kind)
            if self.ignore:
                self.ignore -= 1
                continue
            answer = dns.message.QueryMessage(id=0)
            answer.flags |= 0x8400
            for address in self.answers.get(kind, []):
                rrset = dns.rrset.from_text(question.name, 120, aioice.mdns.MDNS_RDCLASS, question.rdtype)
                rdata = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
                rrset.add(dns.rdata.GenericRdata(aioice.mdns.MDNS_RDCLASS, question.rdtype, rdata))
                answer.answer.append(rrset)
            if answer.answer:
                self.sock.sendto(answer.to_wire(), source)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.sock.fileno())
        self.sock.close()


@contextmanager
def responder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Responder]:
    """The multicast group replaced by a responder on loopback, and the waits by short ones."""
    one = Responder()
    with monkeypatch.context() as patch:
        patch.setattr(aioice.mdns, "MDNS_ADDRESS", "127.0.0.1")
        patch.setattr(aioice.mdns, "MDNS_PORT", one.sock.getsockname()[1])
        patch.setattr(aioice.mdns.MDnsProtocol, "_MDnsProtocol__join", lambda self: None)
        patch.setattr(mdns, "_open_socket", open_anywhere)
        patch.setattr(mdns, "_WAITS", (0.05, 0.05, 0.05))
        try:
            yield one
        finally:
            one.close()


async def open_anywhere() -> mdns._Protocol:
    _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(mdns._Protocol, local_addr=("127.0.0.1", 0))
    return protocol


@pytest.mark.row("MDN-02")
@pytest.mark.parametrize(("kind", "address"), [("A", "192.0.2.9"), ("AAAA", "2001:db8::9")])
def test_a_name_is_resolved(monkeypatch: pytest.MonkeyPatch, kind: str, address: str) -> None:
    async def main() -> None:
        with responder(monkeypatch) as one:
            one.answers = {kind: [address]}
            names = LocalNames.acquire()
            assert await names.resolve(NAME, 5.0) == address
            assert set(one.questions) == {"A", "AAAA"}
            await names.release()

    run_real(main())


@pytest.mark.row("MDN-02")
def test_lost_questions_are_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        with responder(monkeypatch) as one:
            one.answers = {"A": ["192.0.2.9"]}
            one.ignore = 3
            names = LocalNames.acquire()
            assert await names.resolve(NAME, 5.0) == "192.0.2.9"
            await names.release()

    run_real(main())


@pytest.mark.row("MDN-02")
def test_a_name_that_nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        with responder(monkeypatch) as one:
            names = LocalNames.acquire()
            assert await names.resolve(NAME, 5.0) is None
            assert len(one.questions) == 6
            assert await names.resolve(NAME, 0.01) is None
            await names.release()

    run_real(main())


@pytest.mark.parametrize("name", ["foo.bar.local", "example.org", ".local", "a b.local", "x" * 64 + ".local"])
def test_other_names_are_not_asked_for(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    async def main() -> None:
        with responder(monkeypatch) as one:
            names = LocalNames.acquire()
            assert await names.resolve(name, 5.0) is None
            assert one.questions == []
            await names.release()

    run_real(main())


def test_agents_of_one_loop_share_a_socket_and_the_last_closes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        with responder(monkeypatch) as one:
            one.answers = {"A": ["192.0.2.9"]}
            first, second = LocalNames.acquire(), LocalNames.acquire()
            assert first is second
            await asyncio.gather(first.resolve(NAME, 5.0), second.resolve(NAME, 5.0))
            await first.release()
            assert await second.resolve(NAME, 5.0) == "192.0.2.9"
            await second.release()

    run_real(main())
    run_real(main())


def test_a_port_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse() -> mdns._Protocol:
        raise OSError("port 5353 is taken")

    async def main() -> None:
        monkeypatch.setattr(mdns, "_open_socket", refuse)
        names = LocalNames.acquire()
        assert await names.resolve(NAME, 5.0) is None
        assert await names.resolve(NAME, 5.0) is None
        await names.release()

    run_real(main())


@pytest.mark.row("MDN-06")
@given(
    st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda rest: bytes(4) + b"\0\1\0\1\0\0\0\0" + rest))
)
def test_any_packet_from_the_local_network_is_survived(data: bytes) -> None:
    logging.getLogger(mdns.__name__).setLevel(logging.ERROR)
    loop = asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        mdns._Protocol().datagram_received(data, ("192.0.2.1", 5353))
    finally:
        asyncio.set_event_loop(None)
        loop.close()
