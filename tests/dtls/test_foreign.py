"""Against OpenSSL as it comes, and against what Chromium sent."""

from __future__ import annotations

import contextlib
import datetime
import time
from itertools import permutations
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from OpenSSL._util import lib

from tests.dtls.foreign import Foreign, Prepare, deliver, meet, take
from tests.dtls.pair import CERTIFICATE, End, make_connection
from webrtc_py.certificate import Certificate
from webrtc_py.dtls import Closed, Failed, SRTPProfile
from webrtc_py.dtls.record import HandshakeType, parse_records
from webrtc_py.states import DTLSRole

VECTORS = Path(__file__).parent / "vectors"
CHROMIUM_HELLO = [(VECTORS / f"chromium_client_hello_{part}.bin").read_bytes() for part in (1, 2)]
CHROMIUM_SERVER_FLIGHT = (VECTORS / "chromium_server_flight.bin").read_bytes()

ROLES = pytest.mark.parametrize("role", [DTLSRole.CLIENT, DTLSRole.SERVER])


def expired_certificate() -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "anybody")])
    begin = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(begin).not_valid_after(begin + datetime.timedelta(days=1))
    return Certificate(builder.sign(key, hashes.SHA384()), key)


CERTIFICATES = {
    "ECDSA": Certificate.generate(),
    "RSA": Certificate.generate("RSA"),
    "expired": expired_certificate(),
}


def pair_with(
    role: DTLSRole, certificate: Certificate | None = CERTIFICATES["ECDSA"], prepare: Prepare | None = None
) -> tuple[End, Foreign]:
    """Our engine in the given role, and a foreign peer, which have met."""
    fingerprints = (certificate or CERTIFICATE).get_fingerprints()
    end = End(make_connection(role, remote_fingerprints=fingerprints))
    foreign = Foreign(role is DTLSRole.CLIENT, certificate, prepare)
    meet(end, foreign)
    return end, foreign


def data_passes(end: End, foreign: Foreign) -> bool:
    foreign.receive(*end.seal(b"from us"))
    deliver(end, foreign.seal(b"to us"))
    return foreign.data[-1:] == [b"from us"] and end.data[-1:] == [b"to us"]


@pytest.mark.row("FPR-13")
@ROLES
@pytest.mark.parametrize("kind", CERTIFICATES)
def test_either_role_and_any_certificate(role: DTLSRole, kind: str) -> None:
    end, foreign = pair_with(role, CERTIFICATES[kind])
    assert end.completed is not None
    assert end.completed.remote_certificate == CERTIFICATES[kind].der
    assert end.completed.srtp_profile is None
    assert data_passes(end, foreign)


@pytest.mark.row("FPR-13")
@ROLES
def test_peers_with_rsa_suites_only(role: DTLSRole) -> None:
    """Nothing else is possible where we are client; where we are server our own certificate must be RSA too."""
    end = End(make_connection(role, CERTIFICATES["RSA"], CERTIFICATES["RSA"].get_fingerprints()))
    foreign = Foreign(
        role is DTLSRole.CLIENT,
        CERTIFICATES["RSA"],
        lambda context: context.set_cipher_list(b"ECDHE-RSA-AES128-GCM-SHA256"),
    )
    meet(end, foreign)
    assert data_passes(end, foreign)


@pytest.mark.row("SEC-01")
@ROLES
def test_the_suite_and_the_curve_that_all_must_have(role: DTLSRole) -> None:
    def prepare(context: SSL.Context) -> None:
        context.set_cipher_list(b"ECDHE-ECDSA-AES128-GCM-SHA256")
        assert lib.SSL_CTX_set1_curves_list(context._context, b"P-256")

    end, foreign = pair_with(role, prepare=prepare)
    assert data_passes(end, foreign)
    assert foreign.connection.get_protocol_version_name() == "DTLSv1.2"
    assert foreign.connection.get_group_name() in ("secp256r1", "prime256v1")


