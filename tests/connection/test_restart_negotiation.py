"""ICE restarts in offers and answers: what is taken back, what the peer makes of it, and restart_ice."""

from __future__ import annotations

import asyncio

import pytest

from tests.connection.session import (
    DELAY,
    Load,
    Offers,
    Session,
    credentials,
    description,
    ice_of,
    in_session,
    media_of,
    until,
)
from tests.support.connections import Peer
from tests.support.virtual_loop import run
from tests.support.virtual_network import VirtualNetwork
from webrtc_py import (
    InvalidAccessError,
    NotSupportedError,
    OperationError,
    SessionDescription,
)

# Taken back


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
