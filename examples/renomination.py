"""Changing the path of a living connection without a restart: draft-thatcher-ice-renomination.

    python examples/renomination.py

Two agents can reach each other over UDP and over TCP. UDP is chosen at first; then the controlling side says TCP, and
UDP again, while the data flows. With ``RenominationOptions()`` the agent changes by itself when another path has proved
to be better for a while: a direct one after a relayed one, a network cable after a mobile network.

A PeerConnection has it by ``SettingEngine.set_ice_renomination``; ``pc.sctp.transport.ice_transport.renominate(...)``
is then the call. Browsers made of libwebrtc follow, but do not say so in their descriptions: tell it with
``set_remote_renomination(True)`` there.
"""

import asyncio
from dataclasses import replace
from itertools import count

from webrtc_py.ice import Agent, AgentOptions, CandidatePairStats, Conn, RenominationOptions, TCPMux


async def send_numbers(conn: Conn) -> None:
    for number in count():
        conn.send(str(number).encode())
        await asyncio.sleep(0.01)


async def find_pair(agent: Agent, transport: str) -> CandidatePairStats:
    """A pair over this transport whose checks are answered."""
    while True:
        for pair in agent.get_candidate_pairs_stats():
            if pair.local.transport == transport and pair.state == "succeeded":
                return pair
        await asyncio.sleep(0.05)


async def change(agent: Agent, transport: str) -> None:
    """Renominate, and wait until the peer has confirmed it."""
    changed = asyncio.Event()
    agent.on_selected_candidate_pair_change(lambda local, remote: changed.set())
    pair = await find_pair(agent, transport)
    agent.renominate(pair.local, pair.remote)
    await changed.wait()
    local, remote = agent.get_selected_candidate_pair()
    print(f"now over {local.transport}: {local.address}:{local.port} to {remote.address}:{remote.port}")


async def main() -> None:
    async with await TCPMux.listen() as mux:
        options = AgentOptions(network_types=["udp4", "tcp4"], include_loopback=True)
        ours = replace(options, renomination=RenominationOptions(automatic=False))
        async with Agent(ours) as alice, Agent(replace(options, tcp_mux=mux)) as bob:
            alice.on_candidate(bob.add_remote_candidate)
            bob.on_candidate(alice.add_remote_candidate)
            await alice.gather_candidates()
            await bob.gather_candidates()
            to_bob, to_alice = await asyncio.gather(
                alice.dial(*bob.get_local_user_credentials()), bob.accept(*alice.get_local_user_credentials())
            )
            print(f"at first over {alice.get_selected_candidate_pair()[0].transport}")
            received: list[int] = []
            to_alice.on_data(lambda data: received.append(int(data)))
            sending = asyncio.create_task(send_numbers(to_bob))
            for transport in ("tcp", "udp"):
                await change(alice, transport)
                await asyncio.sleep(0.3)
            sending.cancel()
            await asyncio.sleep(0.1)
            print(f"{len(received)} datagrams arrived, {max(received) + 1 - len(received)} are missing")


asyncio.run(asyncio.wait_for(main(), timeout=30))
