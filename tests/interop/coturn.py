"""Runs Debian's ``turnserver`` on loopback: UDP, TCP, TLS and DTLS on ports of its own, long-term credentials."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import itertools
import os
import random
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USERNAME = "alice"
PASSWORD = "correct-horse"
REALM = "coturn.test"
_KINDS = (socket.SOCK_STREAM, socket.SOCK_DGRAM)
_START_TIMEOUT = 60.0


@dataclass(frozen=True)
class Coturn:
    """A running server. ``port`` speaks UDP and TCP, ``tls_port`` TLS and DTLS; both on IPv4 and IPv6 loopback."""

    port: int
    tls_port: int
    certificate: Path
    log: Path

    def url(self, scheme: str = "turn", host: str = "127.0.0.1", transport: str = "") -> str:
        port = self.tls_port if scheme == "turns" else self.port
        return f"{scheme}:{host}:{port}" + (f"?transport={transport}" if transport else "")

    def tls_context(self) -> ssl.SSLContext:
        """Trusts the server's own certificate, and nobody else's."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")


def find_turnserver() -> str | None:
    return shutil.which("turnserver")


@contextlib.contextmanager
def coturn(*options: str, users: bool = True) -> Iterator[Coturn]:
    """Start a server with more ``options``, and stop it in the end. ``users`` says whether it knows one by name."""
    program = find_turnserver()
    assert program is not None
    with tempfile.TemporaryDirectory(prefix="coturn-") as name:
        directory = Path(name)
        port, tls_port = _free_ports()
        certificate, key = make_certificate(directory, "127.0.0.1", "::1")
        log = directory / "turnserver.log"
        command = [
            program,
            "-n",
            "--listening-ip=127.0.0.1",
            "--relay-ip=127.0.0.1",
            f"--listening-port={port}",
            f"--tls-listening-port={tls_port}",
            "--no-cli",
            # A relay that reaches its own host's services is refused by default, and here everything is one host.
            "--allow-loopback-peers",
            *(("--lt-cred-mech", f"--user={USERNAME}:{PASSWORD}") if users else ()),
            f"--realm={REALM}",
            f"--cert={certificate}",
            f"--pkey={key}",
            f"--log-file={log}",
            "--simple-log",
            "--no-stdout-log",
            f"--pidfile={directory / 'turnserver.pid'}",
            f"--userdb={directory / 'turndb'}",
            "--min-port=49152",
            "--max-port=49999",
            "--verbose",
            *options,
        ]
        if has_ipv6_loopback():
            command += ["--listening-ip=::1", "--relay-ip=::1"]
        # Only what it needs: not the variables of whoever runs the tests.
        environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": name}
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=directory, env=environment
        )
        try:
            _wait_until_it_answers(process, port, log)
            yield Coturn(port, tls_port, certificate, log)
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)


def has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def _free_ports() -> list[int]:
    """Two that no other program is given by chance before the server binds them: below those that systems give away.

    The server takes the port above each as well, for RFC 5780.
    """
    chosen = random.sample(range(20000, 32768, 2), 100)
    free = (port for port in chosen if all(_is_free(kind, one) for kind in _KINDS for one in (port, port + 1)))
    return list(itertools.islice(free, 2))


def _is_free(kind: socket.SocketKind, port: int) -> bool:
    with socket.socket(socket.AF_INET, kind) as sock:
        try:
            sock.bind(("", port))
        except OSError:
            return False
    return True


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Ask with Binding requests: the server listens some time after its process runs."""
    request = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)
    end = time.monotonic() + _START_TIMEOUT
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.1)
        while time.monotonic() < end and process.poll() is None:
            with contextlib.suppress(OSError):
                sock.sendto(request, ("127.0.0.1", port))
                sock.recv(1000)
                return
    text = log.read_text(errors="replace") if log.exists() else "no log"
    raise RuntimeError(f"turnserver did not start (exit {process.poll()}):\n{text[-2000:]}")


def make_certificate(directory: Path, *addresses: str) -> tuple[Path, Path]:
    """The files of a self-signed certificate for localhost and these addresses, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [
        x509.DNSName("localhost"),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses),
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        # Only an authority can be taken out of an SSLContext again, to be trusted over DTLS too.
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_path, key_path = directory / "cert.pem", directory / "key.pem"
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_path, key_path
