"""When a connection asks for another offer."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.lone_connection import REMOTE_OFFER, Log, in_connection
from tests.support.virtual_loop import turns
from webrtc_py import PeerConnection, SessionDescription


@pytest.mark.row("WPC-02")
def test_negotiation_is_needed_once() -> None:
    async def body(pc: PeerConnection) -> None:
        log = Log(pc)
        await turns()
        assert log.entries == []
        pc.create_data_channel("a")
        pc.create_data_channel("b")
        await turns()
        pc.create_data_channel("c")
        await turns()
        assert log.entries == ["negotiation needed"]

    in_connection(body)


@pytest.mark.row("WPC-02")
def test_negotiation_is_needed_only_in_stable() -> None:
    async def body(pc: PeerConnection) -> None:
        log = Log(pc)
        # An offer without data, and a channel while it waits.
        await pc.set_local_description()
        pc.create_data_channel("a")
        await turns()
        assert "negotiation needed" not in log.entries
        await pc.set_local_description(SessionDescription("rollback"))
        await turns()
        assert log.entries.count("negotiation needed") == 1

    in_connection(body)


@pytest.mark.row("WPC-02")
def test_negotiation_is_not_needed_when_the_peers_offer_has_data() -> None:
    async def body(pc: PeerConnection) -> None:
        log = Log(pc)
        await pc.set_remote_description(REMOTE_OFFER)
        pc.create_data_channel("a")
        await pc.set_local_description()
        pc.create_data_channel("b")
        await turns()
        assert "negotiation needed" not in log.entries

    in_connection(body)


@pytest.mark.row("WPC-02")
def test_a_late_handler_finds_what_has_changed_since() -> None:
    """The event's handler before it is slow; by then the offer it would ask for is out."""

    async def body(pc: PeerConnection) -> None:
        log = Log(pc)
        slow = asyncio.Event()

        async def wait(_: object) -> None:
            await slow.wait()

        pc.on_signaling_state_change(wait)
        await pc.set_local_description()
        pc.create_data_channel("a")
        await turns()
        await pc.set_local_description()
        slow.set()
        await turns()
        assert "negotiation needed" not in log.entries

    in_connection(body)
