"""``python -m webrtc_py``: what this machine gathers, what connects from here, and why a server gives nothing."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import ssl
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from .doctor import as_json, as_lines, examine
from .errors import InvalidAccessError, WebRTCError
from .ice.candidate import format_address
from .ice.time_limited import time_limited_credentials
from .ice.url import parse_url
from .ice_gatherer import GathererListener, ICEGatherer
from .ice_parameters import ICECandidate, ICECandidateError, ICEGatherOptions, ICEServer
from .runtime.network import Network
from .runtime.system_network import SystemNetwork
from .setting_engine import SettingEngine
from .states import ICETransportPolicy, MulticastDNSMode, NetworkType

_INTERRUPTED = 130  # as shells have it: 128 and SIGINT's number


def main(arguments: Sequence[str] | None = None, network: Network | None = None) -> int:
    """Run a subcommand. Its exit status: 0, 1 when nothing was found or nothing connects, 2 for wrong arguments,
    130 when it was interrupted. ``network`` replaces the system's."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.DEBUG if options.verbose else logging.WARNING, format="%(message)s")
    try:
        status: int = asyncio.run(options.run(options, network or SystemNetwork()))
    except (WebRTCError, ValueError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return _INTERRUPTED
    return status


def build_parser() -> argparse.ArgumentParser:
    """The command line. ``run`` of what it parses is a coroutine function of the options and a network."""
    parser = argparse.ArgumentParser(prog="python -m webrtc_py", description="WebRTC from the command line.")
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_gather(commands)
    _add_doctor(commands)
    return parser


def _add_gather(commands: Any) -> None:
    gather = commands.add_parser(
        "gather",
        help="print the ICE candidates of this machine as they are found",
        description="Print each ICE candidate as it is found, with the time, its type, address, priority and server, "
        "or why a server gave none. The exit status is 0 when there is a candidate, and 1 when there is none.",
    )
    _add_servers(gather, 5.0)
    gather.add_argument("--policy", default="all", choices=[one.value for one in ICETransportPolicy])
    gather.add_argument(
        "--network", nargs="+", metavar="TYPE", choices=[one.value for one in NetworkType], help="udp4 udp6 tcp4 tcp6"
    )
    gather.add_argument("--interface", nargs="+", metavar="NAME", help="use these interfaces only")
    gather.add_argument("--mdns", action="store_true", help="hide the host's addresses behind .local names")
    gather.add_argument("--loopback", action="store_true", help="include loopback addresses")
    gather.add_argument("--insecure", action="store_true", help="accept any certificate of a turns: server")
    gather.set_defaults(run=_gather)


def _add_doctor(commands: Any) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="find out what connects from here, and why not",
        description="Look at this machine, try UDP, TCP, TLS and DTLS to each server over IPv4 and IPv6, find out what "
        "the NAT does, and say what will and won't connect from here. Without servers nobody is contacted. "
        "The exit status is 0 when something can connect, with servers given something beyond the local "
        "network, and 1 when nothing can.",
    )
    _add_servers(doctor, 3.0)
    doctor.set_defaults(run=_doctor)


def _add_servers(command: argparse.ArgumentParser, timeout: float) -> None:
    """What all subcommands know."""
    command.add_argument(
        "urls",
        nargs="*",
        metavar="url",
        help="stun:host[:port], turn:host[:port][?transport=tcp], turns:host[:port], ...",
    )
    command.add_argument("--username", default="", help="for the TURN servers")
    command.add_argument("--credential", default="", help="for the TURN servers")
    command.add_argument(
        "--secret", default="", help="the TURN servers' shared secret, to make time-limited credentials of"
    )
    command.add_argument("--timeout", type=float, default=timeout, help="seconds that a server has to answer")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.add_argument("--verbose", action="store_true", help="log what happens")


def _credentials(options: argparse.Namespace) -> tuple[str, str]:
    if not options.secret:
        return options.username, options.credential
    if options.credential:
        raise InvalidAccessError("--secret makes the credential: give one of them")
    return time_limited_credentials(options.secret, options.username)


# doctor


async def _doctor(options: argparse.Namespace, network: Network) -> int:
    if not options.timeout > 0:
        raise InvalidAccessError(f"--timeout is {options.timeout!r}; it must be more than 0")
    username, password = _credentials(options)
    urls = [parse_url(url, username, password) for url in options.urls]
    report = await examine(network, urls, timeout=options.timeout)
    _say(json.dumps(as_json(report), indent=2) if options.json else "\n".join(as_lines(report)))
    return 0 if report.can_connect else 1


# gather


