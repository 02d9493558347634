"""Two connections that negotiate: in every order, again and again, at the same time, and with what old peers write."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from tests.connection.peers import exchange, talk, with_peers
from tests.connection.session import description
from tests.support.connections import Call, Peer
from tests.support.perfect import Negotiator, Wire
from tests.support.virtual_loop import run, turns
from tests.support.virtual_network import VirtualNetwork
from webrtc_py import (
    ConnectionFailedError,
    DTLSTransport,
    ICECandidate,
    ICECandidateStats,
    ICETransport,
    SessionDescription,
    SettingEngine,
)
from webrtc_py.sdp import parse


@pytest.mark.row("JSE-11", "WPC-07", "DSD-04", "FPR-12")
def test_trickled_both_ways() -> None:
    async def main() -> None:
        async with Call.over(VirtualNetwork(seed=1, delay=0.02)) as call:
            near, far = await call.connect()
            await talk(near, far)
            for peer in (call.offerer, call.answerer):
                assert peer.states == ["connecting", "connected"]
                await peer.pc.wait_connected()
            sctp = call.offerer.pc.sctp
            assert sctp is not None
            # The answerer is active, so the offerer is the DTLS server and its channels are odd (RFC 8832 section 6).
            assert sctp.transport.role == "server"
            assert near.id == far.id == 1

    run(main())


@pytest.mark.row("WPC-07")
def test_states_change_from_below_and_end_where_they_should() -> None:
    async def main() -> None:
        async with Call.over(VirtualNetwork(seed=1, delay=0.02)) as call:
            order: list[str] = []
            pc = call.offerer.pc
            pc.on_ice_connection_state_change(lambda state: order.append(f"ice {state}"))
            pc.on_connection_state_change(lambda state: order.append(f"connection {state}"))
            await call.connect()
            assert order[:2] == ["ice checking", "connection connecting"]
            found = [entry for entry in order if entry in ("ice connected", "ice completed")]
            assert order.index(found[0]) < order.index("connection connected")
            assert pc.ice_connection_state in ("connected", "completed")
            assert len(order) == len(set(order))

    run(main())


@pytest.mark.row("TRI-01", "SDP-ICE-13", "JSE-11")
def test_without_trickling() -> None:
    async def body(one: Peer, other: Peer) -> None:
        near = one.pc.create_data_channel("x")
        await exchange(one.pc, other.pc)
        await one.pc.wait_connected(5)
        far = await other.channels.get()
        await talk(near, far)

    with_peers(body)


@pytest.mark.row("TRI-12", "TRI-03", "WST-06")
def test_candidates_that_outrun_their_description() -> None:
    async def body(one: Peer, other: Peer) -> None:
        waiting: list[ICECandidate | None] = []
        near = one.pc.create_data_channel("x")
        one.pc.on_ice_candidate(waiting.append)
        await one.pc.set_local_description()
        offer = await one.pc.create_offer()
        await one.pc.gathering_complete()
        await turns()
        assert waiting[-1] is None
        for candidate in waiting:
            await other.pc.add_ice_candidate(candidate.to_json() if candidate else None)
        await other.pc.set_remote_description({"type": "offer", "sdp": _without_candidates(offer.sdp)})
        await other.pc.set_local_description()
        # The answer has no candidates either: the offerer learns the peer's address from its checks.
        answer = _without_candidates(description(other.pc.local_description).sdp)
        await one.pc.set_remote_description(SessionDescription("answer", answer))
        await one.pc.wait_connected(5)
        await talk(near, await other.channels.get())
        report = await one.pc.get_stats()
        # webrtc-stats: an address that was never signalled is not told.
        assert [entry.address for entry in report.of(ICECandidateStats) if entry.type == "remote-candidate"] == [None]

    with_peers(body)


def _without_candidates(text: str) -> str:
    lines = text.split("\r\n")
    return "\r\n".join(line for line in lines if not line.startswith(("a=candidate", "a=end-of-candidates")))


@pytest.mark.row("SDP-ICE-06")
def test_credentials_with_the_characters_of_older_peers() -> None:
    async def body(one: Peer, other: Peer) -> None:
        near = one.pc.create_data_channel("x")
        await one.pc.set_local_description()
        await one.pc.gathering_complete()
        offer = description(one.pc.local_description).sdp
        ufrag = parse(offer).media[0].ice_ufrag or ""
        await other.pc.set_remote_description(SessionDescription("offer", offer.replace(ufrag, "old-_=#+/ufrag")))
        await other.pc.set_local_description()
        assert near.ready_state == "connecting"
        assert other.pc.sctp is not None

    with_peers(body)


@pytest.mark.row("FPR-09", "JSE-06", "BUN-04", "SDP-04", "DSD-04")
def test_ten_renegotiations_keep_the_session() -> None:
    async def body(one: Peer, other: Peer) -> None:
        near = one.pc.create_data_channel("x")
        await exchange(one.pc, other.pc)
        await near.opened()
        far = await other.channels.get()
        sctp = one.pc.sctp
        assert sctp is not None
        dtls = sctp.transport
        assert isinstance(dtls, DTLSTransport)
        ice = dtls.ice_transport
        assert isinstance(ice, ICETransport)
        pair, negotiated = ice.get_selected_candidate_pair(), dtls.negotiated
        assert pair is not None
        credentials = parse(description(one.pc.local_description).sdp).media[0].ice_ufrag
        for count in range(10):
            offerer, answerer = (one, other) if count % 2 else (other, one)
            near.send(f"message {count}")
            await exchange(offerer.pc, answerer.pc)
            assert await far.recv() == f"message {count}"
        media = parse(description(one.pc.local_description).sdp).media
        assert len(media) == 1
        assert media[0].ice_ufrag == credentials
        # RFC 8839 section 4.4.1.2.2: the selected pair is the default now.
        assert media[0].port == pair.local.port
        assert one.pc.sctp is sctp
        assert (dtls.negotiated, ice.get_selected_candidate_pair()) == (negotiated, pair)
        assert one.states == other.states == ["connecting", "connected"]
        assert [str(state) for state in (one.pc.signaling_state, one.pc.ice_gathering_state)] == ["stable", "complete"]

    with_peers(body)


@pytest.mark.row("WPC-02")
def test_more_channels_need_no_negotiation() -> None:
    async def body(one: Peer, other: Peer) -> None:
        needed: list[bool] = []
        one.pc.on_negotiation_needed(lambda: needed.append(True))
        one.pc.create_data_channel("first")
        await turns()
        await exchange(one.pc, other.pc)
        await one.pc.wait_connected()
        second = one.pc.create_data_channel("second")
        await second.opened()
        back = other.pc.create_data_channel("third")
        await back.opened()
        assert needed == [True]

    with_peers(body)


@pytest.mark.row("JSE-03", "DSD-04")
def test_glare_with_rollback_by_hand() -> None:
    async def body(one: Peer, other: Peer) -> None:
        near, far = one.pc.create_data_channel("near"), other.pc.create_data_channel("far")
        await one.pc.set_local_description()
        await other.pc.set_local_description()
        await one.pc.gathering_complete()
        await other.pc.gathering_complete()
        await one.pc.set_local_description(SessionDescription("rollback"))
        await one.pc.set_remote_description(description(other.pc.local_description))
        await one.pc.set_local_description()
        await other.pc.set_remote_description(description(one.pc.local_description))
        await near.opened()
        await far.opened()
        await talk(near, await other.channels.get())
        await talk(far, await one.channels.get())

    with_peers(body)


@pytest.mark.row("JSE-03")
def test_a_rejected_offer_is_taken_back_on_both_sides() -> None:
    async def body(one: Peer, other: Peer) -> None:
        near = one.pc.create_data_channel("x")
        await one.pc.set_local_description()
        await other.pc.set_remote_description(description(one.pc.local_description))
        await other.pc.set_remote_description(SessionDescription("rollback"))
        await one.pc.set_local_description(SessionDescription("rollback"))
        assert str(one.pc.signaling_state) == str(other.pc.signaling_state) == "stable"
        # The other way round then.
        await exchange(other.pc, one.pc)
        assert one.pc.sctp is None
        await exchange(one.pc, other.pc)
        await talk(near, await other.channels.get())

    with_peers(body)


@pytest.mark.row("JSE-03", "WPC-02", "WPC-01")
@pytest.mark.parametrize(("there", "back"), [(0.0, 0.0), (0.05, 0.05), (0.001, 0.2), (0.2, 0.001), (1.0, 1.0)])
@pytest.mark.parametrize("head_start", [0.0, 0.01, 0.15])
def test_perfect_negotiation(there: float, back: float, head_start: float) -> None:
    """Both sides want a channel, more or less at the same time; whoever wins, both get theirs."""

    async def body(one: Peer, other: Peer) -> None:
        forth, backwards = Wire(there), Wire(back)
        polite = Negotiator(one.pc, forth.send, polite=True)
        impolite = Negotiator(other.pc, backwards.send, polite=False)
        forth.target, backwards.target = impolite, polite
        try:
            near = one.pc.create_data_channel("near")
            await asyncio.sleep(head_start)
            far = other.pc.create_data_channel("far")
            await asyncio.wait_for(asyncio.gather(near.opened(), far.opened()), 20)
            await talk(near, await other.channels.get())
            await talk(far, await one.channels.get())
            await asyncio.sleep(5)
            assert polite.errors == impolite.errors == []
            assert str(one.pc.signaling_state) == str(other.pc.signaling_state) == "stable"
            assert one.states == other.states == ["connecting", "connected"]
        finally:
            forth.stop()
            backwards.stop()

    with_peers(body)


@pytest.mark.row("JSE-03", "WPC-07")
def test_in_glare_both_changes_of_state_are_told() -> None:
    async def body(one: Peer, other: Peer) -> None:
        told: list[str] = []
        one.pc.on_signaling_state_change(lambda state: told.append(str(state)))
        one.pc.create_data_channel("a")
        other.pc.create_data_channel("b")
        await one.pc.set_local_description()
        await other.pc.set_local_description()
        await one.pc.set_remote_description(description(other.pc.local_description))
        await turns()
        assert told == ["have-local-offer", "stable", "have-remote-offer"]

    with_peers(body)


@pytest.mark.row("JSE-17", "WPC-07")
def test_a_provisional_answer_connects() -> None:
    async def body(one: Peer, other: Peer) -> None:
        near = one.pc.create_data_channel("x")
        await one.pc.set_local_description()
        await one.pc.gathering_complete()
        await other.pc.set_remote_description(description(one.pc.local_description))
        answer = await other.pc.create_answer()
        await other.pc.set_local_description(SessionDescription("pranswer", answer.sdp))
        await other.pc.gathering_complete()
        local = description(other.pc.pending_local_description)
        assert local.type == "pranswer"
        await one.pc.set_remote_description(local)
        await one.pc.wait_connected(5)
        assert one.pc.sctp is not None
        await talk(near, await other.channels.get())
        await other.pc.set_local_description()
        await one.pc.set_remote_description(description(other.pc.local_description))
        assert str(one.pc.signaling_state) == "stable"
        assert description(one.pc.current_remote_description).type == "answer"
        await turns()
        assert one.states == ["connecting", "connected"]

    with_peers(body)


@pytest.mark.row("FPR-07", "FPR-06")
def test_an_answer_that_comes_late() -> None:
    """The answerer's checks and its ClientHello are there before the answer is."""

    async def body(one: Peer, other: Peer) -> None:
        near = one.pc.create_data_channel("x")
        received: list[object] = []
        near.on_message(received.append)
        await one.pc.set_local_description()
        await one.pc.gathering_complete()
        await other.pc.set_remote_description(description(one.pc.local_description))
        await other.pc.set_local_description()
        await other.pc.gathering_complete()
        await asyncio.sleep(3)
        assert near.ready_state == "connecting"
        assert received == []
        before = asyncio.get_running_loop().time()
        await one.pc.set_remote_description(description(other.pc.local_description))
        await near.opened()
        # Nothing waits for a timer of a second: four round trips of 20 ms, and the pace of checks.
        assert asyncio.get_running_loop().time() - before < 0.5

    with_peers(body)


