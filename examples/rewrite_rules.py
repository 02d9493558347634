"""A server in a container, or behind a NAT whose outer address is known: what it tells is not what it sees.

    python examples/rewrite_rules.py

A container sees 172.17.0.2, and the world reaches it as 203.0.113.7, on ports that were published::

    docker run -p 40000-40099:50000-50099/udp ...

    settings.set_ephemeral_udp_port_range(50000, 50099)
    settings.set_ice_address_rewrite_rules(AddressRewriteRule(["203.0.113.7"], ports={range(50000, 50100): 40000}))

Where ports stay the same, as on most clouds' hosts, ``settings.set_nat_1to1_ips(["203.0.113.7"])`` says it all. This
program shows what peers are told by such rules. Then it publishes a port of loopback itself, and connects through it.
"""

import asyncio
import socket
from contextlib import suppress

from webrtc_py import API, AddressRewriteRule, DataChannel, SettingEngine, UDPMux

HOST = "127.0.0.1"  # stands for the container's address
PUBLIC = "203.0.113.7"


def on_loopback() -> SettingEngine:
    settings = SettingEngine()
    settings.set_include_loopback_candidate(True)
    settings.set_ip_filter(lambda ip: ip == HOST)
    return settings


async def show(name: str, settings: SettingEngine) -> None:
    """What the peer is told with these settings."""
    settings.set_ephemeral_udp_port_range(50000, 50099)
    async with API(settings).new_ice_gatherer() as gatherer:
        await gatherer.gather()
        await gatherer.gathering_complete()
        print(f"{name + ':':17}", ", ".join(map(str, gatherer.get_local_candidates())))


async def show_rules() -> None:
    await show("no rule", on_loopback())
    rules = {
        "replace": AddressRewriteRule([PUBLIC]),
        "replace, ports": AddressRewriteRule([PUBLIC], ports={range(50000, 50100): 40000}),
        "append": AddressRewriteRule([PUBLIC], mode="append"),
        "as from a STUN": AddressRewriteRule([PUBLIC], as_candidate_type="srflx"),
    }
    for name, rule in rules.items():
        settings = on_loopback()
        settings.set_ice_address_rewrite_rules(rule)
        await show(name, settings)
    settings = on_loopback()
    settings.set_nat_1to1_ips([f"{PUBLIC}/{HOST}"])  # outer/local, where there are several
    await show("NAT 1:1", settings)


async def publish(outside: socket.socket, inner_port: int) -> None:
    """What the container's host does: what comes to the outer port goes to the inner one, and answers go back."""
    loop = asyncio.get_running_loop()
    client: tuple[str, int] | None = None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as inside:
        inside.connect((HOST, inner_port))
        for one in (outside, inside):
            one.setblocking(False)

        async def go_in() -> None:
            nonlocal client
            while True:
                datagram, client = await loop.sock_recvfrom(outside, 65536)
                inside.send(datagram)

        async def come_out() -> None:
            while True:
                outside.sendto(await loop.sock_recv(inside, 65536), client)

        await asyncio.gather(go_in(), come_out())


async def connect(settings: SettingEngine) -> None:
    """A server with these settings, and a client that reaches it by what it is told."""
    server, client = API(settings).new_peer_connection(), API(on_loopback()).new_peer_connection()
    async with server, client:

        @server.on_data_channel
        def on_data_channel(channel: DataChannel) -> None:
            channel.on_message(lambda message: channel.send(f"you said {message!r}"))

        # The server is not told the client's candidates: it finds out itself where the checks come from.
        server.on_ice_candidate(client.add_ice_candidate)
        channel = client.create_data_channel("chat")
        offer = await client.create_offer()
        await client.set_local_description(offer)
        await server.set_remote_description(offer)
        await server.set_local_description()
        await client.set_remote_description(server.local_description)
        await client.wait_connected(timeout=20)
        await channel.opened()
        channel.send("hello")
        print(await channel.recv())
        print(f"the server is reached by {client.sctp.transport.ice_transport.get_selected_candidate_pair().remote}")


async def main() -> None:
    await show_rules()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outside:
        outside.bind((HOST, 0))
        outer_port = outside.getsockname()[1]
        async with await UDPMux.listen(HOST) as mux:
            print(f"port {mux.port} is published as {outer_port}")
            publishing = asyncio.create_task(publish(outside, mux.port))
            settings = on_loopback()
            settings.set_ice_udp_mux(mux)
            settings.set_ice_address_rewrite_rules(AddressRewriteRule([HOST], ports={mux.port: outer_port}))
            await connect(settings)
            publishing.cancel()
            with suppress(asyncio.CancelledError):
                await publishing


asyncio.run(main())
