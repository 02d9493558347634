"""Sections that are refused, end, or come again while a connection lives."""

from __future__ import annotations

import asyncio

import pytest

from tests.connection.peers import exchange, talk, with_peers
from tests.connection.session import description
from tests.support.connections import Peer
from tests.support.virtual_loop import turns
from webrtc_py import SessionDescription
from webrtc_py.sdp import parse


@pytest.mark.row("BUN-02", "SDP-03", "JSE-08")
@pytest.mark.parametrize("group", ["0 1", "1 0", "1"])
def test_media_beside_the_data_is_rejected_and_the_data_connects(group: str) -> None:
    """The peer offers audio first; it is told so as a peer with media would tell it."""

    async def body(one: Peer, other: Peer) -> None:
        near = one.pc.create_data_channel("x")
        await one.pc.set_local_description()
        await one.pc.gathering_complete()
        offer = description(one.pc.local_description).sdp
        transport = "".join(
            f"{line}\r\n"
            for line in offer.split("\r\n")
            if line.startswith(("a=ice-ufrag", "a=ice-pwd", "a=fing", "a=setup"))
        )
        head, data = offer.split("m=application")
        audio = (
            "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=rtcp-mux\r\n"
            "a=rtpmap:111 opus/48000/2\r\n" + transport
        )
        await other.pc.set_remote_description(
            SessionDescription(
                "offer",
                head.replace("BUNDLE 0", f"BUNDLE {group}")
                + audio
                + "m=application"
                + data.replace("a=mid:0", "a=mid:1"),
            )
        )
        await other.pc.set_local_description()
        await other.pc.gathering_complete()
        answer = parse(description(other.pc.local_description).sdp)
        assert [media.port != 0 for media in answer.media] == [False, True]
        # What the offerer of one section would have got.
        del answer.media[0]
        text = answer.serialize().replace("a=mid:1", "a=mid:0").replace("BUNDLE 1", "BUNDLE 0")
        await one.pc.set_remote_description(SessionDescription("answer", text))
        await talk(near, await other.channels.get())

    with_peers(body)


@pytest.mark.row("DSD-02", "SDP-04")
def test_data_that_is_refused_and_asked_for_again() -> None:
    async def body(one: Peer, other: Peer) -> None:
        refused = one.pc.create_data_channel("refused")
        needed: list[bool] = []
        one.pc.on_negotiation_needed(lambda: needed.append(True))
        await one.pc.set_local_description()
        await one.pc.gathering_complete()
        offer = description(one.pc.local_description).sdp
        await other.pc.set_remote_description(
            SessionDescription("offer", offer.replace("a=sctp-port:5000", "a=sctp-port:0"))
        )
        await other.pc.set_local_description()
        await one.pc.set_remote_description(description(other.pc.local_description))
        assert refused.ready_state == "closed"
        assert (one.pc.sctp, other.pc.sctp) == (None, None)
        await asyncio.sleep(5)
        assert needed == []
        assert [str(state) for state in (one.pc.ice_gathering_state, one.pc.connection_state)] == ["new", "new"]
        again = one.pc.create_data_channel("again")
        await turns()
        assert needed == [True]
        await exchange(one.pc, other.pc)
        await talk(again, await other.channels.get())
        assert [media.mid for media in parse(description(one.pc.local_description).sdp).media] == ["1"]

    with_peers(body)


@pytest.mark.row("DSD-02")
def test_data_that_ends_while_it_runs() -> None:
    async def body(one: Peer, other: Peer) -> None:
        near = one.pc.create_data_channel("x")
        await exchange(one.pc, other.pc)
        far = await other.channels.get()
        await talk(near, far)
        await one.pc.set_local_description()
        offer = description(one.pc.local_description).sdp
        ending = parse(offer)
        ending.media[0].port = 0
        ending.attributes = ending.attributes.without("group")
        await other.pc.set_remote_description(SessionDescription("offer", ending.serialize()))
        await other.pc.set_local_description()
        await one.pc.set_remote_description(description(other.pc.local_description))
        assert (one.pc.sctp, other.pc.sctp) == (None, None)
        assert (near.ready_state, far.ready_state) == ("closed", "closed")
        assert str(one.pc.connection_state) == str(other.pc.connection_state) == "new"
        # And begin again, from the other side.
        back = other.pc.create_data_channel("y")
        await exchange(other.pc, one.pc)
        await talk(back, await one.channels.get())

    with_peers(body)
