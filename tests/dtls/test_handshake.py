"""The handshake of two engines: flights, loss, sizes, and who the peer is."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest

from tests.dtls.foreign import deliver, take
from tests.dtls.pair import CERTIFICATE, OTHER_CERTIFICATE, End, Pair, make_connection
from webrtc_py.certificate import Certificate
from webrtc_py.dtls import Closed, Failed, SRTPProfile
from webrtc_py.dtls.fingerprint import Fingerprint
from webrtc_py.dtls.flight import MAX_TIMEOUT
from webrtc_py.dtls.record import parse_records
from webrtc_py.errors import InvalidStateError
from webrtc_py.states import DTLSRole


@pytest.fixture(scope="module")
def rsa_certificate() -> Certificate:
    return Certificate.generate("RSA")


def test_both_ends_complete_and_know_each_other() -> None:
    pair = Pair(
        make_connection(DTLSRole.CLIENT, CERTIFICATE, OTHER_CERTIFICATE.get_fingerprints()),
        make_connection(DTLSRole.SERVER, OTHER_CERTIFICATE, CERTIFICATE.get_fingerprints()),
    ).connect()
    assert pair.client.completed is not None
    assert pair.server.completed is not None
    assert pair.client.completed.remote_certificate == OTHER_CERTIFICATE.der
    assert pair.server.completed.remote_certificate == CERTIFICATE.der
    assert pair.client.completed.cipher_suite == "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
    assert pair.client.connection.next_timeout() is pair.server.connection.next_timeout() is None
    # Four flights, each in one datagram, and nothing twice.
    assert (len(pair.client.sent), len(pair.server.sent)) == (2, 2)


def test_it_takes_two_round_trips() -> None:
    pair = Pair.make()
    pair.run(until=0.0401)
    assert pair.connected


@pytest.mark.row("DTL-01")
@pytest.mark.parametrize("lost", [(True, 0), (False, 0), (True, 1), (False, 1)])
def test_each_flight_may_be_lost(lost: tuple[bool, int]) -> None:
    pair = Pair.make(lambda from_client, number, datagram: () if (from_client, number) == lost else (0.01,))
    pair.run(until=0.3)
    assert pair.connected


@pytest.mark.row("DTL-01")
@pytest.mark.parametrize("lost", [(True, 0), (False, 0), (True, 1), (False, 1)])
def test_each_flight_may_be_lost_several_times(lost: tuple[bool, int]) -> None:
    from_client, first = lost
    pair = Pair.make(
        lambda side, number, datagram: () if side is from_client and first <= number < first + 4 else (0.01,)
    )
    pair.run(until=4.0)
    assert pair.connected


@pytest.mark.row("DTL-01")
@pytest.mark.parametrize("loss", [0.2, 0.35, 0.5])
@pytest.mark.parametrize("seed", range(10))
def test_the_handshake_survives_loss_reordering_and_duplicates(loss: float, seed: int) -> None:
    dice = random.Random(f"{loss} {seed}")

    def fate(from_client: bool, number: int, datagram: bytes) -> Sequence[float]:
        return [dice.uniform(0.01, 0.2) for _ in range(dice.choice((1, 1, 2))) if dice.random() > loss]

    pair = Pair.make(fate, mtu=400)
    pair.run(until=40)
    assert pair.connected
    assert max(map(len, pair.client.sent + pair.server.sent)) <= 400


@pytest.mark.row("DTL-01", "DTL-13")
def test_a_client_whom_nobody_answers_backs_off_and_gives_up() -> None:
    client = End(make_connection(DTLSRole.CLIENT))
    client.connection.start(100.0)
    times = [100.0] * len(take(client, 100.0))
    while (due := client.connection.next_timeout()) is not None:
        client.connection.handle_timeout(due)
        times += [due] * len(take(client, due))
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert waits[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert max(waits) == pytest.approx(MAX_TIMEOUT)
    # The same flight each time, in records with numbers of their own.
    assert [datagram[5:11] for datagram in client.sent] == [i.to_bytes(6, "big") for i in range(len(client.sent))]
    assert len({datagram[:5] + datagram[11:] for datagram in client.sent}) == 1
    assert client.events == [
        Failed("no answer from the peer's DTLS: the handshake took more than 30 s", "dtls-failure")
    ]
    assert due is None
    assert times[-1] > 128


@pytest.mark.row("DTL-13")
def test_a_server_whom_nobody_greets_gives_up() -> None:
    server = End(make_connection(DTLSRole.SERVER, handshake_timeout=5.0))
    server.connection.start(0.0)
    assert take(server) == []
    assert server.connection.next_timeout() == 5.0
    server.connection.handle_timeout(5.0)
    take(server)
    assert server.events == [Failed("no answer from the peer's DTLS: the handshake took more than 5 s", "dtls-failure")]


@pytest.mark.row("DTL-13")
def test_a_peer_that_falls_silent_in_the_middle() -> None:
    pair = Pair.make(lambda from_client, number, datagram: () if from_client and number else (0.01,))
    pair.run(until=60)
    assert pair.server.events == [
        Failed("the peer's DTLS stopped answering: the handshake took more than 30 s", "dtls-failure")
    ]


@pytest.mark.row("DTL-02", "DTL-03")
@pytest.mark.parametrize("mtu", [300, 1200])
def test_large_flights_are_cut_to_the_path_and_put_together_in_any_order(
    mtu: int, rsa_certificate: Certificate
) -> None:
    late: dict[bool, float] = {True: 1.0, False: 1.0}

    def fate(from_client: bool, number: int, datagram: bytes) -> Sequence[float]:
        late[from_client] -= 0.001  # what is sent later arrives earlier
        return (0.02 + late[from_client] / 100,)

    pair = Pair(
        make_connection(DTLSRole.CLIENT, rsa_certificate, rsa_certificate.get_fingerprints(), mtu=mtu),
        make_connection(DTLSRole.SERVER, rsa_certificate, rsa_certificate.get_fingerprints(), mtu=mtu),
        fate,
    ).connect()
    sizes = [len(datagram) for datagram in pair.client.sent + pair.server.sent]
    assert max(sizes) <= mtu
    assert len(pair.server.sent) > 2
    for datagram in pair.client.sent + pair.server.sent:
        assert sum(len(found.data) for found in parse_records(memoryview(datagram))) == len(datagram)


@pytest.mark.row("FPR-13")
@pytest.mark.parametrize("client", ["ECDSA", "RSA"])
@pytest.mark.parametrize("server", ["ECDSA", "RSA"])
def test_either_kind_of_certificate_on_either_side(client: str, server: str, rsa_certificate: Certificate) -> None:
    certificates = {"ECDSA": CERTIFICATE, "RSA": rsa_certificate}
    pair = Pair(
        make_connection(DTLSRole.CLIENT, certificates[client], certificates[server].get_fingerprints()),
        make_connection(DTLSRole.SERVER, certificates[server], certificates[client].get_fingerprints()),
    ).connect()
    assert pair.client.completed is not None
    assert pair.client.completed.cipher_suite == f"TLS_ECDHE_{server}_WITH_AES_128_GCM_SHA256"


# Who the peer is

WRONG = [Fingerprint.of(b"another certificate")]


@pytest.mark.row("FPR-04")
@pytest.mark.parametrize("role", [DTLSRole.CLIENT, DTLSRole.SERVER])
@pytest.mark.parametrize("algorithm", ["sha-256", "sha-384", "sha-512"])
def test_a_wrong_certificate_fails_at_once_and_the_peer_is_told(role: DTLSRole, algorithm: str) -> None:
    wrong, right = [Fingerprint.of(b"other", algorithm)], CERTIFICATE.get_fingerprints(algorithm)
    pair = Pair(
        make_connection(DTLSRole.CLIENT, remote_fingerprints=wrong if role is DTLSRole.CLIENT else right),
        make_connection(DTLSRole.SERVER, remote_fingerprints=wrong if role is DTLSRole.SERVER else right),
    )
    pair.run(until=5)
    end, peer = (pair.client, pair.server) if role is DTLSRole.CLIENT else (pair.server, pair.client)
    assert end.events == [Failed("the peer's certificate does not match its fingerprint", "fingerprint-failure")]
    assert end.sent[-1][:1] == b"\x15"
    assert end.sent[-1][-2:] == b"\x02\x2a"  # fatal, bad_certificate (RFC 8122 section 6.2)
    assert peer.events == [Failed("the peer refused the DTLS handshake: bad_certificate (42)", "dtls-failure")]
    assert end.seal(b"secret") == peer.seal(b"secret") == []
    assert end.connection.next_timeout() is None


@pytest.mark.row("FPR-02", "FPR-04")
def test_fingerprints_without_a_usable_one_fail() -> None:
    pair = Pair(
        make_connection(DTLSRole.CLIENT, remote_fingerprints=[Fingerprint("sha-1", "00:" * 19 + "00")]),
        make_connection(DTLSRole.SERVER),
    )
    pair.run(until=5)
    assert pair.client.events == [
        Failed("the peer's certificate does not match its fingerprint", "fingerprint-failure")
    ]


def unverified() -> Pair:
    """A pair whose server does not know yet who the client is, though the handshake is complete."""
    pair = Pair(make_connection(DTLSRole.CLIENT), make_connection(DTLSRole.SERVER, remote_fingerprints=None))
    pair.run(until=1)
    assert pair.client.completed is not None
    assert pair.server.events == []
    return pair


@pytest.mark.row("FPR-06")
def test_data_is_held_until_the_fingerprint_is_known() -> None:
    pair = unverified()
    for data in (b"first", b"second"):
        for datagram in pair.client.seal(data):
            pair.server.receive(datagram, 1.0)
    assert pair.server.data == []
    assert pair.server.seal(b"x") == []
    assert pair.server.connection.next_timeout() is None
    trains = pair.server.connection.set_remote_fingerprints(CERTIFICATE.get_fingerprints(), 2.0)
    assert [bytes(data) for train in trains for data in train] == [b"first", b"second"]
    take(pair.server)
    assert pair.server.completed is not None
    for datagram in pair.client.seal(b"third"):
        pair.server.receive(datagram, 2.0)
    assert pair.server.data == [b"third"]


@pytest.mark.row("FPR-04", "FPR-06")
def test_held_data_is_thrown_away_when_the_fingerprint_is_wrong() -> None:
    pair = unverified()
    for datagram in pair.client.seal(b"first"):
        pair.server.receive(datagram, 1.0)
    assert pair.server.connection.set_remote_fingerprints(WRONG, 2.0) == []
    [alert] = take(pair.server)
    assert alert[0] == 21
    assert pair.server.events == [
        Failed("the peer's certificate does not match its fingerprint", "fingerprint-failure")
    ]
    deliver(pair.client, alert)
    assert pair.client.events[-1] == Closed(by_peer=True)


@pytest.mark.row("FPR-06")
def test_fingerprints_may_come_in_the_middle_of_the_handshake() -> None:
    pair = Pair(make_connection(DTLSRole.CLIENT), make_connection(DTLSRole.SERVER, remote_fingerprints=None))
    pair.run(until=0.015)
    assert pair.server.connection.set_remote_fingerprints(CERTIFICATE.get_fingerprints(), pair.now) == []
    pair.connect()


@pytest.mark.row("FPR-06", "DTL-14")
def test_what_is_held_is_bounded() -> None:
    pair = unverified()
    for _ in range(100):
        for datagram in pair.client.seal(bytes(1100)):
            pair.server.receive(datagram, 1.0)
    trains = pair.server.connection.set_remote_fingerprints(CERTIFICATE.get_fingerprints(), 2.0)
    assert 25 <= sum(len(train) for train in trains) < 30
    assert pair.server.connection.discarded > 70


def test_a_peer_that_closes_before_its_fingerprint_is_known() -> None:
    pair = unverified()
    for datagram in pair.client.seal(b"last words"):
        pair.server.receive(datagram, 1.0)
    pair.client.connection.close(1.0)
    deliver(pair.server, *take(pair.client))
    assert pair.server.events == []
    trains = pair.server.connection.set_remote_fingerprints(CERTIFICATE.get_fingerprints(), 2.0)
    assert [bytes(data) for train in trains for data in train] == [b"last words"]
    take(pair.server)
    assert pair.server.completed is not None
    assert pair.server.events[-1] == Closed(by_peer=True)


# Keys for others, and wrong calls


@pytest.mark.row("DSR-01", "DSR-03", "DSR-07", "DTL-12")
def test_srtp_keys_are_the_same_on_both_ends() -> None:
    pair = Pair.make().connect()
    client, server = pair.client.connection.srtp_keys(), pair.server.connection.srtp_keys()
    assert client is not None
    assert server is not None
    assert client.profile is SRTPProfile.SRTP_AEAD_AES_128_GCM
    assert (client.local_key, client.local_salt) == (server.remote_key, server.remote_salt)
    assert (client.remote_key, client.remote_salt) == (server.local_key, server.local_salt)
    assert client.local_key != client.remote_key
    exported = [end.connection.export_keying_material("EXPERIMENTAL x", 20) for end in (pair.client, pair.server)]
    assert exported[0] == exported[1]


def test_wrong_calls() -> None:
    with pytest.raises(ValueError, match="'client' or 'server'"):
        make_connection(DTLSRole.AUTO)
    connection = make_connection(DTLSRole.SERVER)
    with pytest.raises(InvalidStateError):
        connection.srtp_keys()
    with pytest.raises(InvalidStateError):
        connection.export_keying_material("x", 1)
    connection.start(0.0)
    with pytest.raises(InvalidStateError):
        connection.start(0.0)


def test_close_before_and_in_the_middle_of_the_handshake() -> None:
    for started in (False, True):
        client = End(make_connection(DTLSRole.CLIENT))
        if started:
            client.connection.start(0.0)
            take(client)
        client.connection.close(0.0)
        assert take(client) == []
        assert client.events == [Closed(by_peer=False)]
        assert client.connection.next_timeout() is None
        client.connection.handle_timeout(100.0)
        client.connection.close(0.0)
        assert deliver(client, b"\x16\xfe\xfd" + bytes(100)) == []
        assert client.events == [Closed(by_peer=False)]
