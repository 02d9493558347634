"""ICE restarts: a new path is found beside the old one, and what is sent meanwhile arrives."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any, Self

import pytest

from tests.support.connections import Peer
from tests.support.perfect import Negotiator, Wire
from tests.support.virtual_loop import run
from tests.support.virtual_network import DROP, VirtualNetwork
from webrtc_py import (
    CandidatePairStats,
    Configuration,
    ConnectionFailedError,
    DataChannel,
    ICECandidateStats,
    ICEServer,
    ICETransport,
    InvalidAccessError,
    NotSupportedError,
    OperationError,
    SCTPTransport,
    SessionDescription,
    TransportStats,
)
from webrtc_py.sdp import Media, parse

DELAY = 0.02
ROUND_TRIP = 2 * DELAY
PACE = 0.005


def description(found: SessionDescription | None) -> SessionDescription:
    assert found is not None
    return found


def media_of(found: SessionDescription | None) -> Media:
    return parse(description(found).sdp).media[0]


def credentials(found: SessionDescription | None) -> tuple[str | None, str | None]:
    media = media_of(found)
    return media.ice_ufrag, media.ice_pwd


def sctp_of(peer: Peer) -> SCTPTransport:
    sctp = peer.pc.sctp
    assert sctp is not None
    return sctp


def ice_of(peer: Peer) -> ICETransport:
    ice = sctp_of(peer).transport.ice_transport
    assert isinstance(ice, ICETransport)
    return ice


async def until(condition: Callable[[], bool]) -> None:
    """Look again and again: in virtual time that costs nothing."""
    for _ in range(2000):
        await asyncio.sleep(PACE)
        if condition():
            return
    raise TimeoutError


class Session:
    """Two connected peers that negotiate perfectly, over signalling that takes a while; the first one is polite."""

    def __init__(self, network: VirtualNetwork, **configuration: Any) -> None:
        self.network = network
        made = Configuration(**configuration)
        self.one = Peer(network.host("alice", "192.0.2.101"), made)
        self.other = Peer(network.host("bob", "192.0.2.102"), made)
        self.channels: dict[str, tuple[DataChannel, DataChannel]] = {}
        self.wires = {self.one: Wire(DELAY), self.other: Wire(DELAY)}
        self.negotiators = {
            peer: Negotiator(peer.pc, self.wires[peer].send, polite=peer is self.one) for peer in self.peers
        }
        for peer in self.peers:
            self.wires[peer].target = self.negotiators[self.opposite(peer)]

    @property
    def peers(self) -> tuple[Peer, Peer]:
        return self.one, self.other

    def opposite(self, peer: Peer) -> Peer:
        return self.other if peer is self.one else self.one

    async def connect(self) -> None:
        near = {
            "reliable": self.one.pc.create_data_channel("reliable"),
            "fleeting": self.one.pc.create_data_channel("fleeting", ordered=False, max_retransmits=0),
        }
        for _ in near:
            far = await self.other.channels.get()
            self.channels[far.label] = (near[far.label], far)
            await near[far.label].opened()
        await asyncio.sleep(1)

    async def offer_restart(self, peer: Peer) -> None:
        """Set a restarting offer, and send it to the other side, which answers."""
        await peer.pc.set_local_description(await peer.pc.create_offer(ice_restart=True))
        self.wires[peer].send({"description": description(peer.pc.local_description).to_json()})

    async def restart(self, peer: Peer) -> None:
        """Restart once, and wait until both ends are on the new path."""
        await self.offer_restart(peer)
        await self.settled()

    async def settled(self) -> None:
        async with asyncio.timeout(10):
            await until(lambda: all(peer.pc.signaling_state == "stable" for peer in self.peers))
            await until(lambda: not any(ice_of(peer).is_restarting for peer in self.peers))

    def check(self) -> None:
        """Nobody had to complain."""
        for peer in self.peers:
            assert self.negotiators[peer].errors == []
            assert not self.wires[peer].is_broken

    def cut(self) -> None:
        self.network.cut(self.one.host, self.other.host)

    def restore(self) -> None:
        self.network.restore(self.one.host, self.other.host)

    async def __aenter__(self) -> Self:
        async with asyncio.timeout(10):
            await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        for peer in self.peers:
            self.wires[peer].stop()
            await peer.pc.close()


class Counter:
    """Counts up over one channel, in one direction, at a steady pace."""

    def __init__(self, source: DataChannel, target: DataChannel) -> None:
        self.arrived: list[tuple[int, float]] = []
        self.sent = 0
        self._source = source
        self._loop = asyncio.get_running_loop()
        target.on_message(lambda message: self.arrived.append((int(message), self._loop.time())))
        self._task = asyncio.create_task(self._count())

    async def _count(self) -> None:
        while True:
            self._source.send(str(self.sent))
            self.sent += 1
            await asyncio.sleep(PACE)

    def stop(self) -> None:
        self._task.cancel()

    @property
    def longest_gap(self) -> float:
        times = [time for _, time in self.arrived]
        return max(later - earlier for earlier, later in itertools.pairwise(times))


class Load:
    """Counters over all channels, both ways."""

    def __init__(self, session: Session) -> None:
        self.counters = {
            f"{name} {way}": Counter(*ends)
            for name, (near, far) in session.channels.items()
            for way, ends in (("there", (near, far)), ("back", (far, near)))
        }

    async def stop(self, patience: float = 1) -> None:
        for counter in self.counters.values():
            counter.stop()
        await asyncio.sleep(patience)

    def check(self) -> None:
        """No number is missing, none came twice, and no stream has paused for longer than a round trip."""
        for name, counter in self.counters.items():
            assert sorted(number for number, _ in counter.arrived) == list(range(counter.sent)), name
            assert counter.longest_gap <= ROUND_TRIP + PACE, name


def in_session(
    body: Callable[[Session], Awaitable[None]], *, withdraws_offers: bool = False, **configuration: Any
) -> None:
    """``withdraws_offers``: candidates are trickled for descriptions that the other side never sees, or forgot."""

    async def main() -> None:
        async with Session(VirtualNetwork(seed=1, delay=DELAY), **configuration) as session:
            await body(session)
            if not withdraws_offers:
                session.check()

    run(main())


# Under load


@pytest.mark.row("ICE-41", "ICE-42", "JSE-07", "X-04", "FPR-09")
@pytest.mark.parametrize("restarter", ["one", "other"])
def test_a_restart_under_load_loses_nothing(restarter: str) -> None:
    async def body(session: Session) -> None:
        peer: Peer = getattr(session, restarter)
        before = {one: (credentials(one.pc.local_description), ice_of(one).role) for one in session.peers}
        negotiated = sctp_of(peer).transport.negotiated
        load = Load(session)
        await asyncio.sleep(0.2)
        await session.restart(peer)
        # The old path is given up some seconds later.
        await asyncio.sleep(7)
        await load.stop()
        load.check()
        for one, (old, role) in before.items():
            assert set(credentials(one.pc.local_description)).isdisjoint(old)
            assert ice_of(one).role is role
            assert one.states == ["connecting", "connected"]
            assert str(one.pc.ice_gathering_state) == "complete"
        assert sctp_of(peer).transport.negotiated is negotiated

    in_session(body)


@pytest.mark.row("ICE-41", "JSE-03")
@pytest.mark.parametrize("head_start", [0.0, 0.01, DELAY, 0.03, 0.05])
def test_both_sides_restart_at_the_same_time(head_start: float) -> None:
    async def body(session: Session) -> None:
        load = Load(session)
        session.one.pc.restart_ice()
        await asyncio.sleep(head_start)
        session.other.pc.restart_ice()
        await asyncio.sleep(0.5)
        await session.settled()
        await asyncio.sleep(7)
        await load.stop()
        load.check()
        for peer in session.peers:
            assert peer.states == ["connecting", "connected"]
            assert str(peer.pc.ice_gathering_state) == "complete"

    in_session(body)


@pytest.mark.row("ICE-41")
@pytest.mark.parametrize("pause", [0.0, 0.1, 2.0, 6.0])
def test_ten_restarts_in_a_row(pause: float) -> None:
    async def body(session: Session) -> None:
        load = Load(session)
        seen = set()
        for count in range(10):
            peer = session.peers[count % 2]
            if pause:
                await session.restart(peer)
                await asyncio.sleep(pause)
            else:
                # The one before has been negotiated, and its checks have only begun.
                await session.offer_restart(peer)
                await until(lambda: all(one.pc.signaling_state == "stable" for one in session.peers))
            seen.add(credentials(peer.pc.local_description))
        await session.settled()
        await asyncio.sleep(7)
        await load.stop()
        load.check()
        assert len(seen) == 10

    in_session(body)


@pytest.mark.row("ICE-41", "JSE-03")
@pytest.mark.parametrize("by", ["local", "remote", "glare"])
@pytest.mark.parametrize("busy", [False, True])
def test_a_restart_that_is_taken_back_leaves_the_session_whole(by: str, busy: bool) -> None:
    """Also one that is taken back while the one before it is still looking for its path."""

    async def body(session: Session) -> None:
        pc = session.one.pc
        load = Load(session)
        if busy:
            session.network.set_path(session.one.host, session.other.host, delay=0.1)
            await session.offer_restart(session.one)
            await until(lambda: pc.signaling_state == "stable")
        before = description(pc.current_local_description)
        if not busy:
            assert media_of(before).candidates
        await pc.set_local_description(await pc.create_offer(ice_restart=True))
        assert str(pc.ice_gathering_state) == "gathering"
        await pc.gathering_complete()
        assert credentials(pc.local_description) != credentials(before)
        assert media_of(pc.local_description).candidates
        assert credentials(pc.current_local_description) == credentials(before)
        assert set(media_of(pc.current_local_description).candidates) >= set(media_of(before).candidates)
        match by:
            case "local":
                await pc.set_local_description(SessionDescription("rollback"))
            case "remote":
                await pc.set_remote_description(SessionDescription("rollback"))
            case _:
                await session.other.pc.set_local_description()
                await pc.set_remote_description(description(session.other.pc.local_description))
                await pc.set_local_description()
                await session.other.pc.set_remote_description(description(pc.local_description))
        assert credentials(pc.local_description) == credentials(before)
        assert media_of(pc.local_description).candidates
        assert str(pc.ice_gathering_state) == "complete"
        assert credentials(await pc.create_offer()) == credentials(before)
        await asyncio.sleep(2)
        await session.settled()
        await session.restart(session.other)
        assert credentials(pc.local_description) != credentials(before)
        await asyncio.sleep(7)
        await load.stop()
        if not busy:
            load.check()
        assert session.one.states == ["connecting", "connected"]

    in_session(body, withdraws_offers=True)


def test_an_offer_that_the_peer_takes_back_leaves_it_whole() -> None:
    async def body(session: Session) -> None:
        pc = session.other.pc
        before = credentials(pc.local_description)
        load = Load(session)
        offer = await session.one.pc.create_offer(ice_restart=True)
        await pc.set_remote_description(offer)
        answer = await pc.create_answer()
        assert credentials(answer) != before
        assert credentials(pc.local_description) == before
        assert credentials(pc.current_remote_description) != credentials(offer)
        await pc.set_remote_description(SessionDescription("rollback"))
        assert credentials(pc.local_description) == before
        await session.restart(session.other)
        await load.stop()
        load.check()

    in_session(body)


# At bad times, on bad paths


@pytest.mark.row("X-04")
@pytest.mark.parametrize("conditions", [{"loss": 0.2}, {"loss": 0.05, "jitter": 0.05, "reorder": 0.1}])
def test_restarts_on_a_bad_path_lose_nothing_that_is_reliable(conditions: dict[str, float]) -> None:
    async def body(session: Session) -> None:
        session.network.set_path(session.one.host, session.other.host, **conditions)
        load = Load(session)
        for peer in session.peers:
            await session.restart(peer)
            await asyncio.sleep(1)
        await load.stop(patience=30)
        for name, counter in load.counters.items():
            if "reliable" in name:
                assert [number for number, _ in counter.arrived] == list(range(counter.sent)), name

    in_session(body)


@pytest.mark.row("ICE-41")
@pytest.mark.parametrize("after", [0.0, 0.02, 0.04, 0.05, 0.06, 0.08, 0.1, 0.14, 0.2])
def test_a_restart_at_any_moment_of_connecting(after: float) -> None:
    """Before there is a path, and in the middle of the DTLS handshake."""

    async def main() -> None:
        session = Session(VirtualNetwork(seed=1, delay=DELAY))
        near = session.one.pc.create_data_channel("x")
        await until(lambda: session.one.pc.sctp is not None)
        await asyncio.sleep(after)
        session.one.pc.restart_ice()
        far = await asyncio.wait_for(session.other.channels.get(), 5)
        near.send("over whatever path there is")
        assert await far.recv() == "over whatever path there is"
        await session.settled()
        session.check()
        assert session.one.states == ["connecting", "connected"]
        await session.__aexit__()

    run(main())


def test_a_restart_before_there_is_a_path() -> None:
    async def main() -> None:
        session = Session(VirtualNetwork(seed=1, delay=DELAY))
        session.cut()
        near = session.one.pc.create_data_channel("x")
        await asyncio.sleep(20)
        assert session.one.states == ["connecting"]
        session.restore()
        await session.restart(session.one)
        await asyncio.wait_for(near.opened(), 3)
        session.check()
        assert session.one.states == session.other.states == ["connecting", "connected"]
        await session.__aexit__()

    run(main())


@pytest.mark.row("TRI-08", "WPC-07")
@pytest.mark.parametrize("rolled_back", [False, True])
def test_a_restart_while_candidates_are_gathered(rolled_back: bool) -> None:
    async def main() -> None:
        network = VirtualNetwork(seed=1, delay=DELAY)
        network.stun_server("stun.example", "192.0.2.3").silent = True
        session = Session(network, ice_servers=[ICEServer("stun:stun.example")])
        async with session:
            pc = session.one.pc
            assert str(pc.ice_gathering_state) == "gathering"
            told: list[str] = []
            pc.on_ice_gathering_state_change(lambda state: told.append(str(state)))
            pc.on_ice_candidate(lambda candidate: told.append(str(candidate and candidate.username_fragment)))
            old, _ = credentials(pc.local_description)
            await pc.set_local_description(await pc.create_offer(ice_restart=True))
            new, _ = credentials(pc.local_description)
            await asyncio.sleep(0.5)
            if rolled_back:
                await pc.set_local_description(SessionDescription("rollback"))
            assert str(pc.ice_gathering_state) == "gathering"
            await asyncio.sleep(10)
            # Its host candidate was told before, and each generation's end is told once, if it is the last.
            assert told == [str(new), "complete", "None"]
            assert credentials(pc.local_description)[0] == (old if rolled_back else new)
            assert media_of(pc.local_description).end_of_candidates

    run(main())


# Away from a bad state


@pytest.mark.row("X-04", "CON-07", "ICE-41")
def test_a_restart_recovers_from_failed() -> None:
    async def body(session: Session) -> None:
        near, far = session.channels["reliable"]
        session.cut()
        for number in range(10):
            near.send(str(number))
        await asyncio.sleep(40)
        session.restore()
        for peer in session.peers:
            assert peer.states[2:] == ["disconnected", "failed"]
            assert str(peer.pc.ice_connection_state) == "failed"
        with pytest.raises(ConnectionFailedError):
            await session.one.pc.wait_connected()
        await session.offer_restart(session.one)
        await session.one.pc.wait_connected(5)
        await session.settled()
        await asyncio.sleep(0.5)
        for peer in session.peers:
            assert peer.states[4:] == ["connecting", "connected"]
        assert near.ready_state == far.ready_state == "open"
        # What was lost is sent again as soon as there is a path, not when a timer of a minute has run out.
        async with asyncio.timeout(1):
            assert [await far.recv() for _ in range(10)] == [str(number) for number in range(10)]
        load = Load(session)
        await asyncio.sleep(1)
        await load.stop()
        load.check()

    in_session(body)


@pytest.mark.row("X-04")
def test_a_restart_that_fails_too_has_its_reason() -> None:
    async def body(session: Session) -> None:
        session.cut()
        await asyncio.sleep(40)
        await session.offer_restart(session.one)
        with pytest.raises(ConnectionFailedError, match="ICE"):
            await session.one.pc.wait_connected(60)
        assert session.one.states[2:] == ["disconnected", "failed", "connecting", "failed"]

    in_session(body)


@pytest.mark.row("X-04")
def test_a_restart_recovers_from_disconnected() -> None:
    async def body(session: Session) -> None:
        session.cut()
        await asyncio.sleep(10)
        session.restore()
        assert str(session.one.pc.ice_connection_state) == "disconnected"
        await session.restart(session.one)
        await asyncio.sleep(0.1)
        assert {str(peer.pc.connection_state) for peer in session.peers} == {"connected"}
        assert "failed" not in session.one.states
        load = Load(session)
        await asyncio.sleep(1)
        await load.stop()
        load.check()

    in_session(body)


@pytest.mark.row("X-04")
def test_what_was_lost_on_a_silent_path_is_sent_at_once_on_the_one_that_a_restart_finds() -> None:
    """The restart comes before the silence is a disconnection."""

    async def body(session: Session) -> None:
        loop = asyncio.get_running_loop()
        near, far = session.channels["reliable"]
        session.one.host.add_address("eth0", "192.0.2.109")
        session.network.tap(lambda packet: DROP if "192.0.2.101" in (packet.source[0], packet.destination[0]) else None)
        changed: list[float] = []
        ice_of(session.one).on_selected_candidate_pair_change(lambda pair: changed.append(loop.time()))
        near.send("to nobody")
        await asyncio.sleep(3)
        await session.offer_restart(session.one)
        assert await far.recv() == "to nobody"
        assert "disconnected" not in session.one.states
        assert loop.time() == pytest.approx(changed[-1] + DELAY, abs=DELAY / 2)
        await session.settled()

    in_session(body)


# Other servers, another policy


@pytest.mark.row("JSE-07", "SEC-11", "X-04")
def test_the_policy_changes_with_a_restart() -> None:
    async def body(session: Session) -> None:
        pc = session.one.pc
        needed = Offers(session.one)
        configuration = pc.get_configuration()
        configuration.ice_transport_policy = "relay"
        load = Load(session)
        before = credentials(pc.local_description)
        pc.set_configuration(configuration)
        await asyncio.sleep(0.5)
        # Nothing happens until the next offer, whatever it is for; and nothing asks for one.
        assert await needed.fired() == 0
        assert credentials(pc.local_description) == before
        await pc.set_local_description()
        assert credentials(pc.local_description) != before
        session.wires[session.one].send({"description": description(pc.local_description).to_json()})
        await session.settled()
        await asyncio.sleep(3)
        await load.stop()
        load.check()
        lines = media_of(pc.local_description).candidates
        assert lines
        assert all(" typ relay" in line for line in lines)
        assert "192.0.2.101" not in description(pc.local_description).sdp
        pair = ice_of(session.one).get_selected_candidate_pair()
        assert pair is not None
        assert pair.local.typ == "relay"
        # The next offer is none again.
        assert credentials(await pc.create_offer()) == credentials(pc.local_description)

    async def main() -> None:
        network = VirtualNetwork(seed=1, delay=DELAY / 2)
        network.turn_server("turn.example", "192.0.2.4")
        async with Session(network, ice_servers=[ICEServer("turn:turn.example", "user", "secret")]) as session:
            await body(session)
            session.check()

    run(main())


def test_other_servers_hold_from_the_next_restart_on() -> None:
    async def body(session: Session) -> None:
        session.network.stun_server("stun.example", "192.0.2.3")
        pc = session.one.pc
        configuration = pc.get_configuration()
        pc.set_configuration(configuration)
        # The same again is no change.
        assert credentials(await pc.create_offer()) == credentials(pc.local_description)
        configuration.ice_servers = [ICEServer("stun:stun.example")]
        pc.set_configuration(configuration)
        assert credentials(await pc.create_offer()) != credentials(pc.local_description)
        # A restart that the peer begins does as well.
        await session.restart(session.other)
        assert credentials(await pc.create_offer()) == credentials(pc.local_description)

    in_session(body)


# What the peer makes of it


@pytest.mark.row("ICE-41")
@pytest.mark.parametrize("provisional", [False, True])
def test_a_peer_that_refuses_keeps_the_old_session(provisional: bool) -> None:
    """It answers with the credentials that it had, as if it had not seen that ours are new."""

    async def body(session: Session) -> None:
        one, other = session.one.pc, session.other.pc
        before = credentials(one.local_description), credentials(other.local_description)
        load = Load(session)
        plain = await one.create_offer()
        await one.set_local_description(await one.create_offer(ice_restart=True))
        await other.set_remote_description(plain)
        await other.set_local_description()
        answer = description(other.local_description)
        if provisional:
            await one.set_remote_description(SessionDescription("pranswer", answer.sdp))
            assert ice_of(session.one).is_restarting
        await one.set_remote_description(answer)
        assert not ice_of(session.one).is_restarting
        assert str(one.ice_gathering_state) == "complete"
        assert credentials(await one.create_offer()) == before[0]
        await asyncio.sleep(2)
        # It may think better of it.
        await session.restart(session.one)
        assert credentials(other.local_description) != before[1]
        await load.stop()
        load.check()
        assert session.one.states == ["connecting", "connected"]

    in_session(body)


@pytest.mark.row("JSE-17", "ICE-41")
def test_a_provisional_answer_to_a_restart() -> None:
    async def body(session: Session) -> None:
        one, other = session.one.pc, session.other.pc
        load = Load(session)
        await one.set_local_description(await one.create_offer(ice_restart=True))
        await other.set_remote_description(description(one.local_description))
        answer = await other.create_answer()
        await other.set_local_description(SessionDescription("pranswer", answer.sdp))
        await one.set_remote_description(description(other.local_description))
        await asyncio.sleep(1)
        assert not any(ice_of(peer).is_restarting for peer in session.peers)
        await other.set_local_description()
        assert credentials(other.local_description) == credentials(answer)
        await one.set_remote_description(description(other.local_description))
        await session.settled()
        await load.stop()
        load.check()

    in_session(body)


@pytest.mark.row("FPR-10", "SDP-ICE-09")
def test_what_a_restart_may_not_be() -> None:
    async def body(session: Session) -> None:
        one, other = session.one.pc, session.other.pc
        offer = await one.create_offer(ice_restart=True)
        fingerprint = next(line for line in offer.sdp.splitlines() if line.startswith("a=fingerprint"))
        ufrag, pwd = credentials(offer)
        old_ufrag, old_pwd = credentials(one.local_description)
        for text, error in (
            (offer.sdp.replace(fingerprint, f"{fingerprint[:-5]}00:00"), NotSupportedError),
            (offer.sdp.replace(str(ufrag), str(old_ufrag)), InvalidAccessError),
            (offer.sdp.replace(str(pwd), str(old_pwd)), InvalidAccessError),
        ):
            before = other.remote_description
            with pytest.raises(error):
                await other.set_remote_description(SessionDescription("offer", text))
            assert other.remote_description == before
            assert other.signaling_state == "stable"
        # An answer may not restart by itself.
        await one.set_local_description(await one.create_offer())
        await other.set_remote_description(offer)
        await other.set_local_description()
        with pytest.raises(InvalidAccessError, match="did not restart"):
            await one.set_remote_description(description(other.local_description))

    in_session(body)


@pytest.mark.row("TRI-11", "SDP-ICE-09", "TRI-09")
def test_candidates_go_to_their_generation() -> None:
    async def body(session: Session) -> None:
        one, other = session.one.pc, session.other.pc
        line = "candidate:9 1 udp 1 192.0.2.109 1109 typ host"
        old, _ = credentials(one.local_description)
        await one.set_local_description(await one.create_offer(ice_restart=True))
        new, _ = credentials(one.local_description)
        # Before the offer is there nobody knows its generation.
        with pytest.raises(OperationError, match="belongs to ufrag"):
            await other.add_ice_candidate({"candidate": line, "sdpMid": "0", "usernameFragment": new})
        await other.set_remote_description(description(one.local_description))
        await other.add_ice_candidate({"candidate": line, "sdpMid": "0", "usernameFragment": old})
        await other.add_ice_candidate({"candidate": line.replace("1109", "1110"), "sdpMid": "0"})
        await other.add_ice_candidate(
            {"candidate": line.replace("1109", "1111"), "sdpMid": "0", "usernameFragment": new}
        )
        current, pending = (
            "".join(media_of(one).candidates)
            for one in (other.current_remote_description, other.pending_remote_description)
        )
        assert ("1109" in current, "1110" in current, "1111" in current) == (True, False, False)
        # RFC 8829 section 3.5.2.1: who names no generation means the most recent description.
        assert ("1109" in pending, "1110" in pending, "1111" in pending) == (False, True, True)
        await other.set_local_description()
        await one.set_remote_description(description(other.local_description))
        ports = {candidate.port for candidate in ice_of(session.other).get_remote_candidates()}
        assert {1110, 1111} <= ports
        assert 1109 not in ports
        for late in (line, ""):
            with pytest.raises(OperationError, match="belongs to ufrag"):
                await other.add_ice_candidate({"candidate": late, "sdpMid": "0", "usernameFragment": old})
        await session.settled()

    in_session(body, withdraws_offers=True)


# W3C's restartIce, by the names of the Web Platform Tests


class Offers:
    """Counts how often negotiation is needed."""

    def __init__(self, peer: Peer) -> None:
        self.count = 0
        peer.pc.on_negotiation_needed(self._needed)

    def _needed(self) -> None:
        self.count += 1

    async def fired(self) -> int:
        await asyncio.sleep(PACE)
        count, self.count = self.count, 0
        return count


async def exchange(offerer: Peer, answerer: Peer) -> None:
    await offerer.pc.set_local_description()
    await answerer.pc.set_remote_description(description(offerer.pc.local_description))
    await answerer.pc.set_local_description()
    await offerer.pc.set_remote_description(description(answerer.pc.local_description))


@pytest.mark.row("JSE-07", "WPC-02")
def test_restart_ice_asks_for_one_offer_and_is_satisfied_by_it() -> None:
    async def body(session: Session) -> None:
        needed = Offers(session.one)
        before = [credentials(peer.pc.local_description) for peer in session.peers]
        session.one.pc.restart_ice()
        session.one.pc.restart_ice()
        assert await needed.fired() == 1
        # Not even the option takes it back.
        assert credentials(await session.one.pc.create_offer(ice_restart=False)) != before[0]
        await exchange(session.one, session.other)
        assert await needed.fired() == 0
        assert not set(before) & {credentials(peer.pc.local_description) for peer in session.peers}
        await session.settled()

    in_session(body)


@pytest.mark.row("JSE-07", "WPC-02", "JSE-03")
def test_restart_ice_survives_rollback_and_the_peers_offer() -> None:
    async def body(session: Session) -> None:
        one = session.one.pc
        needed = Offers(session.one)
        before = credentials(one.local_description)
        one.restart_ice()
        assert await needed.fired() == 1
        await one.set_local_description()
        first = credentials(one.local_description)
        await one.set_local_description(SessionDescription("rollback"))
        assert await needed.fired() == 1
        await exchange(session.other, session.one)
        assert credentials(one.local_description) == before
        assert await needed.fired() == 1
        await exchange(session.one, session.other)
        assert credentials(one.local_description) not in (before, first)
        assert await needed.fired() == 0
        await session.settled()

    in_session(body)


@pytest.mark.row("JSE-07", "WPC-02")
def test_restart_ice_is_satisfied_by_the_peers_restart() -> None:
    async def body(session: Session) -> None:
        needed = Offers(session.one)
        session.one.pc.restart_ice()
        assert await needed.fired() == 1
        await session.restart(session.other)
        assert await needed.fired() == 0
        assert credentials(await session.one.pc.create_offer()) == credentials(session.one.pc.local_description)

    in_session(body)


@pytest.mark.row("JSE-07", "WPC-02")
def test_restart_ice_in_the_middle_of_an_exchange_is_for_the_next() -> None:
    async def body(session: Session) -> None:
        one, other = session.peers
        needed = Offers(one)
        before = credentials(one.pc.local_description)
        await one.pc.set_local_description()
        one.pc.restart_ice()
        await other.pc.set_remote_description(description(one.pc.local_description))
        await other.pc.set_local_description()
        assert await needed.fired() == 0
        await one.pc.set_remote_description(description(other.pc.local_description))
        assert credentials(one.pc.local_description) == before
        assert await needed.fired() == 1
        await exchange(one, other)
        assert credentials(one.pc.local_description) != before
        # And while the peer's offer waits for our answer.
        before = credentials(one.pc.local_description)
        await other.pc.set_local_description()
        await one.pc.set_remote_description(description(other.pc.local_description))
        one.pc.restart_ice()
        await one.pc.set_local_description()
        await other.pc.set_remote_description(description(one.pc.local_description))
        assert credentials(one.pc.local_description) == before
        assert await needed.fired() == 1
        await exchange(one, other)
        assert credentials(one.pc.local_description) != before
        assert await needed.fired() == 0
        await session.settled()

    in_session(body, withdraws_offers=True)


@pytest.mark.row("JSE-07", "WPC-02")
@pytest.mark.parametrize("side", ["offerer", "answerer"])
def test_restart_ice_during_the_first_exchange(side: str) -> None:
    """The offerer has credentials to replace already, the answerer has none."""

    async def main() -> None:
        network = VirtualNetwork(seed=1, delay=DELAY)
        one, other = Peer(network.host("alice", "192.0.2.101")), Peer(network.host("bob", "192.0.2.102"))
        one.pc.restart_ice()
        one.pc.create_data_channel("x")
        needed = Offers(one if side == "offerer" else other)
        await one.pc.set_local_description()
        await other.pc.set_remote_description(description(one.pc.local_description))
        (one if side == "offerer" else other).pc.restart_ice()
        await other.pc.set_local_description()
        await one.pc.set_remote_description(description(other.pc.local_description))
        assert await needed.fired() == (side == "offerer")
        before = credentials(one.pc.local_description)
        await exchange(one, other)
        assert (credentials(one.pc.local_description) == before) is (side == "answerer")
        assert await needed.fired() == 0
        await one.pc.close()
        await other.pc.close()
        one.pc.restart_ice()

    run(main())


# What the application sees


@pytest.mark.row("WPC-07", "WPC-08", "TRI-08", "TRI-03", "SDP-ICE-13")
def test_states_and_candidates_over_a_restart() -> None:
    async def body(session: Session) -> None:
        pc = session.one.pc
        told: list[str] = []
        pc.on_ice_gathering_state_change(lambda state: told.append(str(state)))
        states: list[str] = []
        pc.on_ice_connection_state_change(lambda state: states.append(str(state)))
        pc.on_ice_candidate(lambda candidate: told.append(str(candidate and candidate.username_fragment)))
        old, _ = credentials(pc.local_description)
        await pc.set_local_description(await pc.create_offer(ice_restart=True))
        new, _ = credentials(pc.local_description)
        assert str(pc.ice_gathering_state) == "gathering"
        assert not media_of(pc.local_description).end_of_candidates
        await pc.gathering_complete()
        await asyncio.sleep(PACE)
        assert told == ["gathering", new, "complete", "None"]
        assert media_of(pc.local_description).end_of_candidates
        assert {line.split(" ufrag ")[1].split()[0] for line in media_of(pc.local_description).candidates} == {new}
        assert {line.split(" ufrag ")[1].split()[0] for line in media_of(pc.current_local_description).candidates} == {
            old
        }
        session.wires[session.one].send({"description": description(pc.local_description).to_json()})
        await pc.wait_connected(0)
        await session.settled()
        await asyncio.sleep(1)
        # The path there was is as good as any that is found, but that one is not final yet.
        assert states == ["connected", "completed"]
        assert told[4:] == []
        assert credentials(pc.current_local_description)[0] == new
        # RFC 8839 section 4.4.1.2.2: the new pair's candidate is the default.
        pair = ice_of(session.one).get_selected_candidate_pair()
        assert pair is not None
        assert pair.local.username_fragment == new
        media = media_of(pc.local_description)
        assert (media.port, media.connections[0].address) == (pair.local.port, pair.local.address)

    in_session(body)


@pytest.mark.row("WST-02")
def test_statistics_over_a_restart() -> None:
    """Both generations are in the report, nothing is counted twice, and no figure of the transport falls."""

    async def body(session: Session) -> None:
        pc = session.one.pc
        load = Load(session)
        last = 0
        generations = []
        for step in ("before", "offered", "moved", "retired"):
            if step == "offered":
                await pc.set_local_description(await pc.create_offer(ice_restart=True))
                session.wires[session.one].send({"description": description(pc.local_description).to_json()})
            elif step == "moved":
                await session.settled()
            elif step == "retired":
                await asyncio.sleep(10)
            report = await pc.get_stats()
            [transport] = report.of(TransportStats)
            selected = report[transport.selected_candidate_pair_id or ""]
            assert isinstance(selected, CandidatePairStats)
            ids = [pair.id for pair in report.of(CandidatePairStats)]
            assert len(ids) == len(set(ids))
            for pair in report.of(CandidatePairStats):
                for candidate in (pair.local_candidate_id, pair.remote_candidate_id):
                    assert isinstance(report[candidate], ICECandidateStats)
            local = report[selected.local_candidate_id]
            assert isinstance(local, ICECandidateStats)
            generations.append(local.username_fragment)
            assert transport.bytes_sent > last
            last = transport.bytes_sent
            await asyncio.sleep(0.1)
        assert generations[0] == generations[1] != generations[2] == generations[3]
        await load.stop()

    in_session(body)
