"""Where UDP is blocked: a connection over TCP alone (RFC 6544), to a server that takes all its peers on one port.

    python examples/ice_tcp.py

The server listens (a *passive* candidate), the client dials (an *active* one, which has no port: it says 9).
"""

import asyncio

from webrtc_py import API, DataChannel, PeerConnection, SettingEngine, TCPMux


def tcp_settings() -> SettingEngine:
    settings = SettingEngine()
    settings.set_network_types(["tcp4", "tcp6"])  # add "udp4" and "udp6" to use TCP only where UDP does not work
    settings.set_include_loopback_candidate(True)  # for peers on one machine
    return settings


async def connect(offerer: PeerConnection, answerer: PeerConnection) -> None:
    """Stands for your signalling."""
    offerer.on_ice_candidate(answerer.add_ice_candidate)
    answerer.on_ice_candidate(offerer.add_ice_candidate)
    await offerer.set_local_description()
    await answerer.set_remote_description(offerer.local_description)
    await answerer.set_local_description()
    await offerer.set_remote_description(answerer.local_description)
    await offerer.wait_connected(timeout=20)


async def main() -> None:
    async with await TCPMux.listen() as mux:  # port=443 passes most firewalls
        print(f"the server listens on TCP port {mux.port}")
        for_server = tcp_settings()
        for_server.set_ice_tcp_mux(mux)
        for_server.disable_active_tcp()
        server = API(for_server).new_peer_connection()
        client = API(tcp_settings()).new_peer_connection()
        async with server, client:

            @server.on_data_channel
            def on_data_channel(channel: DataChannel) -> None:
                channel.on_message(lambda message: channel.send(f"you said {message!r}"))

            channel = client.create_data_channel("chat")
            await connect(client, server)
            print(f"path {client.sctp.transport.ice_transport.get_selected_candidate_pair()}")
            await channel.opened()
            channel.send("hello")
            print(await channel.recv())


asyncio.run(main())