async def _gather(options: argparse.Namespace, network: Network) -> int:
    username, credential = _credentials(options)
    servers = [ICEServer(url, username, credential) for url in options.urls]
    printer = _JSONPrinter() if options.json else _Printer()
    async with ICEGatherer(ICEGatherOptions(servers, options.policy), _settings(options, network)) as gatherer:
        gatherer.add_listener(printer)
        try:
            await gatherer.gather()
            await gatherer.gathering_complete()
        except asyncio.CancelledError:
            printer.summarize("interrupted")
            raise
    printer.summarize("done")
    return 0 if printer.kinds else 1


def _settings(options: argparse.Namespace, network: Network) -> SettingEngine:
    settings = SettingEngine()
    settings.set_net(network)
    settings.set_stun_gather_timeout(options.timeout)
    settings.set_include_loopback_candidate(options.loopback)
    if options.network:
        settings.set_network_types(options.network)
    if options.mdns:
        settings.set_ice_multicast_dns_mode(MulticastDNSMode.QUERY_AND_GATHER)
    if options.interface:
        present = [interface.name for interface in network.interfaces()]
        missing = [name for name in options.interface if name not in present]
        if missing:
            raise InvalidAccessError(f"there is no interface {', '.join(missing)}; there are {', '.join(present)}")
        settings.set_interface_filter(lambda name: name in options.interface)
    if options.insecure:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        settings.set_turn_tls_context(context)
    return settings


class _Printer(GathererListener):
    """Prints what is found, with the milliseconds since the beginning."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        """How many candidates there are of each type."""
        self.errors = 0
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()

    def local_candidate(self, candidate: ICECandidate | None) -> None:
        if candidate is not None:
            self.kinds[str(candidate.typ)] += 1
            self.show_candidate(self._elapsed(), candidate)

    def gathering_failed(self, error: ICECandidateError) -> None:
        self.errors += 1
        self.show_error(self._elapsed(), error)

    def summarize(self, how: str) -> None:
        """The last line."""
        self.show_summary(self._elapsed(), how)

    def show_candidate(self, elapsed: float, candidate: ICECandidate) -> None:
        transport = candidate.protocol if candidate.tcp_type is None else f"{candidate.protocol} {candidate.tcp_type}"
        address = format_address(candidate.address, candidate.port)
        parts = [f"{candidate.typ:<6}", transport, f"{address:<28}", f"priority {candidate.priority:<10}"]
        if candidate.related_address:
            parts.append(f"from {format_address(candidate.related_address, candidate.related_port or 0)}")
        if candidate.url:
            parts.append(candidate.url)
        if candidate.relay_protocol:
            parts.append(f"over {candidate.relay_protocol}")
        self._print(elapsed, "  ".join(parts))

    def show_error(self, elapsed: float, error: ICECandidateError) -> None:
        source = f" from {error.address}" if error.address else ""
        self._print(elapsed, f"error  {error.error_code} {error.error_text}  {error.url}{source}")

    def show_summary(self, elapsed: float, how: str) -> None:
        kinds = ", ".join(f"{number} {kind}" for kind, number in self.kinds.items())
        errors = f"; {_count(self.errors, 'error')}" if self.errors else ""
        found = _count(self.kinds.total(), "candidate")
        self._print(elapsed, f"{how}: {found}{f' ({kinds})' if kinds else ''}{errors}")

    def _elapsed(self) -> float:
        """Milliseconds since the beginning."""
        return (self._loop.time() - self._started) * 1000

    def _print(self, elapsed: float, text: str) -> None:
        _say(f"{elapsed:8.1f} ms  {text}")


class _JSONPrinter(_Printer):
    """The same as an object a line, so that a program can read along."""

    def show_candidate(self, elapsed: float, candidate: ICECandidate) -> None:
        self._dump(
            elapsed,
            candidate=candidate.candidate,
            type=candidate.typ,
            protocol=candidate.protocol,
            tcp_type=candidate.tcp_type,
            address=candidate.address,
            port=candidate.port,
            priority=candidate.priority,
            related_address=candidate.related_address,
            related_port=candidate.related_port,
            url=candidate.url,
            relay_protocol=candidate.relay_protocol,
        )

    def show_error(self, elapsed: float, error: ICECandidateError) -> None:
        self._dump(elapsed, error=error.error_text, error_code=error.error_code, url=error.url, address=error.address)

    def show_summary(self, elapsed: float, how: str) -> None:
        self._dump(elapsed, summary=how, candidates=dict(self.kinds), errors=self.errors)

    def _dump(self, elapsed: float, **fields: Any) -> None:
        _say(json.dumps({"ms": round(elapsed, 1), **fields}))


def _say(text: str) -> None:
    """Print at once. Whoever reads along may have seen enough, as ``head`` has; that is no error of ours."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


if __name__ == "__main__":
    sys.exit(main())
