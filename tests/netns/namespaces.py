"""Network namespaces of our own: made under names that nobody else has, removed whatever happens in between."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
from pathlib import Path

_PREFIX = "webrtc-py"
_numbers = itertools.count(1)
# Interfaces have the addresses that they are given, and no link-local ones of their own making.
_SET_UP = """
ip link set lo up
test ! -e /proc/sys/net/ipv6 || sysctl -qw net.ipv6.conf.default.addr_gen_mode=1
"""


class Namespace:
    """A network of its own, with loopback up. Named after this process, so that runs beside it do not meet."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.name = f"{_PREFIX}-{os.getpid()}-{next(_numbers)}-{label}"
        _run(["ip", "netns", "add", self.name])
        try:
            self.run(_SET_UP)
        except BaseException:
            self.delete()
            raise

    def command(self, *arguments: str) -> list[str]:
        """How a program is started inside; it keeps the process id of what is started."""
        return ["ip", "netns", "exec", self.name, *arguments]

    def run(self, script: str) -> str:
        """Run a shell script inside. RuntimeError, with what it said, when a line of it fails."""
        return _run(self.command("sh", "-ec", script))

    def nft(self, ruleset: str) -> None:
        """Load rules, all or none of them."""
        _run(self.command("nft", "-f", "-"), ruleset)

    def delete(self) -> None:
        """Remove the namespace, what runs in it, and with it its interfaces and their other ends."""
        _remove(self.name)


def connect(one: Namespace, one_interface: str, other: Namespace, other_interface: str) -> None:
    """A cable between two namespaces; both ends are still down."""
    near, far = (one_interface, one.name), (other_interface, other.name)
    _run(["ip", "link", "add", near[0], "netns", near[1], "type", "veth", "peer", "name", far[0], "netns", far[1]])


def sweep() -> None:
    """Remove what runs that were killed have left behind: the namespaces of processes that are no more."""
    for line in _run(["ip", "netns", "list"]).splitlines():
        name = line.split(" ")[0]
        parts = name.removeprefix(f"{_PREFIX}-").split("-")
        if name.startswith(f"{_PREFIX}-") and parts[0].isdigit() and not Path("/proc", parts[0]).exists():
            # Another run may be sweeping too.
            with contextlib.suppress(RuntimeError):
                _remove(name)


def _remove(name: str) -> None:
    for pid in _run(["ip", "netns", "pids", name]).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    _run(["ip", "netns", "del", name])


def _run(command: list[str], text: str = "") -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=100)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()}\n{text}".rstrip())
    return done.stdout
