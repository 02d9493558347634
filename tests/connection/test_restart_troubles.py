"""ICE restarts at bad times, on bad paths, and away from a bad state."""

from __future__ import annotations

import asyncio

import pytest

from tests.connection.session import (
    DELAY,
    Load,
    Session,
    credentials,
    ice_of,
    in_session,
    media_of,
    until,
)
from tests.support.virtual_loop import run
from tests.support.virtual_network import DROP, VirtualNetwork
from webrtc_py import (
    ConnectionFailedError,
    ICEServer,
    SessionDescription,
)

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
