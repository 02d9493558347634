"""What will and won't connect from here, by what was found: theory, no trial."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .findings import Finding, Prospect, ServerFindings, Way
from .nat import Dependence, NATBehaviour

_WAYS = {"udp": "UDP", "tcp": "TCP", "tls": "TLS", "dtls": "DTLS"}


@dataclass(frozen=True, slots=True)
class _Facts:
    has_network: bool
    was_asked: bool
    was_reached: bool
    has_udp: bool
    behaviour: NATBehaviour | None
    """Of the family that has most peers: IPv4 where there is one."""
    has_ipv6: bool
    relay: str
    """How a relay is reached, best way first; empty when there is none."""


def predict(
    local: Sequence[Finding], servers: Sequence[ServerFindings], nat: Sequence[NATBehaviour]
) -> tuple[tuple[Prospect, ...], bool]:
    """A line for each kind of peer, and whether anything can connect: beyond the local network, if servers were asked.

    Two peers meet directly unless one has a symmetric NAT, whose next address nobody can tell, and the other lets in
    only what comes from just the address and port that it has sent to.
    """
    facts = _facts(local, servers, nat)
    prospects = [_same_network(facts)]
    if not facts.was_asked:
        prospects.append(Prospect("peers elsewhere", "unknown", "only a server can tell how the internet sees us"))
        return tuple(prospects), facts.has_network
    if not facts.was_reached:
        prospects.append(Prospect("peers elsewhere", "unknown", "no server was reached that could tell how it is"))
        return tuple(prospects), False
    beyond = [
        _prospect("peers with a public address", facts, True),
        _prospect("peers behind a full or restricted cone NAT", facts, True),
        _prospect("peers behind a port-restricted NAT or a firewall", facts, _meets_port_restricted(facts)),
        _prospect("peers behind a symmetric NAT", facts, _meets_symmetric(facts)),
    ]
    if facts.behaviour is not None and facts.behaviour.translated:
        beyond.append(_prospect("peers behind the same NAT, on another network", facts, facts.behaviour.hairpin))
    if facts.has_ipv6:
        beyond.append(Prospect("peers with IPv6", "direct", "directly"))
    return (*prospects, *beyond), any(one.way in ("direct", "relay") for one in beyond)


def _facts(local: Sequence[Finding], servers: Sequence[ServerFindings], nat: Sequence[NATBehaviour]) -> _Facts:
    found = {finding.name: finding.ok for finding in local}
    four = [one for one in nat if ":" not in one.mapped[0]]
    relays = [way for way in _all_ways(servers) if way.relayed is not None]
    transports = [transport for transport in _WAYS if any(way.transport == transport for way in relays)]
    return _Facts(
        has_network=bool(found.get("udp")) and bool(found.get("ipv4") or found.get("ipv6")),
        was_asked=bool(servers),
        was_reached=any(way.reached for way in _all_ways(servers)),
        has_udp=bool(nat) or any(way.transport == "udp" and way.reached for way in _all_ways(servers)),
        behaviour=next(iter([*four, *nat]), None),
        has_ipv6=any(":" in one.mapped[0] and not one.translated for one in nat),
        relay=" or ".join(_WAYS[transport] for transport in transports),
    )


def _all_ways(servers: Iterable[ServerFindings]) -> list[Way]:
    return [way for server in servers for way in server.ways]


def _same_network(facts: _Facts) -> Prospect:
    if facts.has_network:
        return Prospect("peers on the same network", "direct", "directly")
    return Prospect("peers on the same network", "no", "no: there is no network, or UDP does not work on this machine")


def _meets_port_restricted(facts: _Facts) -> bool | None:
    if facts.behaviour is None or facts.behaviour.mapping is None:
        return None
    return not facts.behaviour.is_symmetric


def _meets_symmetric(facts: _Facts) -> bool | None:
    behaviour = facts.behaviour
    if behaviour is None or behaviour.mapping is None:
        return None
    if behaviour.is_symmetric or behaviour.filtering is Dependence.ADDRESS_AND_PORT:
        return False
    return None if behaviour.filtering is None else True


def _prospect(peer: str, facts: _Facts, directly: bool | None) -> Prospect:
    """``directly`` is whether a direct path is to be had where UDP passes; None when that is not known."""
    if facts.has_udp and directly:
        return Prospect(peer, "direct", "directly")
    relay = f"through the relay, over {facts.relay}"
    if facts.has_udp and directly is None:
        otherwise = f"else {relay}" if facts.relay else "else it needs a TURN server"
        return Prospect(peer, "relay" if facts.relay else "unknown", f"perhaps directly, {otherwise}")
    if facts.relay:
        return Prospect(peer, "relay", relay)
    return Prospect(peer, "no", "no: that needs a TURN server" if facts.has_udp else "no: UDP is blocked, and no relay")


def advise(local: Sequence[Finding], servers: Sequence[ServerFindings], nat: Sequence[NATBehaviour]) -> tuple[str, ...]:
    """What to do about it, most important first."""
    facts = _facts(local, servers, nat)
    ways = _all_ways(servers)
    lines = []
    if not facts.was_asked:
        lines.append(
            "Give the servers that the application uses to learn more: "
            "python -m webrtc_py doctor stun:HOST turn:HOST --username NAME --credential WORD"
        )
    elif not facts.was_reached:
        lines.append("No server was reached at all: is the network there, are the servers, and are the URLs right?")
    elif not facts.has_udp:
        reached = sorted({_WAYS[way.transport] for way in ways if way.reached})
        streams = f"{' and '.join(reached)} {'does' if len(reached) == 1 else 'do'}"
        lines.append(
            f"UDP does not get through, {streams}: give the application TURN servers with ?transport=tcp "
            "or turns:, on port 443 if other networks like this one matter."
        )
    if facts.was_asked and not facts.relay:
        lines.append(_about_relays(servers, facts))
    if facts.behaviour is not None and facts.behaviour.mapping is None and facts.behaviour.translated:
        lines.append("Give a second server on another address: then it shows whether the NAT is symmetric.")
    if any(finding.name == "multicast" and finding.ok is False for finding in local):
        lines.append("Without multicast the names behind which browsers hide their addresses cannot be resolved.")
    return tuple(line for line in lines if line)


def _about_relays(servers: Sequence[ServerFindings], facts: _Facts) -> str:
    problems = sorted({way.relay_problem for way in _all_ways(servers) if way.relay_problem})
    if problems:
        return f"No relay was to be had: {'; '.join(problems)}."
    if any(server.url.startswith("turn") and not any(way.reached for way in server.ways) for server in servers):
        return "No TURN server was reached."
    needs_relay = not facts.has_udp or _meets_symmetric(facts) is not True
    return "No relay was asked for: give a turn: URL with --username and --credential." if needs_relay else ""