@pytest.mark.row("FPR-08")
def test_the_answerer_may_be_the_server() -> None:
    settings = SettingEngine()
    settings.set_answering_dtls_role("server")

    async def body(one: Peer, other: Peer) -> None:
        near = one.pc.create_data_channel("x")
        await exchange(one.pc, other.pc)
        await talk(near, await other.channels.get())
        assert near.id == 0

    with_peers(body, settings=(None, settings))


@pytest.mark.row("WPC-07", "FPR-04")
def test_a_failure_has_its_reason() -> None:
    async def body(one: Peer, other: Peer) -> None:
        one.pc.create_data_channel("x")
        await one.pc.set_local_description()
        await one.pc.gathering_complete()
        await other.pc.set_remote_description(description(one.pc.local_description))
        await other.pc.set_local_description()
        await other.pc.gathering_complete()
        answer = description(other.pc.local_description).sdp
        digest = parse(answer).media[0].fingerprints[0][1]
        wrong = ("00" if digest[:2] != "00" else "11") + digest[2:]
        await one.pc.set_remote_description(SessionDescription("answer", answer.replace(digest, wrong)))
        with pytest.raises(ConnectionFailedError, match=r"DTLS.*fingerprint"):
            await one.pc.wait_connected(30)
        assert one.states[-1] == "failed"

    with_peers(body)


