"""``python -m webrtc_py doctor`` tells NATs and firewalls apart, and what will connect through them."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest

from tests.interop.coturn import PASSWORD, USERNAME

from .lab import Lab
from .namespaces import Namespace
from .nat import NAT, Firewall, NATKind
from .remote import ROOT
from .turn import TurnServer, turn_server

pytestmark = [
    pytest.mark.netns,
    pytest.mark.interop,
    pytest.mark.realtime,
    pytest.mark.needs("netns", "coturn"),
]

SERVER = ("192.0.2.10", "192.0.2.11")

Patients = dict[str, tuple[int, dict[str, Any]]]

NOTHING, ADDRESS, ADDRESS_AND_PORT = "endpoint-independent", "address-dependent", "address-and-port-dependent"
# Mapping, filtering and hairpinning (RFC 4787 sections 4.1, 5 and 6).
BEHAVIOURS = {
    "full cone": (NOTHING, NOTHING, False),
    "full cone with hairpin": (NOTHING, NOTHING, True),
    "restricted": (NOTHING, ADDRESS, False),
    "port-restricted": (NOTHING, ADDRESS_AND_PORT, False),
    "symmetric": (ADDRESS_AND_PORT, ADDRESS_AND_PORT, False),
    "open": (NOTHING, NOTHING, None),
}
# The way to peers that are in the open, behind a restricted cone, behind a port-restricted one, behind a symmetric one;
# or to all of them, where there is nobody to tell.
WAYS = {
    "full cone": ("direct", "direct", "direct", "direct"),
    "full cone with hairpin": ("direct", "direct", "direct", "direct"),
    "restricted": ("direct", "direct", "direct", "direct"),
    "port-restricted": ("direct", "direct", "direct", "relay"),
    "symmetric": ("direct", "direct", "relay", "relay"),
    "open": ("direct", "direct", "direct", "direct"),
    "no UDP": ("relay", "relay", "relay", "relay"),
    "only TCP 443": ("relay", "relay", "relay", "relay"),
    "closed": ("unknown",),
}
# By which transport each server is reached: the first is asked over UDP, the second over TLS on 443.
REACHED = {"no UDP": (False, True), "only TCP 443": (False, True), "closed": (False, False)}


def make_homes(lab: Lab) -> dict[str, Namespace]:
    nats = {str(kind): NAT(kind) for kind in NATKind}
    nats["full cone with hairpin"] = NAT(NATKind.FULL_CONE, hairpin=True)
    firewalls = {str(firewall): firewall for firewall in Firewall if firewall is not Firewall.OPEN}
    homes = {"open": lab.public("open", "198.51.100.1").namespace}
    for number, name in enumerate([*nats, *firewalls], 1):
        nat = nats.get(name, NAT(NATKind.PORT_RESTRICTED))
        router = lab.router(f"router-{number}", f"203.0.113.{number}", nat)
        router.set_firewall(firewalls.get(name, Firewall.OPEN))
        homes[name] = router.host(f"host-{number}")
    return homes


async def examine(namespace: Namespace, server: TurnServer) -> tuple[int, dict[str, Any]]:
    """The doctor's exit status, and what it found."""
    arguments = ["--json", "--timeout=3", f"--username={USERNAME}", f"--credential={PASSWORD}"]
    process = await asyncio.create_subprocess_exec(
        *namespace.command(sys.executable, "-m", "webrtc_py", "doctor", *arguments, server.udp, server.tls),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={"SSL_CERT_FILE": str(server.certificate)},
    )
    output, _ = await process.communicate()
    return process.returncode or 0, json.loads(output)


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Patients:
    async def main() -> Patients:
        with Lab() as lab:
            namespace = lab.public("server", *SERVER).namespace
            with turn_server(
                namespace, SERVER[0], tmp_path_factory.mktemp("doctor"), other_address=SERVER[1]
            ) as server:
                homes = make_homes(lab)
                found = await asyncio.gather(*(examine(home, server) for home in homes.values()))
                return dict(zip(homes, found, strict=True))

    return asyncio.run(main())


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_what_the_nat_does(name: str, patients: Patients) -> None:
    [nat] = patients[name][1]["nat"]
    assert nat["method"] == "RFC 5780"
    assert (nat["mapping"], nat["filtering"], nat["hairpin"]) == BEHAVIOURS[name]
    assert nat["translated"] == (name != "open")


@pytest.mark.parametrize("name", WAYS)
def test_what_will_connect(name: str, patients: Patients) -> None:
    status, report = patients[name]
    assert status == (1 if name == "closed" else 0)
    ways = {prospect["peer"]: prospect["way"] for prospect in report["prospects"]}
    assert ways.pop("peers on the same network") == "direct"
    same_router = ways.pop("peers behind the same NAT, on another network", None)
    assert tuple(ways.values()) == WAYS[name]
    if name in BEHAVIOURS and name != "open":
        assert same_router == ("direct" if BEHAVIOURS[name][2] else "relay")


@pytest.mark.parametrize("name", WAYS)
def test_which_servers_are_reached(name: str, patients: Patients) -> None:
    _, report = patients[name]
    named = [way for server in report["servers"] for way in server["ways"] if way["is_named"]]
    assert [way["transport"] for way in named] == ["udp", "tls"]
    assert tuple(way["reached"] for way in named) == REACHED.get(name, (True, True))
    assert all(way["relayed"] if way["reached"] else way["problem"] for way in named)