@pytest.mark.row("SEC-08", "DTL-13")
@ROLES
def test_suites_without_forward_secrecy_or_aead_are_refused(role: DTLSRole) -> None:
    end, foreign = pair_with(
        role,
        CERTIFICATES["RSA"],
        lambda context: context.set_cipher_list(b"AES128-SHA:AES128-GCM-SHA256:ECDHE-RSA-AES128-SHA@SECLEVEL=0"),
    )
    if role is DTLSRole.CLIENT:
        assert foreign.error is not None
        end.connection.handle_timeout(2.0)
        take(end)
        assert end.events == [Failed("the peer refused the DTLS handshake: handshake_failure (40)", "dtls-failure")]
    else:
        assert end.events == [Failed("DTLS handshake failed: no shared cipher", "dtls-failure")]


@pytest.mark.row("FPR-05")
def test_a_client_without_a_certificate_is_refused() -> None:
    end, foreign = pair_with(DTLSRole.SERVER, None)
    assert end.events == [Failed("DTLS handshake failed: peer did not return a certificate", "dtls-failure")]
    assert "alert" in str(foreign.error)


@pytest.mark.row("DSR-01")
@ROLES
@pytest.mark.parametrize("profile", SRTPProfile)
def test_the_common_srtp_profile_is_chosen(role: DTLSRole, profile: SRTPProfile) -> None:
    end, foreign = pair_with(
        role,
        prepare=lambda context: context.set_tlsext_use_srtp(f"SRTP_AES128_CM_SHA1_32:{profile.name}".encode()),
    )
    assert end.completed is not None
    assert end.completed.srtp_profile is profile
    assert foreign.connection.get_selected_srtp_profile().decode() == profile.name


@pytest.mark.row("DTL-12")
@ROLES
@pytest.mark.parametrize("profile", SRTPProfile)
def test_srtp_keys_are_those_of_the_peer(role: DTLSRole, profile: SRTPProfile) -> None:
    end, foreign = pair_with(role, prepare=lambda context: context.set_tlsext_use_srtp(profile.name.encode()))
    keys = end.connection.srtp_keys()
    assert keys is not None
    material = foreign.connection.export_keying_material(b"EXTRACTOR-dtls_srtp", profile.keying_material_length)
    ours_and_theirs = (keys.local_key + keys.remote_key, keys.local_salt + keys.remote_salt)
    theirs_and_ours = (keys.remote_key + keys.local_key, keys.remote_salt + keys.local_salt)
    assert material == b"".join(ours_and_theirs if role is DTLSRole.CLIENT else theirs_and_ours)


@ROLES
def test_a_peer_with_another_profile_or_none_still_carries_data(role: DTLSRole) -> None:
    end, foreign = pair_with(role, prepare=lambda context: context.set_tlsext_use_srtp(b"SRTP_AES128_CM_SHA1_32"))
    assert end.completed is not None
    assert end.completed.srtp_profile is end.connection.srtp_keys() is None
    assert data_passes(end, foreign)


@pytest.mark.row("SEC-02")
def test_a_profile_without_encryption_is_never_chosen() -> None:
    """A ClientHello of ours, changed to offer NULL_HMAC_SHA1_80 and _32 (0x0005, 0x0006) before the one that works."""
    client = End(make_connection(DTLSRole.CLIENT))
    client.connection.start(0.0)
    [hello] = take(client)
    offered = b"\x00\x06\x00\x07\x00\x08\x00\x01\x00"
    assert offered in hello
    for profiles, answer in (
        (b"\x00\x05\x00\x06\x00\x01", b"\x00\x0e\x00\x05\x00\x02\x00\x01\x00"),
        (b"\x00\x05\x00\x06\x00\x05", None),
    ):
        end, messages = server_flight(hello.replace(offered, b"\x00\x06" + profiles + b"\x00"))
        assert messages == SERVER_FLIGHT
        assert (answer in end.sent[0]) if answer else (b"\x00\x0e\x00\x05\x00\x02" not in end.sent[0])


