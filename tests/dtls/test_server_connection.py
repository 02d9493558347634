"""A client of a server that is known by its name: whose certificate is taken, and whose is not."""

from __future__ import annotations

import ssl

import pytest

from tests.support.dtls_server import DTLSServerSession
from tests.support.server_certificate import server_certificate
from webrtc_py.dtls import Closed, ConnectionEvent, Failed, HandshakeCompleted, ServerConnection, Trust
from webrtc_py.dtls.check import names_host
from webrtc_py.train import Train


def der(*names: str, expired: bool = False) -> bytes:
    return ssl.PEM_cert_to_DER_cert(server_certificate(*names, expired=expired).certificate.decode())


class Exchange:
    """A client and a server; ``now`` moves by hand, and ``lose`` says which datagrams are lost."""

    def __init__(self, host: str, trust: Trust, *names: str, expired: bool = False) -> None:
        self.client = ServerConnection(host, trust, bytearray(1 << 17), bytearray(1 << 17))
        self.server = DTLSServerSession(server_certificate(*names, expired=expired))
        self.now = 100.0
        self.events: list[ConnectionEvent] = []
        self.at_server: list[bytes] = []
        self.at_client: list[bytes] = []
        self.lost = 0

    def start(self) -> Exchange:
        self.client.start(self.now)
        self.flush()
        return self

    def flush(self) -> None:
        for _ in range(20):
            for train in self.client.datagrams_to_send(self.now):
                self._to_server(train)
            self.events += self.client.events()
            output = self.server.output()
            if not output:
                break
            for datagram in output:
                for train in self.client.receive(Train.of(datagram), self.now):
                    self.at_client += [bytes(one) for one in train]

    def _to_server(self, train: Train) -> None:
        for datagram in train:
            if self.lost:
                self.lost -= 1
            else:
                self.at_server += self.server.receive(bytes(datagram))

    def send(self, data: bytes) -> None:
        for train in self.client.seal(Train.of(data)):
            self._to_server(train)
        self.flush()

    def tick(self) -> None:
        due = self.client.next_timeout()
        assert due is not None
        self.now = due
        self.client.handle_timeout(self.now)
        self.flush()


@pytest.mark.row("TRN-16")
@pytest.mark.parametrize("host", ["turn.example", "TURN.example.", "192.0.2.3", "2001:db8::3", "a.wild.example"])
def test_a_server_with_the_right_name_and_a_trusted_signature(host: str) -> None:
    names = ("turn.example", "192.0.2.3", "2001:db8::3", "*.wild.example")
    exchange = Exchange(host, Trust((der(*names),)), *names).start()
    [event] = exchange.events
    assert isinstance(event, HandshakeCompleted)
    assert event.remote_certificate == der(*names)
    assert event.srtp_profile is None
    is_name = "example" in host
    assert exchange.server.server_name == (host.encode() if is_name else None)
    exchange.send(b"hello")
    exchange.server.send(b"welcome")
    exchange.flush()
    assert (exchange.at_server, exchange.at_client) == ([b"hello"], [b"welcome"])
    exchange.client.close(exchange.now)
    exchange.flush()
    assert exchange.server.closed
    assert exchange.events[1:] == [Closed(by_peer=False)]


def test_the_server_closes() -> None:
    exchange = Exchange("turn.example", Trust((der("turn.example"),)), "turn.example").start()
    exchange.server.close()
    exchange.flush()
    assert exchange.events[1:] == [Closed(by_peer=True)]


@pytest.mark.row("TRN-16")
@pytest.mark.parametrize(
    ("host", "trusted", "expired", "reason"),
    [
        ("other.example", True, False, "it is not for other.example"),
        ("example", True, False, "it is not for example"),
        ("sub.turn.example", True, False, "it is not for sub.turn.example"),
        ("192.0.2.3", True, False, "it is not for 192.0.2.3"),
        ("turn.example", False, False, "it is self-signed"),
        ("turn.example", True, True, "it has expired"),
    ],
)
def test_a_server_with_another_name_or_nobody_to_vouch_for_it(
    host: str, trusted: bool, expired: bool, reason: str
) -> None:
    authority = der("turn.example", expired=expired) if trusted else der("turn.example", "unrelated")
    exchange = Exchange(host, Trust((authority,)), "turn.example", expired=expired).start()
    [event] = exchange.events
    assert isinstance(event, Failed)
    assert event.reason == f"its certificate is not trusted: {reason}"
    assert not exchange.server.established


def test_the_systems_authorities_do_not_vouch_for_a_certificate_that_a_test_made() -> None:
    [event] = Exchange("turn.example", Trust(), "turn.example").start().events
    assert isinstance(event, Failed)
    assert "not trusted" in event.reason


@pytest.mark.parametrize("trust", [Trust((), verify=False), Trust((der("turn.example"),), check_name=False)])
def test_who_wants_less_gets_less(trust: Trust) -> None:
    [event] = Exchange("other.example", trust, "turn.example").start().events
    assert isinstance(event, HandshakeCompleted)


def test_lost_flights_are_sent_again() -> None:
    exchange = Exchange("turn.example", Trust((der("turn.example"),)), "turn.example")
    exchange.lost = 3
    exchange.start()
    for _ in range(3):
        assert exchange.events == []
        exchange.tick()
    assert exchange.now - 100.0 == pytest.approx(0.1 + 0.2 + 0.4)
    [event] = exchange.events
    assert isinstance(event, HandshakeCompleted)


def test_a_server_that_does_not_answer() -> None:
    exchange = Exchange("turn.example", Trust(), "turn.example")
    exchange.lost = 1 << 20
    exchange.start()
    while not exchange.events:
        exchange.tick()
    [event] = exchange.events
    assert isinstance(event, Failed)
    assert "no answer" in event.reason
    assert exchange.now - 100.0 == pytest.approx(30.0)


def test_a_certificate_without_names_is_nobodys() -> None:
    with pytest.raises(ValueError):
        names_host(b"rubbish", "turn.example")
