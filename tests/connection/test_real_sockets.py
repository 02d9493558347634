"""A whole connection on the system's own sockets, between two ends of this machine."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from tests.support.real_loop import run_real
from webrtc_py import API, DataChannel, PeerConnection, SettingEngine


def on_loopback() -> PeerConnection:
    settings = SettingEngine()
    settings.set_interface_filter(lambda name: name == "lo")
    settings.set_include_loopback_candidate(True)
    return API(setting_engine=settings).new_peer_connection()


def trickle(source: PeerConnection, target: PeerConnection) -> None:
    source.on_ice_candidate(target.add_ice_candidate)


@pytest.mark.row("X-07", "WPC-14")
def test_there_and_back_and_nothing_is_left() -> None:
    async def main() -> None:
        offerer, answerer = on_loopback(), on_loopback()
        trickle(offerer, answerer)
        trickle(answerer, offerer)
        channels: asyncio.Queue[DataChannel] = asyncio.Queue()
        answerer.on_data_channel(channels.put_nowait)
        near = offerer.create_data_channel("x")
        await offerer.set_local_description()
        await answerer.set_remote_description(offerer.local_description)  # type: ignore[arg-type]
        await answerer.set_local_description()
        await offerer.set_remote_description(answerer.local_description)  # type: ignore[arg-type]
        await asyncio.gather(offerer.wait_connected(10), answerer.wait_connected(10))
        far = await channels.get()
        content = hashlib.shake_128(b"any").digest(200_000)
        for source, target in ((near, far), (far, near)):
            await source.opened()
            for _ in range(10):
                source.send(content)
            for _ in range(10):
                assert await target.recv() == content
        assert offerer.sctp is not None
        await asyncio.gather(offerer.close(), answerer.close())

    run_real(main())