@pytest.mark.row("DTL-11")
@ROLES
def test_extended_master_secret(role: DTLSRole) -> None:
    _, foreign = pair_with(role)
    assert lib.SSL_get_extms_support(foreign.connection._ssl) == 1


@pytest.mark.row("SEC-06")
@ROLES
def test_renegotiation_is_refused(role: DTLSRole) -> None:
    end, foreign = pair_with(role)
    keys = end.connection.export_keying_material("EXPERIMENTAL keys", 32)
    foreign.connection.renegotiate()
    with contextlib.suppress(SSL.WantReadError):
        foreign.connection.do_handshake()
    asked = foreign.output()
    assert [datagram[0] for datagram in asked] == [22]
    answer = deliver(end, *asked)
    assert [(datagram[0], datagram[3:5]) for datagram in answer] == [(21, b"\x00\x01")]
    assert end.events == [end.completed]
    assert end.seal(b"the same session")
    assert end.connection.export_keying_material("EXPERIMENTAL keys", 32) == keys


@pytest.mark.row("DTL-06")
def test_the_cookie_exchange() -> None:
    def prepare(context: SSL.Context) -> None:
        context.set_options(lib.SSL_OP_COOKIE_EXCHANGE)
        context.set_cookie_generate_callback(lambda connection: b"a cookie")
        context.set_cookie_verify_callback(lambda connection, cookie: cookie == b"a cookie")

    end, foreign = pair_with(DTLSRole.CLIENT, prepare=prepare)
    assert data_passes(end, foreign)
    hellos = [datagram for datagram in end.sent if datagram[0] == 22 and datagram[13] == HandshakeType.CLIENT_HELLO]
    assert [b"a cookie" in hello for hello in hellos] == [False, True]


@pytest.mark.row("DTL-10")
@ROLES
def test_close_notify_from_and_to_the_peer(role: DTLSRole) -> None:
    end, foreign = pair_with(role)
    foreign.connection.shutdown()
    answer = deliver(end, *foreign.output())
    assert end.events[-1] == Closed(by_peer=True)
    foreign.receive(*answer)
    assert foreign.connection.get_shutdown() == SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN

    end, foreign = pair_with(role)
    end.connection.close(0.0)
    foreign.receive(*take(end))
    assert isinstance(foreign.error, SSL.ZeroReturnError)


@pytest.mark.realtime
@pytest.mark.row("DTL-01")
def test_a_foreign_server_whose_last_flight_was_lost_is_made_to_send_it_again() -> None:
    """It drops our Finished as a replay until OpenSSL's own timer, a second of real time, writes it anew."""
    end = End(make_connection(DTLSRole.CLIENT, remote_fingerprints=CERTIFICATES["ECDSA"].get_fingerprints()))
    foreign = Foreign(True, CERTIFICATES["ECDSA"])
    end.connection.start(0.0)
    lost = foreign.receive(*deliver(end, *foreign.receive(*take(end))))
    assert foreign.completed
    assert lost
    now = 0.0
    for _ in range(3):
        now = end.connection.next_timeout() or 0.0
        end.connection.handle_timeout(now)
        assert foreign.receive(*take(end, now)) == []
    time.sleep(1.05)
    now = end.connection.next_timeout() or 0.0
    end.connection.handle_timeout(now)
    deliver(end, *foreign.receive(*take(end, now)))
    assert data_passes(end, foreign)


# What Chromium sent


def server_flight(*datagrams: bytes) -> tuple[End, list[int]]:
    """Our server after these datagrams, and the handshake messages that it answered."""
    end = End(make_connection(DTLSRole.SERVER))
    end.connection.start(0.0)
    answers = deliver(end, *datagrams)
    return end, [found.payload[0] for answer in answers for found in parse_records(memoryview(answer))]


SERVER_FLIGHT = [
    HandshakeType.SERVER_HELLO,
    HandshakeType.CERTIFICATE,
    HandshakeType.SERVER_KEY_EXCHANGE,
    HandshakeType.CERTIFICATE_REQUEST,
    HandshakeType.SERVER_HELLO_DONE,
]


