"""``close()`` at every stage of a connection ends soon, and leaves no task, timer, socket or TURN allocation.

``run`` checks at the end of each test what is left.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from tests.support.connections import Call, Peer
from tests.support.virtual_loop import run
from tests.support.virtual_network import DROP, Packet, Verdict, VirtualNetwork
from tests.support.virtual_turn import TURNServer
from webrtc_py import (
    Configuration,
    ConnectionClosedError,
    DataChannel,
    ICEServer,
    InvalidStateError,
    PeerConnection,
)

pytestmark = pytest.mark.row("X-07", "WPC-14")

SOON = 2.0


def servers() -> tuple[VirtualNetwork, TURNServer, Configuration]:
    """A network with a STUN server, a TURN server and one of each that is dead."""
    network = VirtualNetwork(seed=3, delay=0.02)
    network.stun_server("stun.example", "192.0.2.3")
    turn = network.turn_server("turn.example", "192.0.2.4")
    network.stun_server("dead.example", "192.0.2.5").silent = True
    network.turn_server("dead-turn.example", "192.0.2.6").silent = True
    relays = ["turn:turn.example", "turn:turn.example?transport=tcp", "turn:dead-turn.example"]
    configuration = Configuration(
        [ICEServer(["stun:stun.example", "stun:dead.example"]), ICEServer(relays, username="user", credential="secret")]
    )
    return network, turn, configuration


async def close_in_time(pc: PeerConnection) -> None:
    begin = asyncio.get_running_loop().time()
    await pc.close()
    assert asyncio.get_running_loop().time() - begin <= SOON
    assert (pc.connection_state, pc.signaling_state, pc.ice_connection_state) == ("closed", "closed", "closed")
    await pc.close()


def drop_dtls(*content_types: int) -> Callable[[Packet], Verdict | None]:
    """A tap that loses DTLS records of these types (RFC 6347 section 4.1)."""
    return lambda packet: DROP if packet.data[:1] and packet.data[0] in content_types else None


async def reach(stage: str, network: VirtualNetwork, call: Call) -> list[DataChannel]:
    """Bring a call to ``stage``; the channels that are open then."""
    offerer, answerer = call.offerer.pc, call.answerer.pc
    if stage == "new":
        return []
    if stage == "connected" or stage == "transferring" or stage in ("disconnected", "failed", "channel closing"):
        channels = list(await call.connect())
        if stage == "transferring":
            network.set_path(call.offerer.host, call.answerer.host, bandwidth=1_000_000)
            for _ in range(100):
                channels[0].send(bytes(50_000))
                channels[1].send(bytes(50_000))
            await asyncio.sleep(0.5)
        elif stage == "channel closing":
            network.cut(call.offerer.host, call.answerer.host)
            asyncio.get_running_loop().call_soon(asyncio.ensure_future, channels[0].close())
            await asyncio.sleep(0.01)
        elif stage in ("disconnected", "failed"):
            for name in ("bob", "turn.example"):
                network.cut(call.offerer.host, network.hosts[name])
            network.cut(call.answerer.host, network.hosts["turn.example"])
            reached = asyncio.Event()
            offerer.on_ice_connection_state_change(lambda state: reached.set() if state == stage else None)
            await reached.wait()
        return channels
    offerer.create_data_channel("test")
    if stage == "gathering":
        await offerer.set_local_description()
        await asyncio.sleep(0.05)
        assert offerer.ice_gathering_state == "gathering"
        return []
    if stage == "offered":
        await offerer.set_local_description()
        offer = offerer.local_description
        assert offer is not None
        await answerer.set_remote_description(offer)
        return []
    lost = {"checking": range(4), "handshaking": range(20, 64), "associating": (23,)}[stage]
    network.tap(drop_dtls(*lost))
    await call.negotiate()
    await asyncio.sleep(1.0)
    ice = "checking" if stage == "checking" else "connected"
    assert offerer.ice_connection_state in (ice, "completed")
    dtls = {"checking": "new", "handshaking": "connecting", "associating": "connected"}[stage]
    assert offerer.sctp is not None
    assert offerer.sctp.transport.state == dtls
    return []


STAGES = [
    "new",
    "gathering",
    "offered",
    "checking",
    "handshaking",
    "associating",
    "connected",
    "transferring",
    "channel closing",
    "disconnected",
    "failed",
]


@pytest.mark.parametrize("closer", ["offerer", "answerer", "both"])
@pytest.mark.parametrize("stage", STAGES)
def test_close_at_every_stage(stage: str, closer: str) -> None:
    network, turn, configuration = servers()

    async def main() -> None:
        call = Call.over(network, configuration)
        channels = await reach(stage, network, call)
        first, second = call.offerer.pc, call.answerer.pc
        if closer == "answerer":
            first, second = second, first
        if closer == "both":
            await asyncio.gather(close_in_time(first), close_in_time(second))
        else:
            await close_in_time(first)
            if stage == "connected":
                await asyncio.sleep(1.0)
                assert [str(channel.ready_state) for channel in channels] == ["closed", "closed"]
                assert second.sctp is not None
                assert second.sctp.transport.state == "closed"
            await close_in_time(second)
        assert [str(channel.ready_state) for channel in channels] == ["closed"] * len(channels)
        await call.close()
        await asyncio.sleep(SOON)
        if stage != "failed" and stage != "disconnected":
            assert turn.allocations == 0

    run(main())


@pytest.mark.parametrize("as_coroutine", [False, True])
@pytest.mark.parametrize(
    "event", ["on_ice_candidate", "on_connection_state_change", "on_open", "on_message", "on_data_channel"]
)
def test_close_from_inside_a_handler(event: str, as_coroutine: bool) -> None:
    network, turn, configuration = servers()

    async def main() -> None:
        call = Call.over(network, configuration)
        closed = asyncio.get_running_loop().create_future()
        closings: set[asyncio.Task[None]] = set()

        async def close(pc: PeerConnection) -> None:
            await close_in_time(pc)
            if not closed.done():
                closed.set_result(None)

        def close_soon(pc: PeerConnection) -> None:
            closings.add(asyncio.ensure_future(close(pc)))

        offerer, answerer = call.offerer.pc, call.answerer.pc
        channel = offerer.create_data_channel("test")
        begin = close if as_coroutine else close_soon
        if event == "on_ice_candidate":
            offerer.on_ice_candidate(lambda candidate: begin(offerer))
            await offerer.set_local_description()
        else:
            if event == "on_connection_state_change":
                offerer.on_connection_state_change(lambda state: begin(offerer) if state == "connected" else None)
            elif event == "on_open":
                channel.on_open(lambda: begin(offerer))
            elif event == "on_message":
                channel.on_open(lambda: channel.send("close, please"))
                answerer.on_data_channel(lambda far: far.on_message(lambda message: begin(answerer)) and None)
            else:
                answerer.on_data_channel(lambda far: begin(answerer))
            await call.negotiate()
        await closed
        await asyncio.gather(*closings)
        await call.close()
        await asyncio.sleep(SOON)
        assert turn.allocations == 0

    run(main())


def test_waiting_calls_end_when_the_connection_closes() -> None:
    network, _, configuration = servers()

    async def main() -> None:
        call = Call.over(network, configuration)
        network.cut(call.offerer.host, call.answerer.host)
        channel = call.offerer.pc.create_data_channel("test")
        waiting = [
            asyncio.create_task(call.offerer.pc.wait_connected()),
            asyncio.create_task(channel.opened()),
            asyncio.create_task(channel.recv()),
        ]
        await asyncio.sleep(0.1)
        await close_in_time(call.offerer.pc)
        for task in waiting:
            with pytest.raises(ConnectionError):
                await task
        await call.close()

    run(main())


def test_many_connections_one_after_the_other_leave_nothing() -> None:
    async def main() -> None:
        for seed in range(20):
            async with Call.over(VirtualNetwork(seed)) as call:
                near, far = await call.connect()
                near.send("hello")
                assert await far.recv() == "hello"

    run(main())


@pytest.mark.row("CON-06")
@pytest.mark.parametrize("says", ["close_notify", "a close_notify of a stranger's"])
def test_sending_ends_with_a_close_notify_that_is_the_peers(says: str) -> None:
    """RFC 7675 section 5.2. SCTP's own farewell is lost here, and the other end is in the middle of a transfer."""

    async def main() -> None:
        network = VirtualNetwork(delay=0.02)
        async with Call.over(network) as call:
            _, far = await call.connect()
            alice, bob = call.offerer.host, call.answerer.host
            network.set_path(alice, bob, bandwidth=1_000_000)
            loop = asyncio.get_running_loop()
            sent: list[float] = []
            ends: list[tuple[tuple[str, int], tuple[str, int]]] = []

            def watch(packet: Packet) -> Verdict | None:
                is_data = packet.data[:1] == b"\x17"
                if packet.sender is bob and is_data:
                    sent.append(loop.time())
                    ends.append((packet.destination, packet.source))
                return DROP if packet.sender is alice and is_data and is_closing else None

            is_closing = False
            network.tap(watch)
            for _ in range(100):
                far.send(bytes(60_000))
            await asyncio.sleep(1)
            assert loop.time() - sent[-1] < 0.1
            if says == "close_notify":
                is_closing = True
                await call.offerer.pc.close()
            else:
                source, destination = ends[-1]
                network.inject(
                    b"\x15\xfe\xfd" + bytes(7) + b"\x09\x00\x02\x01\x00", source=source, destination=destination
                )
            arrived = loop.time() + 0.02
            await asyncio.sleep(3)
            if says == "close_notify":
                assert sent[-1] <= arrived
                assert far.ready_state == "closed"
            else:
                assert sent[-1] > arrived + 1
                assert far.ready_state == "open"

    run(main())


