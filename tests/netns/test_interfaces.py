"""What the system tells of its interfaces, and multicast on them, in a namespace where both can be played with."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator

import aioice.mdns
import pytest

from webrtc_py.ice.addresses import local_addresses
from webrtc_py.ice.agent import Agent
from webrtc_py.ice.agent_options import AgentOptions
from webrtc_py.ice.conn import Conn
from webrtc_py.ice.mdns import AgentNames
from webrtc_py.runtime import network_watch
from webrtc_py.runtime.interfaces import system_interfaces
from webrtc_py.runtime.system_network import SystemNetwork

from .inside import run_inside
from .namespaces import Namespace

pytestmark = [pytest.mark.netns, pytest.mark.realtime, pytest.mark.needs("netns")]


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    one = Namespace("interfaces")
    try:
        one.run("ip link add eth0 type veth peer name far; ip link set far up; ip link set eth0 up")
        yield one
    finally:
        one.delete()


async def connect(one: Agent, other: Agent) -> Conn:
    """One end of their connection, which carries data."""
    one.on_candidate(other.add_remote_candidate)
    other.on_candidate(one.add_remote_candidate)
    await one.gather_candidates()
    await other.gather_candidates()
    here, there = await asyncio.gather(
        one.dial(*other.get_local_user_credentials()), other.accept(*one.get_local_user_credentials())
    )
    here.send(b"hello")
    assert await there.recv() == b"hello"
    return here


async def happened(changed: asyncio.Event) -> None:
    await changed.wait()
    changed.clear()


@pytest.mark.row("ICE-52")
@pytest.mark.parametrize("is_polled", [False, True])
def test_changes_are_noticed(namespace: Namespace, monkeypatch: pytest.MonkeyPatch, is_polled: bool) -> None:
    if is_polled:
        monkeypatch.setattr(network_watch, "_open_netlink", lambda: None)

    async def main() -> None:
        network, changed = SystemNetwork(), asyncio.Event()
        watch = network.watch(changed.set, 0.1)
        run = namespace.run
        for script, expected in (
            ("ip addr add 198.51.100.1/24 dev eth0", {"198.51.100.1"}),
            ("ip addr add 2001:db8::1/64 dev eth0 nodad", {"198.51.100.1", "2001:db8::1"}),
            ("ip addr del 198.51.100.1/24 dev eth0", {"2001:db8::1"}),
            ("ip link set eth0 down", set()),
        ):
            await asyncio.to_thread(run, script)
            await happened(changed)
            found = [one for one in network.interfaces() if one.name == "eth0"]
            assert {host for one in found for host in one.addresses} == expected
        watch.close()

    run_inside(namespace, main)


def test_what_changes_nothing_is_no_change(namespace: Namespace) -> None:
    async def main() -> None:
        changed = asyncio.Event()
        watch = SystemNetwork().watch(changed.set, 0.1)
        await asyncio.to_thread(namespace.run, "ip addr add 2001:db8::1/64 dev eth0 nodad")
        await happened(changed)
        # As a router's advertisement does, again and again.
        await asyncio.to_thread(
            namespace.run,
            "for i in 1 2 3; do ip addr change 2001:db8::1/64 dev eth0 valid_lft 60$i preferred_lft 60$i; done",
        )
        await asyncio.sleep(0.5)
        assert not changed.is_set()
        watch.close()

    run_inside(namespace, main)


@pytest.mark.row("ICE-08")
def test_temporary_and_deprecated_addresses_are_known(namespace: Namespace) -> None:
    namespace.run(
        """
        ip addr add 2001:db8::1/64 dev eth0 nodad
        ip addr add 2001:db8:0:1:211:22ff:fe33:4455/64 dev eth0 nodad
        ip addr add 2001:db8:0:1::99/64 dev eth0 nodad preferred_lft 0
        ip addr add 2001:db8:0:1::7/64 dev eth0 nodad
        sysctl -qw net.ipv6.conf.eth0.use_tempaddr=2 net.ipv6.conf.eth0.dad_transmits=0
        ip addr add 2001:db8:0:2:211:22ff:fe33:4455/64 dev eth0 nodad mngtmpaddr
        """
    )

    async def main() -> None:
        network, changed = SystemNetwork(), asyncio.Event()
        watch = network.watch(changed.set, 1.0)
        while not (interface := next(one for one in system_interfaces() if one.name == "eth0")).temporary:
            await happened(changed)  # the system makes it in its own time
        watch.close()
        [temporary] = interface.temporary
        assert temporary.startswith("2001:db8:0:2:")
        assert interface.deprecated == {"2001:db8:0:1::99"}
        used = {address.host for address in local_addresses([interface])}
        assert used == {"2001:db8::1", "2001:db8:0:1::7", temporary}

    run_inside(namespace, main)


@pytest.mark.row("ICE-08")
def test_an_address_that_another_host_has_is_left_out(namespace: Namespace) -> None:
    # Until nobody has answered for about a minute.
    namespace.run("sysctl -qw net.ipv6.conf.eth0.accept_dad=1 net.ipv6.conf.eth0.dad_transmits=60")
    namespace.run("ip addr add 2001:db8::1/64 dev eth0")

    async def main() -> None:
        hosts = {host for one in system_interfaces() for host in one.addresses}
        assert "2001:db8::1" not in hosts, "it is tentative"

    run_inside(namespace, main)


@pytest.mark.row("MDN-01", "MDN-02")
@pytest.mark.parametrize(
    "script", ["", "ip addr add 198.51.100.1/24 dev eth0", "ip addr add 2001:db8::1/64 dev eth0 nodad"]
)
def test_names_are_resolved_over_real_multicast(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    namespace.run(script or "true")

    async def main() -> None:
        asking, answering = AgentNames(None), AgentNames(SystemNetwork())
        name = await answering.name_of("198.51.100.1")
        assert await asking.resolve(name, 60.0) == "198.51.100.1"
        await answering.close()
        await asking.close()

    run_inside(namespace, main)


@pytest.mark.row("MDN-01", "MDN-04")
def test_two_agents_that_hide_connect_on_one_machine(namespace: Namespace) -> None:
    namespace.run("ip addr add 198.51.100.1/24 dev eth0; ip addr add 2001:db8::1/64 dev eth0 nodad")

    async def main() -> None:
        # Networks of their own, so that the names go over the wire.
        one = Agent(AgentOptions(multicast_dns_mode="query-and-gather", net=SystemNetwork()))
        other = Agent(AgentOptions(multicast_dns_mode="query-and-gather", net=SystemNetwork()))
        await connect(one, other)
        for agent in (one, other):
            assert len(agent.get_local_candidates()) == 2
            told = f"{agent.get_local_candidates()} {agent.get_candidate_pairs_stats()} {agent.explain()}"
            assert "198.51.100" not in told
            assert "2001:db8" not in told
        await one.close()
        await other.close()

    run_inside(namespace, main)


@pytest.mark.row("MDN-01", "MDN-02")
def test_names_are_understood_by_another_implementation_and_its_names_by_us(namespace: Namespace) -> None:
    namespace.run("ip addr add 198.51.100.1/24 dev eth0; ip route add default dev eth0")

    async def main() -> None:
        theirs = await aioice.mdns.create_mdns_protocol()
        ours = AgentNames(None)
        assert await theirs.resolve(await ours.name_of("198.51.100.1"), 60.0) == "198.51.100.1"
        name = aioice.mdns.create_mdns_hostname()
        await theirs.publish(name, "198.51.100.2")
        assert await ours.resolve(name, 60.0) == "198.51.100.2"
        await ours.close()
        await theirs.close()

    run_inside(namespace, main)


@pytest.mark.row("ICE-52")
def test_an_agent_follows_the_interfaces(namespace: Namespace) -> None:
    namespace.run("ip addr add 198.51.100.1/24 dev eth0")

    async def main() -> None:
        agent = Agent(AgentOptions(continual_gathering="continually"))
        changed = asyncio.Event()
        agent.on_candidate(lambda candidate: changed.set())
        agent.on_candidate_removed(lambda candidate: changed.set())
        await agent.gather_candidates()
        await happened(changed)
        await asyncio.to_thread(namespace.run, "ip addr add 198.51.100.2/24 dev eth0")
        await happened(changed)
        assert [one.address for one in agent.get_local_candidates()] == ["198.51.100.1", "198.51.100.2"]
        await asyncio.to_thread(namespace.run, "ip addr del 198.51.100.2/24 dev eth0")
        await happened(changed)
        assert [one.address for one in agent.get_local_candidates()] == ["198.51.100.1"]
        await agent.close()

    run_inside(namespace, main)


@pytest.mark.row("ICE-09")
def test_nothing_but_link_local_addresses(namespace: Namespace) -> None:
    namespace.run("ip addr add fe80::a/64 dev eth0 nodad; ip addr add fe80::b/64 dev far nodad")

    async def main() -> None:
        async with (
            Agent(AgentOptions(interface_filter=lambda name: name == "eth0")) as one,
            Agent(AgentOptions(interface_filter=lambda name: name == "far")) as other,
        ):
            here = await connect(one, other)
            assert here.local_address is not None
            assert ipaddress.ip_address(here.local_address[0]).is_link_local

    run_inside(namespace, main)
