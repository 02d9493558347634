"""A server for many clients on one port, so that a firewall or a container needs to open but one.

    python examples/one_port.py [--clients 50] [--port 5000]

Each client has a peer connection of its own on the server, and all of these share a UDPMux, and a TCPMux for those
whose UDP is blocked: here every tenth. Server and clients are one process, so that there is nothing to set up.
"""

import argparse
import asyncio

from webrtc_py import API, DataChannel, PeerConnection, SettingEngine, TCPMux, UDPMux


async def serve(server: PeerConnection, client: PeerConnection) -> None:
    """What the server does for each client that comes. Stands for your signalling, too."""

    @server.on_data_channel
    def on_data_channel(channel: DataChannel) -> None:
        channel.on_message(channel.send)  # an echo

    client.on_ice_candidate(server.add_ice_candidate)
    server.on_ice_candidate(client.add_ice_candidate)
    await client.set_local_description()
    await server.set_remote_description(client.local_description)
    await server.set_local_description()
    await client.set_remote_description(server.local_description)


def client_settings(number: int) -> SettingEngine:
    settings = SettingEngine()
    settings.set_include_loopback_candidate(True)  # for peers on one machine
    if number % 10 == 9:
        settings.set_network_types(["tcp4", "tcp6"])
    return settings


async def be_client(number: int, api: API, arrivals: asyncio.Barrier) -> str:
    """Connect, and see that the echo works: the transport that it took."""
    async with api.new_peer_connection() as server, API(client_settings(number)).new_peer_connection() as client:
        channel = client.create_data_channel("echo")
        await serve(server, client)
        await client.wait_connected(timeout=60)
        await channel.opened()
        await arrivals.wait()  # now all are connected at once
        channel.send(f"I am client {number}")
        echo = await channel.recv()
        if echo != f"I am client {number}":
            raise RuntimeError(f"client {number} was told {echo!r}")
        return client.sctp.transport.ice_transport.get_selected_candidate_pair().remote.protocol


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--port", type=int, default=0, help="0 lets the system choose")
    arguments = parser.parse_args()
    async with await UDPMux.listen(port=arguments.port) as udp, await TCPMux.listen(port=arguments.port) as tcp:
        print(f"the server has UDP port {udp.port} and TCP port {tcp.port}")
        settings = SettingEngine()
        settings.set_include_loopback_candidate(True)
        settings.set_network_types(["udp4", "udp6", "tcp4", "tcp6"])
        settings.set_ice_udp_mux(udp)
        settings.set_ice_tcp_mux(tcp)
        settings.disable_active_tcp()
        api, arrivals = API(settings), asyncio.Barrier(arguments.clients)
        async with asyncio.TaskGroup() as tasks:
            clients = [tasks.create_task(be_client(number, api, arrivals)) for number in range(arguments.clients)]
        transports = [client.result() for client in clients]
        print(
            f"{len(transports)} clients were served: {transports.count('udp')} by UDP, {transports.count('tcp')} by TCP"
        )


asyncio.run(main())