@pytest.mark.row("TRN-03")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_no_allocation_is_left_whenever_gathering_is_broken_off(transport: str) -> None:
    """The moment of the close goes through all of the conversation with a server that is 50 ms away."""

    async def close_after(delay: float) -> TURNServer:
        network = VirtualNetwork(seed=3, delay=0.05)
        turn = network.turn_server("turn.example", "192.0.2.4")
        server = ICEServer(f"turn:turn.example?transport={transport}", username="user", credential="secret")
        peer = Peer(network.host("alice", "192.0.2.101"), Configuration([server]))
        peer.pc.create_data_channel("test")
        await peer.pc.set_local_description()
        await asyncio.sleep(delay)
        await close_in_time(peer.pc)
        await asyncio.sleep(SOON)
        return turn

    async def main() -> None:
        for step in range(60):
            turn = await close_after(step * 0.01)
            assert turn.allocations == 0, f"closed after {step * 0.01:.2f} s"

    run(main())


def test_candidates_for_a_peer_that_has_closed_come_too_late_and_are_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """Each side's candidates go to the other by a plain ``on_ice_candidate(other.add_ice_candidate)``."""

    async def main() -> None:
        network, _, configuration = servers()
        hosts = (network.host("alice", "192.0.2.101"), network.host("bob", "192.0.2.102"))
        alice, bob = (Peer(host, configuration).pc for host in hosts)
        alice.on_ice_candidate(bob.add_ice_candidate)
        bob.on_ice_candidate(alice.add_ice_candidate)
        alice.create_data_channel("test")
        await alice.set_local_description()
        await bob.set_remote_description(alice.local_description or {})
        await close_in_time(bob)
        await alice.gathering_complete()
        await asyncio.sleep(0)
        with pytest.raises(InvalidStateError):  # as W3C has it, for those who ask
            await bob.add_ice_candidate(None)
        await close_in_time(alice)

    with caplog.at_level(logging.INFO):
        run(main())
    late = [record for record in caplog.records if "came too late: the connection is closed" in record.message]
    assert len(late) > 1
    assert [record for record in caplog.records if record.levelno > logging.INFO or record.exc_info] == []


def test_an_echo_to_a_channel_that_has_closed_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        network = VirtualNetwork(seed=3, delay=0.02)
        async with Call.over(network) as call:
            near, far = await call.connect()
            far.on_message(far.send)
            near.send("one")
            near.send("two")
            await near.close()
            await asyncio.sleep(1)
            with pytest.raises(ConnectionClosedError, match="is closed, not open"):
                far.send("three")

    with caplog.at_level(logging.INFO):
        run(main())
    assert [record for record in caplog.records if record.levelno > logging.INFO or record.exc_info] == []
