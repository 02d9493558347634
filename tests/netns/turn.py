"""Debian's ``turnserver`` in a namespace of the lab: STUN and TURN over UDP and TCP on 3478, over TLS on 443."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.interop.coturn import PASSWORD, REALM, USERNAME, find_turnserver, make_certificate

from .namespaces import Namespace

_START_TIMEOUT = 60.0


class TurnServer:
    """Running on one address; ``die`` ends it as a crash does, without a word to its clients."""

    def __init__(self, process: subprocess.Popen[bytes], address: str, certificate: Path, log: Path) -> None:
        self._process = process
        self.address = address
        self.certificate = certificate
        self.log = log

    @property
    def stun(self) -> str:
        return f"stun:{self.address}:3478"

    @property
    def udp(self) -> str:
        return f"turn:{self.address}:3478?transport=udp"

    @property
    def tcp(self) -> str:
        return f"turn:{self.address}:3478?transport=tcp"

    @property
    def tls(self) -> str:
        return f"turns:{self.address}:443?transport=tcp"

    def die(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def turn_server(
    namespace: Namespace,
    address: str,
    directory: Path,
    certificate: tuple[Path, Path] | None = None,
    other_address: str = "",
) -> Iterator[TurnServer]:
    """Its files go into a directory of its own; ``certificate`` and key may be shared with other servers.

    With an ``other_address`` of the same family it tells clients what their NAT does (RFC 5780); with one of the other
    family it serves and relays both.
    """
    program = find_turnserver()
    assert program is not None
    certificate_file, key_file = certificate or make_certificate(directory, address)
    log = directory / "turnserver.log"
    command = [
        program,
        "-n",
        f"--listening-ip={address}",
        f"--relay-ip={address}",
        "--listening-port=3478",
        "--tls-listening-port=443",
        "--no-dtls",
        "--no-cli",
        "--lt-cred-mech",
        f"--user={USERNAME}:{PASSWORD}",
        f"--realm={REALM}",
        f"--cert={certificate_file}",
        f"--pkey={key_file}",
        f"--log-file={log}",
        "--simple-log",
        "--no-stdout-log",
        f"--pidfile={directory / 'turnserver.pid'}",
        f"--userdb={directory / 'turndb'}",
    ]
    if other_address:
        command += [f"--listening-ip={other_address}", f"--relay-ip={other_address}"]
    process = subprocess.Popen(
        namespace.command(*command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=directory,
        # Only what it needs: not the variables of whoever runs the tests.
        env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(directory)},
    )
    try:
        _wait_until_it_listens(namespace, process, log)
        yield TurnServer(process, address, certificate_file, log)
    finally:
        process.kill()
        process.wait()


def _wait_until_it_listens(namespace: Namespace, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < end and process.poll() is None:
        listening = namespace.run("ss -Hltun")
        if all(port in listening for port in (":3478", ":443")) and "udp" in listening:
            return
        time.sleep(0.05)
    text = log.read_text(errors="replace") if log.exists() else "no log"
    raise RuntimeError(f"turnserver did not start (exit {process.poll()}):\n{text[-2000:]}")
