"""Names in .local: the peer's are resolved, and ours answered for, over the multicast of a virtual network."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.virtual_host import VirtualHost, VirtualMulticastSocket
from tests.support.virtual_loop import run
from tests.support.virtual_network import DROP, VirtualNetwork
from webrtc_py.errors import ParseError
from webrtc_py.ice import mdns_message as message
from webrtc_py.ice.mdns import AgentNames, LocalNames, new_name
from webrtc_py.ice.mdns_message import AddressRecord
from webrtc_py.train import Train

NAME = "5e1b3c94-6f4e-4d0b-9c3b-3f5b7a0c6f11.local"
GROUP = ("224.0.0.251", 5353)


def on_a_link(test: Callable[[VirtualNetwork, VirtualHost, VirtualHost], Coroutine[Any, Any, None]]) -> None:
    """Two hosts on one link, a hundredth of a second apart."""

    async def main() -> None:
        network = VirtualNetwork(seed=1, delay=0.01)
        alice = network.host("alice", "192.0.2.1", "2001:db8::1")
        bob = network.host("bob", "192.0.2.2", "2001:db8::2")
        await test(network, alice, bob)

    run(main())


class Stranger:
    """Whoever else is on the link, and may send anything."""

    def __init__(self, socket: VirtualMulticastSocket) -> None:
        self.socket = socket
        self.heard: list[message.Message] = []
        socket.set_receiver(lambda train, source, now: self.heard.append(message.parse(bytes(train.data))))

    @classmethod
    async def on(cls, host: VirtualHost) -> Stranger:
        return cls(await host.open_multicast(*GROUP))

    def send(self, data: bytes) -> None:
        self.socket.send(Train.of(data), GROUP)

    @property
    def responses(self) -> list[message.Message]:
        return [one for one in self.heard if one.is_response]


@pytest.mark.row("MDN-01", "MDN-02")
@pytest.mark.parametrize("address", ["192.0.2.2", "2001:db8::2"])
def test_a_name_is_published_and_resolved(address: str) -> None:
    async def test(network: VirtualNetwork, alice: VirtualHost, bob: VirtualHost) -> None:
        here, there = AgentNames(alice), AgentNames(bob)
        name = await there.name_of(address)
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\.local", name)
        assert await there.name_of(address) == name
        assert await there.name_of("192.0.2.99") != name
        started = asyncio.get_running_loop().time()
        assert await here.resolve(name.upper().replace(".LOCAL", ".local"), 5.0) == address
        assert asyncio.get_running_loop().time() - started == pytest.approx(0.02)
        await here.close()
        await there.close()

    on_a_link(test)


def test_agents_of_one_loop_and_network_share_sockets_and_the_last_closes_them() -> None:
    async def test(network: VirtualNetwork, alice: VirtualHost, bob: VirtualHost) -> None:
        first, second = LocalNames.acquire(alice), LocalNames.acquire(alice)
        assert first is second
        elsewhere = LocalNames.acquire(bob)
        assert elsewhere is not first
        await elsewhere.release()
        await first.publish(NAME, "192.0.2.1")
        assert await second.resolve(NAME, 5.0) == "192.0.2.1"
        assert network.counters["sent"] == 0
        await first.release()
        assert len(alice.multicast) == 2
        await second.release()
        assert alice.multicast == []

    on_a_link(test)


@pytest.mark.row("MDN-02")
def test_lost_questions_are_asked_again() -> None:
    async def test(network: VirtualNetwork, alice: VirtualHost, bob: VirtualHost) -> None:
        lost = iter([True] * 4)
        network.tap(lambda packet: DROP if next(lost, False) else None)
        here, there = AgentNames(alice), AgentNames(bob, NAME)
        await there.name_of("192.0.2.2")
        started = asyncio.get_running_loop().time()
        assert await here.resolve(NAME, 5.0) == "192.0.2.2"
        assert asyncio.get_running_loop().time() - started == pytest.approx(3.02)
        await here.close()
        await there.close()

    on_a_link(test)


@pytest.mark.row("MDN-02")
def test_a_name_that_nobody_has() -> None:
    async def test(network: VirtualNetwork, alice: VirtualHost, bob: VirtualHost) -> None:
        here, stranger = AgentNames(alice), await Stranger.on(bob)
        loop = asyncio.get_running_loop()
        started = loop.time()
        assert await here.resolve(NAME, 60.0) is None
        assert loop.time() - started == pytest.approx(7.0)
        assert len(stranger.heard) == 3
        assert await here.resolve(NAME, 0.5) is None
        assert loop.time() - started == pytest.approx(7.5)
        await here.close()
        stranger.socket.close()

    on_a_link(test)


@pytest.mark.row("MDN-03")
@pytest.mark.parametrize("name", ["foo.bar.local", "example.org", ".local", "a b.local", "x" * 64 + ".local"])
def test_other_names_are_not_asked_for(name: str) -> None:
    async def test(network: VirtualNetwork, alice: VirtualHost, bob: VirtualHost) -> None:
        here = AgentNames(alice)
        assert await here.resolve(name, 5.0) is None
        assert network.counters["sent"] == 0
        await here.close()

    on_a_link(test)


@pytest.mark.row("MDN-03")
def test_a_name_with_several_addresses_is_left_out() -> None:
    async def test(network: VirtualNetwork, alice: VirtualHost, bob: VirtualHost) -> None:
        here, stranger = AgentNames(alice), await Stranger.on(bob)
        asking = asyncio.create_task(here.resolve(NAME, 5.0))
        await asyncio.sleep(0.1)
        stranger.send(
            message.serialize_response([AddressRecord(NAME, "192.0.2.2"), AddressRecord(NAME, "2001:db8::9")])
        )
        assert await asking is None
        await here.close()
        stranger.socket.close()

    on_a_link(test)


def test_a_goodbye_is_no_answer() -> None:
    async def test(network: VirtualNetwork, alice: VirtualHost, bob: VirtualHost) -> None:
        here, stranger = AgentNames(alice), await Stranger.on(bob)
        asking = asyncio.create_task(here.resolve(NAME, 5.0))
        await asyncio.sleep(0.1)
        stranger.send(message.serialize_response([AddressRecord(NAME, "192.0.2.2", 0)]))
        await asyncio.sleep(0.1)
        assert not asking.done()
        stranger.send(message.serialize_response([AddressRecord(NAME, "192.0.2.2")]))
        assert await asking == "192.0.2.2"
        await here.close()
        stranger.socket.close()

    on_a_link(test)


def test_what_was_answered_is_taken_back_at_the_end() -> None:
    async def test(network: VirtualNetwork, alice: VirtualHost, bob: VirtualHost) -> None:
        names, stranger = AgentNames(alice, NAME), await Stranger.on(bob)
        await names.name_of("192.0.2.1")
        other = await names.name_of("2001:db8::1")
        stranger.send(message.serialize_query(NAME))
        await asyncio.sleep(0.1)
        await names.close()
        await asyncio.sleep(0.1)
        assert [one.answers[0].ttl for one in stranger.responses if one.answers] == [120, 0]
        assert all(record.name != other for one in stranger.responses for record in one.answers)
        stranger.socket.close()

    on_a_link(test)


@pytest.mark.row("MDN-06")
def test_a_flood_of_questions_gets_an_answer_a_second() -> None:
    async def test(network: VirtualNetwork, alice: VirtualHost, bob: VirtualHost) -> None:
        names, stranger = LocalNames.acquire(alice), await Stranger.on(bob)
        await names.publish(NAME, "192.0.2.1")
        for _ in range(1000):
            stranger.send(message.serialize_query(NAME))
            stranger.send(message.serialize_query(new_name()))
            await asyncio.sleep(0.01)
        await asyncio.sleep(2)
        assert 10 <= len(stranger.responses) <= 12
        assert all(one.answers == (AddressRecord(NAME, "192.0.2.1"),) for one in stranger.responses)
        for _ in range(1000):
            stranger.send(message.serialize_query(NAME))
        await asyncio.sleep(0.1)
        assert 800 <= names.dropped <= 810  # it hears its own answers too
        assert len(stranger.responses) <= 13
        await asyncio.sleep(2)
        await names.release()
        stranger.socket.close()

    on_a_link(test)


@pytest.mark.row("MDN-06")
def test_who_knows_the_answer_and_who_asks_for_something_else_gets_none() -> None:
    async def test(network: VirtualNetwork, alice: VirtualHost, bob: VirtualHost) -> None:
        names, stranger = LocalNames.acquire(alice), await Stranger.on(bob)
        await names.publish(NAME, "192.0.2.1")
        question = message.serialize_query(NAME, [message.A])
        record = message.serialize_response([AddressRecord(NAME, "192.0.2.1")])[12:]
        known = b"\0\0\0\0\0\1\0\1\0\0\0\1" + question[12:] + record
        assert message.parse(known).answers == (AddressRecord(NAME, "192.0.2.1"),)
        for data in (known, message.serialize_query(NAME, [16]), message.serialize_query(new_name())):
            stranger.send(data)
        await asyncio.sleep(0.1)
        assert stranger.responses == []
        stranger.send(question)
        await asyncio.sleep(0.1)
        assert len(stranger.responses) == 1
        await names.release()
        stranger.socket.close()

    on_a_link(test)


@pytest.mark.row("MDN-06")
@given(st.one_of(st.binary(min_size=1, max_size=200), st.binary(max_size=60).map(lambda rest: b"\0" * 4 + rest + b"x")))
def test_any_packet_from_the_local_network_is_survived(data: bytes) -> None:
    async def test(network: VirtualNetwork, alice: VirtualHost, bob: VirtualHost) -> None:
        names, stranger = LocalNames.acquire(alice), await Stranger.on(bob)
        await names.publish(NAME, "192.0.2.1")
        stranger.socket.set_receiver(None)
        stranger.send(data)
        stranger.send(data + NAME.partition(".")[0].encode())
        stranger.send(message.serialize_query(NAME)[: 12 + len(data)])
        await asyncio.sleep(0.1)
        assert names.dropped <= 2
        here = AgentNames(bob)
        assert await here.resolve(NAME, 5.0) == "192.0.2.1"
        await here.close()
        await names.release()
        stranger.socket.close()

    on_a_link(test)


def test_without_multicast_nothing_is_published_or_resolved(caplog: pytest.LogCaptureFixture) -> None:
    async def test(network: VirtualNetwork, alice: VirtualHost, bob: VirtualHost) -> None:
        alice.has_multicast = False
        names = AgentNames(alice)
        with pytest.raises(OSError, match="no multicast"):
            await names.name_of("192.0.2.1")
        with caplog.at_level(logging.INFO, logger="webrtc_py.ice"):
            assert await names.resolve(NAME, 5.0) is None
        assert "cannot be resolved" in caplog.text
        alice.has_multicast = True
        assert await names.name_of("192.0.2.1")
        await names.close()

    on_a_link(test)


def test_one_family_with_multicast_is_enough() -> None:
    async def main() -> None:
        network = VirtualNetwork(seed=1)
        alice, bob = network.host("alice", "2001:db8::1"), network.host("bob", "2001:db8::2")
        opened: list[str] = []
        network.tap(lambda packet: opened.append(packet.destination[0]))
        here, there = AgentNames(alice), AgentNames(bob)
        assert await here.resolve(await there.name_of("2001:db8::2"), 5.0) == "2001:db8::2"
        assert "ff02::fb" in opened
        await here.close()
        await there.close()

    run(main())


# Messages

ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
NAMES = st.from_regex(r"[a-z0-9-]{1,63}\.local", fullmatch=True)


@given(NAMES, ADDRESSES, st.integers(0, 2**32 - 1))
def test_records_there_and_back(name: str, address: str, ttl: int) -> None:
    record = AddressRecord(name, address, ttl)
    assert message.parse(message.serialize_response([record])) == message.Message(True, (), (record,))


@given(NAMES)
def test_questions_there_and_back(name: str) -> None:
    parsed = message.parse(message.serialize_query(name))
    assert not parsed.is_response
    assert [(one.name, one.type) for one in parsed.questions] == [(name, message.A), (name, message.AAAA)]


def test_the_messages_are_what_another_implementation_reads_and_writes() -> None:
    import dns.message
    import dns.name
    import dns.rdataclass
    import dns.rdatatype

    theirs = dns.message.from_wire(message.serialize_response([AddressRecord(NAME, "192.0.2.1")]))
    assert [(str(one.name), one.rdtype, one.ttl) for one in theirs.answer] == [(f"{NAME}.", dns.rdatatype.A, 120)]
    [nsec] = theirs.additional
    assert nsec.rdtype == dns.rdatatype.NSEC
    owner = dns.name.from_text(NAME).to_wire()
    assert owner is not None
    assert next(iter(nsec)).to_generic().data == owner + b"\0\1\x40"
    query = dns.message.make_query(NAME, dns.rdatatype.AAAA)
    query.find_rrset(query.question, dns.name.from_text(NAME), dns.rdataclass.IN, dns.rdatatype.A, create=True)
    parsed = message.parse(query.to_wire())  # the second name is a pointer to the first
    assert [(one.name, one.type) for one in parsed.questions] == [(NAME, message.AAAA), (NAME, message.A)]


@pytest.mark.row("MDN-06")
@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "0 octets"),
        (bytes(9001), "9001 octets"),
        (b"\0\0\x78\0" + bytes(8), "no standard query"),
        (bytes(4) + b"\xff\xff" + bytes(6), "65535 records"),
        (bytes(4) + b"\0\1" + bytes(6), "cut short"),
        (bytes(4) + b"\0\1" + bytes(6) + b"\xc0\x0c\0\1\0\1", "points forward"),
        (bytes(4) + b"\0\1" + bytes(6) + b"\1a\xc0\x0c\0\1\0\1", "points forward"),
        (bytes(4) + b"\0\2" + bytes(6) + b"\1a\xc0\x12\0\1\0\1\xc0\x0c\0\1\0\1", "points forward"),
        (bytes(4) + b"\0\1" + bytes(6) + b"\x3fabc", "cut short"),
        (bytes(4) + b"\0\1" + bytes(6) + b"\x40abc", "label of kind 1"),
        (bytes(4) + b"\0\1" + bytes(6) + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1", "too long"),
        (bytes(6) + b"\0\1" + bytes(4) + b"\0\0\1\0\1\0\0\0\0\0\xff", "cut short"),
    ],
)
def test_malformed_messages_are_refused(data: bytes, why: str) -> None:
    with pytest.raises(ParseError, match=why):
        message.parse(data)


@given(st.binary(max_size=300))
def test_any_octets_are_a_message_or_an_error(data: bytes) -> None:
    for candidate in (data, bytes(4) + b"\0\2\0\2\0\0\0\0" + data):
        with contextlib.suppress(ParseError):
            message.parse(candidate)