@pytest.mark.row("DTL-08", "DTL-09", "DSR-01")
@pytest.mark.parametrize("order", sorted({*permutations((0, 1)), *permutations((0, 0, 1)), *permutations((0, 1, 1))}))
def test_a_client_hello_in_two_datagrams_in_any_order(order: tuple[int, ...]) -> None:
    end, messages = server_flight(*(CHROMIUM_HELLO[part] for part in order))
    assert messages == SERVER_FLIGHT
    assert end.connection.discarded == 0
    [flight] = end.sent
    assert len(flight) <= 1200
    # It offered 1.3; ServerHello says 1.2.
    assert flight[13 + 12 : 13 + 14] == b"\xfe\xfd"
    # use_srtp with exactly one profile, ours by preference, and an empty MKI.
    assert b"\x00\x0e\x00\x05\x00\x02\x00\x07\x00" in flight


@pytest.mark.row("DTL-08")
@pytest.mark.parametrize("lost", [0, 1])
def test_either_half_of_a_client_hello_may_be_lost(lost: int) -> None:
    end, messages = server_flight(CHROMIUM_HELLO[1 - lost])
    assert messages == []
    # The peer sends it again, in records with new numbers.
    again = [hello[:5] + bytes((0, 0, 0, 0, 0, 7 + part)) + hello[11:] for part, hello in enumerate(CHROMIUM_HELLO)]
    assert deliver(end, *again)
    assert end.connection.discarded == 0


@pytest.mark.row("FPR-04")
def test_chromiums_server_flight_is_understood_up_to_its_certificate() -> None:
    end = End(make_connection(DTLSRole.CLIENT))
    end.connection.start(0.0)
    take(end)
    [alert] = deliver(end, CHROMIUM_SERVER_FLIGHT)
    assert alert[-2:] == b"\x02\x2a"
    assert end.events == [Failed("the peer's certificate does not match its fingerprint", "fingerprint-failure")]


# What our ClientHello offers


def client_hello() -> tuple[list[int], dict[int, bytes]]:
    """The cipher suites and the extensions of our ClientHello."""
    end = End(make_connection(DTLSRole.CLIENT))
    end.connection.start(0.0)
    [datagram] = take(end)
    assert len(datagram) < 300
    body = datagram[13 + 12 :]
    position = 2 + 32
    position += 1 + body[position]  # session id
    position += 1 + body[position]  # cookie
    length = int.from_bytes(body[position : position + 2], "big")
    suites = body[position + 2 : position + 2 + length]
    position += 2 + length
    position += 1 + body[position]  # compression methods
    position += 2
    extensions = {}
    while position < len(body):
        kind, length = (int.from_bytes(body[position + i : position + i + 2], "big") for i in (0, 2))
        extensions[kind] = body[position + 4 : position + 4 + length]
        position += 4 + length
    return [int.from_bytes(suites[i : i + 2], "big") for i in range(0, len(suites), 2)], extensions


@pytest.mark.row("SEC-08")
def test_we_offer_forward_secrecy_with_aead_only() -> None:
    suites, _ = client_hello()
    renegotiation_info = 0x00FF
    assert [suite for suite in suites if suite != renegotiation_info] == [
        0xC02B,
        0xC02F,
        0xCCA9,
        0xCCA8,
        0xC02C,
        0xC030,
    ]


@pytest.mark.row("DSR-01", "DSR-07", "DTL-11", "SEC-05", "SEC-08")
def test_we_offer_srtp_and_the_extended_master_secret() -> None:
    _, extensions = client_hello()
    # Profiles AEAD_AES_128_GCM, AEAD_AES_256_GCM, AES128_CM_HMAC_SHA1_80, and no MKI (RFC 5764 section 4.1.1).
    assert extensions[14] == b"\x00\x06\x00\x07\x00\x08\x00\x01\x00"
    assert extensions[23] == b""
    assert 35 not in extensions  # no session ticket