@pytest.mark.row("WPC-07")
def test_a_path_that_is_not_there_has_its_reason() -> None:
    async def body(one: Peer, other: Peer) -> None:
        one.host.network.cut(one.host, other.host)
        one.pc.create_data_channel("x")
        await exchange(one.pc, other.pc)
        with pytest.raises(ConnectionFailedError, match="ICE"):
            await one.pc.wait_connected(120)
        assert one.states == ["connecting", "failed"]

    with_peers(body)


@pytest.mark.row("WPC-01")
def test_calls_without_waiting_are_done_in_order() -> None:
    async def body(one: Peer, other: Peer) -> None:
        near = one.pc.create_data_channel("x")
        await one.pc.set_local_description()
        await one.pc.gathering_complete()
        offer = description(one.pc.local_description)
        done: list[str] = []

        async def call(name: str, work: Awaitable[object]) -> None:
            await work
            done.append(name)

        await asyncio.gather(
            call("offer", other.pc.set_remote_description(offer)),
            call("candidate", other.pc.add_ice_candidate(None)),
            call("answer", other.pc.set_local_description()),
        )
        assert done == ["offer", "candidate", "answer"]
        await other.pc.gathering_complete()
        await one.pc.set_remote_description(description(other.pc.local_description))
        await talk(near, await other.channels.get())

    with_peers(body)
