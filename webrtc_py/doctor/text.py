"""The report for people: aligned lines, with ``ok`` or ``FAIL`` in front of what was tried."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from ..ice.candidate import format_address
from ..runtime.network import Address
from .findings import Finding, Report, ServerFindings, Way
from .nat import NATBehaviour

_MARKS = {True: "ok", False: "FAIL", None: "--"}
_WAY_MARKS = {"direct": "ok", "relay": "ok", "no": "FAIL", "unknown": "?"}


def as_lines(report: Report) -> Iterator[str]:
    """A screenful."""
    yield "this machine"
    for finding in report.local:
        yield _line(_mark_of(finding), finding.name, finding.text)
    for server in report.servers:
        yield ""
        yield server.url
        yield from _server(server)
    if report.nat:
        yield ""
        yield "between us and the servers"
        for behaviour in report.nat:
            yield from _behaviour(behaviour)
    yield ""
    yield "what connects from here"
    width = max(len(prospect.peer) for prospect in report.prospects)
    for prospect in report.prospects:
        yield _line(_WAY_MARKS[prospect.way], prospect.peer, prospect.text, width)
    if report.advice:
        yield ""
        yield from report.advice


def as_json(report: Report) -> dict[str, Any]:
    """The same as plain data; addresses are ``[host, port]``, times are seconds."""
    return dataclasses.asdict(report)


def _line(mark: str, name: str, text: str, width: int = 12) -> str:
    return f"  {mark:<5} {name:<{width}}  {text}"


def _mark_of(finding: Finding) -> str:
    return _MARKS[finding.ok]


def _server(server: ServerFindings) -> Iterator[str]:
    if server.problem:
        yield _line("FAIL", "name", server.problem)
    for way in server.ways:
        yield _line(
            "ok" if way.reached else "FAIL" if way.is_named else "no",
            f"{way.transport} {_family(way.server)}",
            _way(way),
        )
        if way.relayed is not None:
            yield _line("ok", "     relay", f"at {format_address(*way.relayed)}")
        elif way.relay_problem:
            yield _line("FAIL", "     relay", way.relay_problem)


def _way(way: Way) -> str:
    if not way.reached:
        return f"{way.problem} ({format_address(*way.server)})"
    parts = [format_address(*way.server)]
    if way.took is not None:
        parts.append(f"answers in {way.took * 1000:.0f} ms")
    if way.mapped is not None:
        parts.append(f"sees us as {format_address(*way.mapped)}")
    if way.problem:
        parts.append(way.problem)
    return ", ".join(parts)


def _behaviour(behaviour: NATBehaviour) -> Iterator[str]:
    seen = f", seen as {behaviour.mapped[0]}" if behaviour.translated else ""
    yield _line("--", _family(behaviour.mapped), f"{behaviour.kind}{seen} (by {behaviour.method})")
    if behaviour.translated:
        yield _line("", "mapping", behaviour.mapping or "unknown")
    yield _line("", "filtering", behaviour.filtering or "unknown")
    if behaviour.hairpin is not None:
        yield _line("", "hairpinning", "yes" if behaviour.hairpin else "no")


def _family(address: Address) -> str:
    return "ipv6" if ":" in address[0] else "ipv4"
