"""``python -m webrtc_py``: what this machine gathers, and why a server gives nothing."""

from __future__ import annotations

import argparse
import asyncio
import logging
import ssl
import sys
import time
from collections.abc import Sequence

from .errors import WebRTCError
from .ice_gatherer import GathererListener, ICEGatherer
from .ice_parameters import ICECandidate, ICECandidateError, ICEGatherOptions, ICEServer
from .setting_engine import SettingEngine
from .states import ICETransportPolicy


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; its exit status: 0, 1 when nothing was found, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(prog="python -m webrtc_py", description="WebRTC from the command line.")
    commands = parser.add_subparsers(required=True, metavar="command")
    gather = commands.add_parser(
        "gather",
        help="print the ICE candidates of this machine as they are found",
        description="Print each ICE candidate as it is found, with type, address, priority, server and time, "
        "or why a server gave none.",
    )
    gather.add_argument(
        "urls", nargs="*", metavar="url", help="stun:host[:port], turn:host[:port][?transport=tcp], ..."
    )
    gather.add_argument("--username", default="", help="for the TURN servers")
    gather.add_argument("--credential", default="", help="for the TURN servers")
    gather.add_argument("--policy", default="all", choices=[policy.value for policy in ICETransportPolicy])
    gather.add_argument("--timeout", type=float, default=5.0, help="seconds that a server has to answer")
    gather.add_argument("--loopback", action="store_true", help="include loopback addresses")
    gather.add_argument("--insecure", action="store_true", help="accept any certificate of a turns: server")
    gather.add_argument("--verbose", action="store_true", help="log what happens")
    gather.set_defaults(run=_gather)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.DEBUG if options.verbose else logging.WARNING, format="%(message)s")
    try:
        status: int = asyncio.run(options.run(options))
    except (WebRTCError, ValueError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return status


async def _gather(options: argparse.Namespace) -> int:
    settings = SettingEngine()
    settings.set_stun_gather_timeout(options.timeout)
    settings.set_include_loopback_candidate(options.loopback)
    if options.insecure:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        settings.set_turn_tls_context(context)
    servers = [ICEServer(url, options.username, options.credential) for url in options.urls]
    shown = _Shown()
    async with ICEGatherer(ICEGatherOptions(servers, options.policy), settings) as gatherer:
        gatherer.add_listener(shown)
        await gatherer.gather()
        await gatherer.gathering_complete()
    return 0 if shown.found else 1


class _Shown(GathererListener):
    """Prints what is found, with the time since the beginning."""

    def __init__(self) -> None:
        self.found = 0
        self._started = time.monotonic()

    def local_candidate(self, candidate: ICECandidate | None) -> None:
        if candidate is None:
            self._show(f"done: {self.found} candidate{'' if self.found == 1 else 's'}")
        else:
            self.found += 1
            self._show(_describe(candidate))

    def gathering_failed(self, error: ICECandidateError) -> None:
        source = f" from {error.address}" if error.address else ""
        self._show(f"error  {error.error_code} {error.error_text}  {error.url}{source}")

    def _show(self, line: str) -> None:
        print(f"{time.monotonic() - self._started:7.3f} s  {line}", flush=True)


def _describe(candidate: ICECandidate) -> str:
    host = f"[{candidate.address}]" if ":" in candidate.address else candidate.address
    address = f"{host}:{candidate.port}"
    parts = [f"{candidate.typ:<6}", f"{candidate.protocol}", f"{address:<28}", f"priority {candidate.priority:<10}"]
    if candidate.related_address:
        parts.append(f"from {candidate.related_address}:{candidate.related_port}")
    if candidate.url:
        parts.append(candidate.url)
    return "  ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
