"""A connection that follows the machine from network to network: continual gathering.

    python examples/continual_gathering.py [seconds, 5 by default]

While it runs, plug a cable in or out, join another Wi-Fi, or as root, on Linux:

    ip addr add 198.51.100.7/24 dev eth0
    ip addr del 198.51.100.7/24 dev eth0

Candidates on addresses that appear are gathered and told to the peer, those on vanished ones are withdrawn, and the
data takes another path without a restart. Each second a line tells what has arrived.
"""

import asyncio
import itertools
import sys

import ifaddr

from webrtc_py.ice import Agent, AgentOptions, Candidate


def has_network() -> bool:
    """Loopback is only for machines without one: as it never changes, nobody would leave it."""
    found = [str(ip.ip if ip.is_IPv4 else ip.ip[0]) for adapter in ifaddr.get_adapters() for ip in adapter.ips]
    return any(not address.startswith(("127.", "::1", "fe80:")) for address in found)


def follow(agent: Agent, name: str, peer: Agent) -> None:
    """Say what changes. With continual gathering there is never a last candidate."""

    def on_candidate(candidate: Candidate) -> None:
        print(f"{name}: candidate {candidate}", flush=True)
        peer.add_remote_candidate(candidate)

    def on_selected(local: Candidate, remote: Candidate) -> None:
        print(f"{name}: path {local.address} to {remote.address}", flush=True)

    agent.on_candidate(on_candidate)
    agent.on_candidate_removed(lambda gone: print(f"{name}: withdraws {gone}", flush=True))
    agent.on_selected_candidate_pair_change(on_selected)
    agent.on_connection_state_change(lambda state: print(f"{name}: {state}", flush=True))


async def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    options = AgentOptions(continual_gathering="continually", include_loopback=not has_network())
    async with Agent(options) as alice, Agent(options) as bob:
        follow(alice, "alice", bob)
        follow(bob, "bob", alice)
        await alice.gather_candidates()
        await bob.gather_candidates()
        to_bob, to_alice = await asyncio.gather(
            alice.dial(*bob.get_local_user_credentials()), bob.accept(*alice.get_local_user_credentials())
        )
        received = 0

        def on_data(data: bytes) -> None:
            nonlocal received
            received += 1

        to_alice.on_data(on_data)
        for sent in itertools.count(1):
            to_bob.send(b"%d" % sent)
            await asyncio.sleep(0.05)
            if sent % 20 == 0:
                print(f"{received} of {sent} datagrams have arrived", flush=True)
            if sent >= 20 * seconds:
                break


try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("bye")
