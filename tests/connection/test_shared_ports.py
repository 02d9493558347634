"""Whole connections over TCP, and many on one port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from tests.connection.test_paths import exchange
from tests.support.connections import Call, Peer
from tests.support.real_loop import run_real
from tests.support.virtual_loop import run
from tests.support.virtual_network import DROP, VirtualNetwork
from webrtc_py import API, DataChannel, ICECandidate, SettingEngine
from webrtc_py.ice import TCPMux, UDPMux

SERVER = "192.0.2.1"
ALL = ("udp4", "udp6", "tcp4", "tcp6")


def calling(network: VirtualNetwork, number: int, settings: SettingEngine, *, server_offers: bool = False) -> Call:
    """A peer of its own and a connection on the server, which has the settings of all its connections."""
    host = network.hosts.get(f"peer {number}") or network.host(f"peer {number}", f"198.51.100.{number}")
    own = SettingEngine()
    own.set_network_types(ALL)
    peer, server = Peer(host, settings=own), Peer(network.hosts["server"], settings=settings)
    return Call(server, peer) if server_offers else Call(peer, server)


def on_server(test: Callable[[VirtualNetwork, SettingEngine], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        network = VirtualNetwork(seed=3, delay=0.01)
        host = network.host("server", SERVER)
        settings = SettingEngine()
        settings.set_network_types(ALL)
        async with await UDPMux.listen(port=443, net=host) as udp, await TCPMux.listen(port=443, net=host) as tcp:
            settings.set_ice_udp_mux(udp)
            settings.set_ice_tcp_mux(tcp)
            await test(network, settings)
            await asyncio.sleep(1)
            assert tcp.connections == 0
            assert all(len(port._endpoints) == 1 for port in udp._ports.values())

    run(main())


async def count(near: DataChannel, far: DataChannel, after_20: Callable[[], Awaitable[None]], patience: float) -> None:
    """Count to 100 at a steady pace, whatever happens after 20: no number is missing, and none comes twice."""
    received: list[int] = []
    far.on_message(lambda message: received.append(int(message)))
    for number in range(100):
        near.send(str(number))
        if number == 20:
            await after_20()
        await asyncio.sleep(0.02)
    await asyncio.sleep(patience)
    assert received == list(range(100))


@pytest.mark.row("TCP-01")
@pytest.mark.parametrize("server_offers", [False, True])
def test_data_channels_over_tcp_where_udp_is_blocked(server_offers: bool) -> None:
    async def test(network: VirtualNetwork, settings: SettingEngine) -> None:
        network.tap(lambda packet: DROP)
        async with calling(network, 1, settings, server_offers=server_offers) as call:
            near, far = await call.connect()
            await exchange(near, far, [1, 100_000, 3, *[256 * 1024] * 8])
            assert settings.ice_tcp_mux is not None
            assert settings.ice_tcp_mux.connections == 1

    on_server(test)


def test_a_restart_over_tcp_loses_no_message() -> None:
    async def test(network: VirtualNetwork, settings: SettingEngine) -> None:
        network.tap(lambda packet: DROP)
        async with calling(network, 1, settings) as call:

            async def restart() -> None:
                call.offerer.pc.restart_ice()
                await call.negotiate()

            await count(*await call.connect(), restart, patience=1)
            assert call.offerer.states[-1] == "connected"
            assert "failed" not in call.offerer.states

    on_server(test)


def test_a_dropped_tcp_connection_costs_no_message() -> None:
    async def test(network: VirtualNetwork, settings: SettingEngine) -> None:
        network.tap(lambda packet: DROP)
        async with calling(network, 1, settings) as call:

            async def drop() -> None:
                for stream in list(network.hosts["peer 1"].streams):
                    assert stream.peer is not None
                    stream.peer.close()

            await count(*await call.connect(), drop, patience=10)
            assert "failed" not in call.offerer.states

    on_server(test)


def test_many_connections_on_one_udp_port() -> None:
    async def test(network: VirtualNetwork, settings: SettingEngine) -> None:
        calls = [calling(network, number, settings, server_offers=number % 2 == 0) for number in range(1, 21)]
        channels = await asyncio.gather(*(call.connect() for call in calls))
        await asyncio.gather(*(exchange(near, far, [1000, 100_000]) for near, far in channels))
        bound = network.hosts["server"].sockets
        assert {port for _, port in bound} == {443}
        await asyncio.gather(*(call.close() for call in calls))

    on_server(test)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_shared_port_over_real_sockets(transport: str) -> None:
    async def main() -> None:
        kind = UDPMux if transport == "udp" else TCPMux
        async with await kind.listen("127.0.0.1") as mux:
            settings = SettingEngine()
            settings.set_network_types([f"{transport}4"])
            settings.set_include_loopback_candidate(True)
            settings.set_ip_filter(lambda ip: ip == "127.0.0.1")
            own = SettingEngine()
            own.set_network_types([f"{transport}4"])
            own.set_include_loopback_candidate(True)
            own.set_ip_filter(lambda ip: ip == "127.0.0.1")
            if isinstance(mux, UDPMux):
                settings.set_ice_udp_mux(mux)
            else:
                settings.set_ice_tcp_mux(mux)
            server = API(setting_engine=settings).new_peer_connection()
            peer = API(setting_engine=own).new_peer_connection()
            channels: asyncio.Queue[DataChannel] = asyncio.Queue()
            server.on_data_channel(channels.put_nowait)
            found: list[ICECandidate | None] = []
            server.on_ice_candidate(found.append)
            near = peer.create_data_channel("test")
            await peer.set_local_description()
            await peer.gathering_complete()
            await server.set_remote_description(peer.local_description)
            await server.set_local_description()
            await server.gathering_complete()
            await peer.set_remote_description(server.local_description)
            await near.opened()
            far = await channels.get()
            await far.opened()
            await exchange(near, far, [1000, *[256 * 1024] * 8])
            assert {one.port for one in found if one is not None} - {9} == {mux.port}
            await peer.close()
            await server.close()

    run_real(main())
