"""ICE restarts: a new path is found beside the old one, and what is sent meanwhile arrives."""

from __future__ import annotations

import asyncio

import pytest

from tests.connection.session import (
    DELAY,
    PACE,
    Load,
    Offers,
    Session,
    credentials,
    description,
    ice_of,
    in_session,
    media_of,
    sctp_of,
    until,
)
from tests.support.connections import Peer
from tests.support.virtual_loop import run
from tests.support.virtual_network import VirtualNetwork
from webrtc_py import (
    ICECandidatePairStats,
    ICECandidateStats,
    ICEServer,
    TransportStats,
)

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
            assert isinstance(selected, ICECandidatePairStats)
            ids = [pair.id for pair in report.of(ICECandidatePairStats)]
            assert len(ids) == len(set(ids))
            for pair in report.of(ICECandidatePairStats):
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
