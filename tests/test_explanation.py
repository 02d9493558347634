"""``pc.explain()``: a table of situations, and connections that get into them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.connections import Call
from tests.support.virtual_loop import run
from tests.support.virtual_network import VirtualNetwork
from webrtc_py import PeerConnection
from webrtc_py.errors import ConnectionFailedError
from webrtc_py.explanation import Signaled, Situation, Transported, explain
from webrtc_py.states import (
    DataChannelState,
    DTLSRole,
    DTLSTransportState,
    ICEGatheringState,
    ICETransportState,
    PeerConnectionState,
    SCTPTransportState,
    SignalingState,
)

STABLE = SignalingState.STABLE
BOTH: dict[str, Any] = {"has_local": True, "has_remote": True}


def situation(
    signaled: dict[str, Any] | None = None,
    transported: dict[str, Any] | None = None,
    connection: PeerConnectionState = PeerConnectionState.CONNECTING,
    gathering: ICEGatheringState = ICEGatheringState.COMPLETE,
) -> Situation:
    lines = ["ICE us is checking, for 3 s."]
    return Situation(
        connection,
        gathering,
        Signaled(**{"is_agreed": True, **BOTH, **(signaled or {})}),
        Transported(**{"ice": ICETransportState.CHECKING, "ice_lines": lines, **(transported or {})}),
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"signaled": {"has_local": False, "has_remote": False, "is_agreed": False}},
            "Nothing has been negotiated: there is neither an offer of ours nor one of the peer's.",
        ),
        ({"signaled": {"state": SignalingState.HAVE_LOCAL_OFFER}}, "none of the peer's has been applied yet"),
        ({"signaled": {"state": SignalingState.HAVE_REMOTE_OFFER}}, "set_local_description has to be called"),
        ({"signaled": {"state": SignalingState.HAVE_REMOTE_PRANSWER}}, "has to be followed by a final one"),
        ({"signaled": {"is_agreed": False}}, "agree on nothing to transport"),
        ({"signaled": {"early_candidates": 3}}, "3 of the peer's candidates came before its description"),
        (
            {"signaled": {"can_trickle": False}, "gathering": ICEGatheringState.GATHERING},
            "send ours when gathering_complete has returned",
        ),
        ({}, "DTLS waits for ICE to find a path."),
        ({}, "ICE us is checking, for 3 s."),
        (
            {"transported": {"dtls": DTLSTransportState.CONNECTING, "dtls_role": DTLSRole.CLIENT}},
            "we are the client: ours have no answer yet",
        ),
        (
            {"transported": {"dtls": DTLSTransportState.CONNECTING, "dtls_role": DTLSRole.SERVER}},
            "we are the server: the peer is to begin",
        ),
        (
            {
                "transported": {
                    "dtls": DTLSTransportState.FAILED,
                    "dtls_failure": "the peer's certificate does not match its fingerprint",
                }
            },
            "descriptions were mixed up, or somebody stands between",
        ),
        ({"transported": {"dtls": DTLSTransportState.CLOSED}}, "the peer has ended the session"),
        ({"transported": {"discarded": 7}}, "7 datagrams came as DTLS and were none"),
        ({"transported": {"dtls": DTLSTransportState.CONNECTED}}, "SCTP is being set up"),
        (
            {"transported": {"sctp": SCTPTransportState.CLOSED, "sctp_failure": "no answer to 10 INITs"}},
            "SCTP has ended: no answer to 10 INITs.",
        ),
        (
            {"transported": {"channels": Counter({DataChannelState.OPEN: 2, DataChannelState.CONNECTING: 1})}},
            "Data channels: 2 open, 1 connecting.",
        ),
    ],
)
def test_each_situation_has_its_words(fields: dict[str, Any], said: str) -> None:
    text = explain(situation(**fields))
    assert said in text
    assert text.startswith("The connection is connecting: signaling is ")
    assert len(text.splitlines()) <= 6


def test_a_closed_connection_says_no_more() -> None:
    assert len(explain(situation(connection=PeerConnectionState.CLOSED)).splitlines()) == 1


# Connections that get there


def told(act: Callable[[Call], Any]) -> list[str]:
    """What both ends say after ``act``."""

    async def main() -> list[str]:
        async with Call.over(VirtualNetwork(delay=0.01)) as call:
            await act(call)
            return [call.offerer.pc.explain(), call.answerer.pc.explain()]

    return run(main())


def test_from_nothing_to_an_offer_to_a_connection() -> None:
    async def main() -> None:
        async with Call.over(VirtualNetwork(delay=0.01)) as call:
            pc = call.offerer.pc
            assert "Nothing has been negotiated" in pc.explain()
            pc.create_data_channel("x")
            await pc.set_local_description()
            text = pc.explain()
            assert "signaling is have-local-offer" in text
            assert "none of the peer's has been applied yet" in text
            assert "does not know the peer's user fragment" in text
            await call.answerer.pc.set_remote_description(pc.local_description)
            assert "set_local_description has to be called" in call.answerer.pc.explain()

    run(main())


def test_a_connection_that_works() -> None:
    async def act(call: Call) -> None:
        await call.connect()
        await asyncio.sleep(5)

    for text in told(act):
        assert text.startswith("The connection is connected: signaling is stable, candidates are gathered, ICE is ")
        assert "Data channels: 1 open." in text
        assert "The path is host udp 192.0.2.10" in text


def test_a_wrong_fingerprint_is_told_with_what_it_means() -> None:
    async def act(call: Call) -> None:
        offerer, answerer = call.offerer.pc, call.answerer.pc
        offerer.create_data_channel("x")
        await offerer.set_local_description()
        await offerer.gathering_complete()
        await answerer.set_remote_description(offerer.local_description)
        await answerer.set_local_description()
        await answerer.gathering_complete()
        answer = answerer.local_description.to_json()  # type: ignore[union-attr]
        async with PeerConnection() as stranger:
            stranger.create_data_channel("x")
            sdp = (await stranger.create_offer()).sdp
        fingerprint = next(line for line in sdp.splitlines() if line.startswith("a=fingerprint"))
        lines = [fingerprint if line.startswith("a=fingerprint") else line for line in answer["sdp"].splitlines()]
        await offerer.set_remote_description({**answer, "sdp": "\r\n".join([*lines, ""])})
        with pytest.raises(ConnectionFailedError, match="fingerprint"):
            await offerer.wait_connected(30)

    text = told(act)[0]
    assert "The connection is failed" in text
    assert "does not match its fingerprint" in text
    assert "descriptions were mixed up, or somebody stands between" in text


def test_a_firewall_shows_below_what_signaling_says() -> None:
    async def act(call: Call) -> None:
        call.offerer.pc.create_data_channel("x")
        await call.negotiate()
        await asyncio.sleep(5)

    async def main() -> str:
        network = VirtualNetwork(delay=0.01)
        async with Call.over(network) as call:
            network.cut(call.offerer.host, call.answerer.host)
            await act(call)
            return call.offerer.pc.explain()

    text = run(main())
    assert "DTLS waits for ICE to find a path." in text
    assert "checks were sent to 1 address, and none was answered" in text
    assert "Data channels: 1 connecting." in text


def test_a_peer_that_has_closed_is_told() -> None:
    async def act(call: Call) -> None:
        await call.connect()
        await call.answerer.pc.close()
        await asyncio.sleep(1)

    offerer, answerer = told(act)
    assert "the peer has ended the session" in offerer
    assert answerer.startswith("The connection is closed")
    assert "\n" not in answerer
