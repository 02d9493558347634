"""A connection of its parts, without a peer connection and without SDP, as ORTC has it."""

from __future__ import annotations

import asyncio

from tests.support.virtual_loop import run
from tests.support.virtual_network import VirtualNetwork
from webrtc_py import API, DataChannel, ICERole, SCTPCapabilities, SettingEngine


class Stack:
    """Gatherer, ICE, DTLS and SCTP of one end, each made on the one before."""

    def __init__(self, network: VirtualNetwork, name: str, address: str) -> None:
        settings = SettingEngine()
        settings.set_net(network.host(name, address))
        api = API(setting_engine=settings)
        self.gatherer = api.new_ice_gatherer()
        self.ice = api.new_ice_transport(self.gatherer)
        self.dtls = api.new_dtls_transport(self.ice)
        self.sctp = api.new_sctp_transport(self.dtls)

    async def start(self, peer: Stack, role: ICERole) -> None:
        self.ice.set_remote_candidates(peer.gatherer.get_local_candidates())
        self.ice.add_remote_candidate(None)
        await self.ice.start(None, peer.gatherer.get_local_parameters(), role)
        self.dtls.start(peer.dtls.get_local_parameters())
        self.sctp.start(SCTPCapabilities(max_message_size=0))

    async def stop(self) -> None:
        self.sctp.stop()
        self.dtls.stop()
        await self.ice.stop()


def test_a_data_channel_over_objects_of_the_api() -> None:
    async def main() -> None:
        network = VirtualNetwork(seed=1, delay=0.01)
        a, b = Stack(network, "alice", "192.0.2.1"), Stack(network, "bob", "192.0.2.2")
        near = a.sctp.create_data_channel("parts", protocol="p")
        arrived: asyncio.Queue[DataChannel] = asyncio.Queue()
        b.sctp.on_data_channel(arrived.put_nowait)
        for stack in (a, b):
            await stack.gatherer.gather()
            await stack.gatherer.gathering_complete()
        await a.start(b, ICERole.CONTROLLING)
        await b.start(a, ICERole.CONTROLLED)
        await near.opened()
        far = await arrived.get()
        assert (far.label, far.protocol, far.transport) == ("parts", "p", b.sctp)
        near.send("there")
        assert await far.recv() == "there"
        far.send(b"and back")
        assert await near.recv() == b"and back"
        await a.stop()
        await asyncio.sleep(1)
        assert (b.dtls.state, b.sctp.state, far.ready_state) == ("closed", "closed", "closed")
        await b.stop()
        assert [str(stack.gatherer.state) for stack in (a, b)] == ["closed", "closed"]

    run(main())
