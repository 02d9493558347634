"""A peer that is OpenSSL as it comes, without any of our code."""

from __future__ import annotations

from collections.abc import Callable

from OpenSSL import SSL

from tests.dtls.pair import End
from webrtc_py.certificate import Certificate
from webrtc_py.dtls.record import cut_flight
from webrtc_py.train import Train

Prepare = Callable[[SSL.Context], object]


class Foreign:
    """Keeps nothing back: what it wrote since the last call is returned, in datagrams."""

    def __init__(self, server: bool, certificate: Certificate | None = None, prepare: Prepare | None = None) -> None:
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_options(SSL.OP_NO_QUERY_MTU)
        context.set_verify(SSL.VERIFY_PEER, lambda *arguments: True)
        if certificate is not None:
            context.use_certificate(certificate.x509)
            context.use_privatekey(certificate.private_key)
        if prepare is not None:
            prepare(context)
        self.connection = SSL.Connection(context, None)
        self.connection.set_ciphertext_mtu(1200)
        self.server = server
        if server:
            self.connection.set_accept_state()
        else:
            self.connection.set_connect_state()
        self.completed = False
        self.data: list[bytes] = []
        self.error: SSL.Error | None = None

    def receive(self, *datagrams: bytes) -> list[bytes]:
        for datagram in datagrams:
            self.connection.bio_write(datagram)
            self.step()
        if not datagrams:
            self.step()
        return self.output()

    def step(self) -> None:
        try:
            if not self.completed:
                self.connection.do_handshake()
                self.completed = True
            while True:
                self.data.append(self.connection.recv(16384))
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            self.error = error

    def output(self) -> list[bytes]:
        try:
            return cut_flight(self.connection.bio_read(1 << 16), 1200)
        except SSL.WantReadError:
            return []

    def seal(self, data: bytes) -> bytes:
        self.connection.send(data)
        return self.connection.bio_read(1 << 16)


def meet(end: End, foreign: Foreign, now: float = 0.0) -> None:
    """Carry datagrams to and fro until both fall silent."""
    end.connection.start(now)
    inbound = [] if foreign.server else foreign.receive()
    while True:
        for datagram in inbound:
            end.receive(datagram, now)
        outbound = take(end, now)
        inbound = foreign.receive(*outbound) if outbound else []
        if not outbound and not inbound:
            return


def take(end: End, now: float = 0.0) -> list[bytes]:
    """What an engine wants to send; its events are noted."""
    datagrams = [bytes(train.data) for train in end.connection.datagrams_to_send(now)]
    end.sent += datagrams
    end.events += end.connection.events()
    return datagrams


def deliver(end: End, *datagrams: bytes, now: float = 0.0) -> list[bytes]:
    """Hand datagrams to an engine, one by one; what it then wants to send."""
    for datagram in datagrams:
        for train in end.connection.receive(Train.of(datagram), now):
            end.data += [bytes(data) for data in train]
    return take(end, now)
