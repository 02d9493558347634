"""Against the openssl program over real sockets: another version of OpenSSL than the one in our process."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.dtls.foreign import deliver, take
from tests.dtls.pair import End, make_connection
from webrtc_py.certificate import Certificate
from webrtc_py.dtls import Closed, SRTPProfile
from webrtc_py.states import DTLSRole

pytestmark = [
    pytest.mark.interop,
    pytest.mark.realtime,
    pytest.mark.needs("openssl"),
]

PROFILE = SRTPProfile.SRTP_AES128_CM_SHA1_80
CERTIFICATES = {"ECDSA": Certificate.generate(), "RSA": Certificate.generate("RSA")}


class Program:
    """``openssl s_client`` or ``s_server``, and what it prints."""

    def __init__(self, arguments: list[str], certificate: Certificate, directory: Path) -> None:
        pem = directory / "certificate.pem"
        pem.write_text(certificate.pem)
        self._output = directory / "output"
        self._file: IO[bytes] = self._output.open("wb")
        files = ["-cert", str(pem), "-key", str(pem)]
        keys = ["-keymatexport", "EXTRACTOR-dtls_srtp", "-keymatexportlen", str(PROFILE.keying_material_length)]
        self.process = subprocess.Popen(
            ["openssl", *arguments, "-dtls1_2", *files, "-use_srtp", PROFILE.name, *keys],
            stdin=subprocess.PIPE,
            stdout=self._file,
            stderr=subprocess.STDOUT,
        )

    @property
    def output(self) -> str:
        return self._output.read_text(errors="replace")

    def type(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()
        self._file.close()


def run(end: End, udp: socket.socket, until: Callable[[], object]) -> None:
    """Carry datagrams between our engine and the program until something has come about."""
    address = None
    give_up = time.monotonic() + 100
    while not until():
        assert time.monotonic() < give_up, end.events
        now = time.monotonic()
        due = end.connection.next_timeout()
        if due is not None and due <= now:
            end.connection.handle_timeout(now)
        outgoing = take(end, now)
        udp.settimeout(0.05)
        try:
            for datagram in outgoing:
                udp.send(datagram) if address is None else udp.sendto(datagram, address)
            datagram, address = udp.recvfrom(65536)
        except (TimeoutError, ConnectionRefusedError):
            continue
        outgoing = deliver(end, datagram, now=time.monotonic())
        for datagram in outgoing:
            udp.sendto(datagram, address)


@pytest.fixture
def udp() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        yield found


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.row("DTL-12", "FPR-13")
@pytest.mark.parametrize("kind", CERTIFICATES)
@pytest.mark.parametrize("role", [DTLSRole.CLIENT, DTLSRole.SERVER])
def test_connects_agrees_on_keys_and_carries_data(
    role: DTLSRole, kind: str, tmp_path: Path, udp: socket.socket
) -> None:
    """As a client through the program's cookie exchange (-listen)."""
    end = End(make_connection(role, remote_fingerprints=CERTIFICATES[kind].get_fingerprints()))
    if role is DTLSRole.CLIENT:
        port = free_port()
        arguments = ["s_server", "-accept", f"127.0.0.1:{port}", "-Verify", "1", "-listen"]
        udp.connect(("127.0.0.1", port))
    else:
        arguments = ["s_client", "-connect", f"127.0.0.1:{udp.getsockname()[1]}"]
    program = Program(arguments, CERTIFICATES[kind], tmp_path)
    try:
        end.connection.start(time.monotonic())
        run(end, udp, lambda: end.completed and "Keying material:" in program.output)
        keys = end.connection.srtp_keys()
        assert keys is not None
        assert keys.profile is PROFILE
        [material] = re.findall(r"Keying material: ([0-9A-F]+)", program.output)
        client = (keys.local_key, keys.remote_key, keys.local_salt, keys.remote_salt)
        server = (keys.remote_key, keys.local_key, keys.remote_salt, keys.local_salt)
        assert bytes.fromhex(material) == b"".join(client if role is DTLSRole.CLIENT else server)

        peer = udp.getpeername() if role is DTLSRole.CLIENT else None
        program.type(b"hello from openssl\n")
        run(end, udp, lambda: end.data)
        assert end.data == [b"hello from openssl\n"]
        if peer is not None:
            for datagram in end.seal(b"hello from us\n"):
                udp.send(datagram)
            run(end, udp, lambda: "hello from us" in program.output)
        if role is DTLSRole.SERVER:
            program.type(b"Q\n")
            run(end, udp, lambda: Closed(by_peer=True) in end.events)
    finally:
        program.end()
