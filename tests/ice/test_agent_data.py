"""The data of two agents: what is sent and when, what of strangers arrives, and what waits to be read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ice.agent_pair import Pair, in_network
from tests.support.virtual_network import VirtualNetwork
from webrtc_py.errors import (
    ArgumentTypeError,
    InvalidAccessError,
)
from webrtc_py.ice import stun
from webrtc_py.ice.agent import Agent
from webrtc_py.train import Train

# The path


@pytest.mark.row("SEC-09")
def test_nothing_is_sent_before_a_check_has_succeeded() -> None:
    async def test(network: VirtualNetwork) -> None:
        sent: list[bytes] = []
        network.tap(lambda packet: sent.append(packet.data))
        network.host("alice", "192.0.2.1")
        network.host("bob", "192.0.2.2")
        network.cut(network.hosts["bob"], network.hosts["alice"], one_way=True)
        async with Pair(network) as pair:
            await pair.one.gather_candidates()
            await pair.other.gather_candidates()
            pair.one.start(True, *pair.other.get_local_user_credentials())
            pair.other.start(False, *pair.one.get_local_user_credentials())
            for _ in range(50):
                pair.one.send(Train.of(b"\x16 a ClientHello"))
                pair.other.send(Train.of(b"\x16 a ClientHello"))
                await asyncio.sleep(0.02)
            assert sent
            assert all(stun.is_stun(data) for data in sent)
            assert pair.one.dropped == 50
            assert pair.other.dropped == 50

    in_network(test)


@pytest.mark.row("ICE-45", "ICE-46")
def test_data_of_strangers_never_arrives() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            here, there = await pair.connect()
            assert there.local_address is not None
            assert here.local_address is not None
            for first in range(256):
                network.inject(bytes([first]) * 50, source=("203.0.113.66", 666), destination=there.local_address)
            await asyncio.sleep(1)
            here.send(b"\x40 the peer")
            assert await there.recv() == b"\x40 the peer"
            assert pair.other.dropped == 256

    in_network(test)


@pytest.mark.row("DMX-04")
@pytest.mark.parametrize("first", range(4))
def test_the_first_bytes_of_stun_without_its_cookie_are_dropped(first: int) -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            here, there = await pair.connect()
            assert there.local_address is not None
            assert here.local_address is not None
            # Even from the peer's own address, and alone or in one train with what is good.
            for data in (bytes([first]) * 40, bytes([first]), b"good"):
                network.inject(data, source=here.local_address, destination=there.local_address)
            assert await there.recv() == b"good"
            assert pair.other.dropped == 2

    in_network(test)


def test_a_train_that_mixes_stun_and_data_is_taken_apart() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            here, there = await pair.connect()
            [base] = pair.other._newest.bases()
            indication = stun.serialize(stun.Message(stun.Method.BINDING, stun.Class.INDICATION, bytes(12)))
            assert len(indication) == 28
            data = b"\x80" * 28 + indication + b"\x81" * 28 + b"\x00" * 28 + b"\x82" * 9
            assert here.local_address is not None
            now = asyncio.get_running_loop().time()
            receiver = base.socket.receiver  # type: ignore[union-attr]
            assert receiver is not None
            receiver(Train(memoryview(data), 28), here.local_address, now)
            assert [await there.recv() for _ in range(3)] == [b"\x80" * 28, b"\x81" * 28, b"\x82" * 9]

    in_network(test)


def test_a_few_datagrams_wait_for_their_receiver() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            await pair.connect()
            pair.other.set_data_receiver(None)
            for number in range(40):
                pair.one.send(Train.of(b"%02d" % number))
            await asyncio.sleep(1)
            got: list[bytes] = []
            pair.other.set_data_receiver(lambda train, now: got.extend(bytes(one) for one in train))
            assert got == [b"%02d" % number for number in range(16)]
            assert pair.other.dropped == 24

    in_network(test)


@pytest.mark.row("ICE-31")
def test_a_client_hello_that_comes_before_the_answer_is_not_lost() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.host("alice", "192.0.2.1")
        network.host("bob", "192.0.2.2")
        async with Pair(network) as pair:
            got: list[bytes] = []
            pair.one.set_data_receiver(lambda train, now: got.extend(bytes(one) for one in train))
            await pair.one.gather_candidates()
            await pair.other.gather_candidates()
            await pair.other.gathering_complete()
            # The answerer has all it needs, and its answer is still on its way.
            pair.other.start(False, *pair.one.get_local_user_credentials())
            await asyncio.sleep(0.5)
            pair.other.send(Train.of(b"\x16 a ClientHello"))
            await asyncio.sleep(0.5)
            for number in range(20):
                pair.other.send(Train.of(b"\x80 %d" % number))
            pair.other.send(Train.of(b"\x80" * 2049))
            await asyncio.sleep(0.5)
            assert got == []
            network.inject(b"\x16 forged", source=("203.0.113.66", 666), destination=_address(pair.one))
            await asyncio.sleep(0.5)
            pair.one.start(True, *pair.other.get_local_user_credentials())
            await asyncio.sleep(0.5)
            # DTLS is kept before all else, and of what else there is the last.
            assert got == [b"\x16 a ClientHello", *(b"\x80 %d" % number for number in range(6, 20))]

    in_network(test, delay=0.01)


def _address(agent: Agent) -> tuple[str, int]:
    [candidate] = agent.get_local_candidates()
    return candidate.address, candidate.port


@pytest.mark.row("ICE-53", "DMX-04")
@settings(max_examples=30)
@given(st.lists(st.binary(min_size=1, max_size=60), max_size=20), st.booleans())
def test_any_bytes_from_anybody_leave_the_path_as_it_is(rubbish: list[bytes], forged: bool) -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            here, there = await pair.connect()
            before = pair.other.get_selected_candidate_pair(), len(pair.other.get_candidate_pairs_stats())
            assert here.local_address is not None
            assert there.local_address is not None
            for data in rubbish:
                source = here.local_address if forged else ("203.0.113.66", 666)
                network.inject(data, source=source, destination=there.local_address)
                network.inject(
                    b"\x00\x01" + len(data).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + data,
                    source=source,
                    destination=there.local_address,
                )
            await asyncio.sleep(1)
            assert before == (pair.other.get_selected_candidate_pair(), len(pair.other.get_candidate_pairs_stats()))
            here.send(b"\x7f the end")
            while await there.recv() != b"\x7f the end":
                pass

    in_network(test)


# Conn


def test_a_handler_gets_the_datagrams_in_order() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            here, there = await pair.connect()
            got: list[bytes] = []
            done = asyncio.Event()

            async def on_data(data: bytes) -> None:
                await asyncio.sleep(0.01)
                got.append(data)
                if len(got) == 10:
                    done.set()

            there.on_data(on_data)
            for number in range(10):
                here.send(b"%d" % number)
            await done.wait()
            assert got == [b"%d" % number for number in range(10)]

    in_network(test)


def test_a_handler_gets_what_came_before_it() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            here, there = await pair.connect()
            got: list[bytes] = []
            for number in range(3):
                here.send(b"%d" % number)
            await asyncio.sleep(1)
            assert await there.recv() == b"0"
            there.on_data(got.append)
            there.on_data(None)
            there.on_data(got.append)
            await asyncio.sleep(0)
            assert got == [b"1", b"2"]
            here.send(b"3")
            await asyncio.sleep(1)
            assert got == [b"1", b"2", b"3"]

    in_network(test)


def test_small_datagrams_that_nobody_reads_are_bounded_too() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            here, there = await pair.connect()
            for _ in range(5000):
                here.send(b"\x80")
            await asyncio.sleep(1)
            assert there.dropped == 5000 - 4096

    in_network(test)


def test_what_nobody_reads_is_bounded() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            here, there = await pair.connect()
            for _ in range(1200):
                here.send(bytes([200]) * 1000)
            await asyncio.sleep(1)
            assert there.dropped == 200
            assert len(await there.recv()) == 1000

    in_network(test)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", InvalidAccessError),
        (b"\x00\x01", InvalidAccessError),
        (bytes([9]) * 65508, InvalidAccessError),
        ("text", ArgumentTypeError),
    ],
)
def test_what_cannot_be_sent(data: Any, error: type[Exception]) -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            here, _ = await pair.connect()
            with pytest.raises(error):
                here.send(data)

    in_network(test)
