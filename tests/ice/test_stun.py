"""The STUN guard: RFC 5769's vectors, and everything that RFC 8489 does not allow."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import struct
from binascii import crc32
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrtc_py.errors import InvalidAccessError, ParseError
from webrtc_py.ice import stun
from webrtc_py.ice.stun import Class, Message, Method, is_stun, parse_message, peek_transaction, serialize

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors" / "stun.json").read_text())
SHORT = VECTORS["short_term"]
KEY = SHORT["password"].encode()
ID = bytes(range(12))


def vector(name: str) -> bytes:
    return bytes.fromhex(VECTORS["vectors"][name])


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def message(*attributes: bytes, kind: int = 0x0001, length: int | None = None) -> bytes:
    body = b"".join(attributes)
    return struct.pack("!HHI", kind, len(body) if length is None else length, 0x2112A442) + ID + body


def request(key: bytes = KEY, **more: Any) -> bytes:
    return stun.binding_request(
        ID, username="evtj:h6vY", key=key, priority=0x6E0001FF, controlling=False, tie_breaker=2**64 - 1, **more
    )


@pytest.mark.row("STN-01", "STN-02", "STN-07", "STN-09")
def test_rfc_5769_sample_request() -> None:
    sample = parse_message(vector("request_sha1_shortterm"))
    assert (sample.message_method, sample.message_class) == (Method.BINDING, Class.REQUEST)
    assert sample.transaction_id.hex() == "b7e7a701bc34d686fa87dfae"
    assert sample.attributes["SOFTWARE"] == SHORT["software"]
    assert sample.attributes["USERNAME"] == SHORT["username"]
    assert sample.attributes["PRIORITY"] == 0x6E0001FF
    assert sample.attributes["ICE-CONTROLLED"] == 0x932FF9B151263B36
    assert sample.check_message_integrity(KEY)
    assert not sample.check_message_integrity(KEY + b"x")
    assert sample.unknown_required == ()


@pytest.mark.row("STN-06", "STN-07", "STN-09")
@pytest.mark.parametrize("family", ["v4", "v6"])
def test_rfc_5769_sample_responses(family: str) -> None:
    sample = parse_message(vector(f"response_ip{family}_shortterm"))
    assert sample.message_class is Class.RESPONSE
    assert sample.attributes["XOR-MAPPED-ADDRESS"] == tuple(SHORT[f"mapped_{family}"])
    assert sample.attributes["SOFTWARE"] == SHORT["response_software"]
    assert sample.check_message_integrity(KEY)


@pytest.mark.row("STN-07")
def test_rfc_5769_long_term_request() -> None:
    long_term = VECTORS["long_term"]
    sample = parse_message(vector("request_longterm"))
    assert sample.attributes["USERNAME"] == long_term["username"]
    assert sample.attributes["REALM"] == long_term["realm"]
    assert sample.attributes["NONCE"] == long_term["nonce"].encode()
    text = f"{long_term['username']}:{long_term['realm']}:{long_term['password_after']}"
    assert sample.check_message_integrity(hashlib.md5(text.encode(), usedforsecurity=False).digest())


def test_a_message_whose_length_does_not_fit_is_refused_though_the_standard_prints_it() -> None:
    with pytest.raises(ParseError, match="length 156"):
        parse_message(bytes.fromhex(VECTORS["rfc8489_B1_request_longterm_userhash_sha256"]))


@pytest.mark.row("ICE-18", "ICE-20", "ICE-21", "ICE-22")
def test_a_built_request_is_what_the_standard_has() -> None:
    parsed = parse_message(request(use_candidate=True))
    assert parsed.attributes["USERNAME"] == "evtj:h6vY"
    assert parsed.attributes["PRIORITY"] == 0x6E0001FF
    assert parsed.attributes["ICE-CONTROLLED"] == 2**64 - 1
    assert "USE-CANDIDATE" in parsed.attributes
    assert "FINGERPRINT" in parsed.attributes
    assert parsed.check_message_integrity(KEY)
    assert list(parsed.attributes)[-2:] == ["MESSAGE-INTEGRITY", "FINGERPRINT"]


def test_our_own_codec_agrees_with_aioice() -> None:
    theirs = Message(Method.BINDING, Class.REQUEST, ID, {"USERNAME": "evtj:h6vY", "PRIORITY": 0x6E0001FF})
    theirs.attributes["ICE-CONTROLLED"] = 2**64 - 1
    theirs.add_message_integrity(KEY)
    assert bytes(theirs) == request()


@pytest.mark.row("STN-01")
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (vector("request_sha1_shortterm"), True),
        (message(), True),
        (message()[:19], False),
        (b"", False),
        (b"\x80" + message()[1:], False),  # RTP
        (b"\x16" + message()[1:], False),  # DTLS
        (message()[:4] + b"\x21\x12\xa4\x43" + message()[8:], False),
    ],
)
def test_is_stun_looks_at_two_bits_and_the_cookie(data: bytes, expected: bool) -> None:
    assert is_stun(data) is expected
    assert is_stun(memoryview(data)) is expected


@pytest.mark.row("STN-01")
@pytest.mark.parametrize(
    ("kind", "method", "message_class"),
    [
        (0x0001, Method.BINDING, Class.REQUEST),
        (0x0011, Method.BINDING, Class.INDICATION),
        (0x0101, Method.BINDING, Class.RESPONSE),
        (0x0111, Method.BINDING, Class.ERROR),
        (0x0003, Method.ALLOCATE, Class.REQUEST),
        (0x0113, Method.ALLOCATE, Class.ERROR),
        (0x0017, Method.DATA, Class.INDICATION),
    ],
)
def test_message_types(kind: int, method: Method, message_class: Class) -> None:
    parsed = parse_message(message(kind=kind))
    assert (parsed.message_method, parsed.message_class) == (method, message_class)


GOOD_ADDRESS = b"\x00\x01\xa1\x47\xe1\x12\xa6\x43"


@pytest.mark.row("STN-01", "STN-06", "STN-18")
@pytest.mark.parametrize(
    "data",
    [
        b"",
        message()[:19],
        message(length=4),
        message(attribute(0x8022, b"abcd"), length=4),
        message(b"\x80\x22\x00", length=3),
        message() + b"\x00",
        message(kind=0x0FFF),
        message(struct.pack("!HH", 0x0006, 5) + b"abcd"),
        message(struct.pack("!HH", 0x0006, 65535)),
        message(attribute(0x0006, b"\xff\xfe")),
        message(attribute(0x0024, b"abc")),
        message(attribute(0x802A, b"abcd")),
        message(attribute(0x0008, b"short")),
        message(attribute(0x0020, b"")),
        message(attribute(0x0020, b"\x00\x03" + GOOD_ADDRESS[2:])),
        message(attribute(0x0020, b"\x00\x02" + GOOD_ADDRESS[2:])),
        message(attribute(0x0020, GOOD_ADDRESS + b"abcd")),
        message(attribute(0x0009, b"\x00\x00\x04")),
        message(attribute(0x0017, b"\x01")),
        message(*[attribute(0x8022, b"")] * 1000),
        message(*[attribute(0x7FFF, b"")] * 1000),
    ],
)
def test_what_is_refused(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_message(data)


@pytest.mark.row("STN-06")
def test_the_address_that_the_refused_ones_are_made_of_is_good() -> None:
    parsed = parse_message(message(attribute(0x0020, GOOD_ADDRESS)))
    assert parsed.attributes["XOR-MAPPED-ADDRESS"] == ("192.0.2.1", 32853)


@pytest.mark.row("STN-02")
def test_padding_is_ignored_whatever_it_holds() -> None:
    parsed = parse_message(message(struct.pack("!HH", 0x0006, 5) + b"a:bcd" + b"\xff\xee\xdd", attribute(0x0025, b"")))
    assert parsed.attributes == {"USERNAME": "a:bcd", "USE-CANDIDATE": None}


@pytest.mark.row("STN-18")
def test_the_first_of_several_attributes_counts() -> None:
    parsed = parse_message(message(attribute(0x0024, b"\x00\x00\x00\x01"), attribute(0x0024, b"\x00\x00\x00\x02")))
    assert parsed.attributes["PRIORITY"] == 1


@pytest.mark.row("STN-03")
def test_unknown_attributes_are_told_apart() -> None:
    parsed = parse_message(message(attribute(0x0031, b"abcd"), attribute(0x7FFE, b""), attribute(0xC057, b"abcd")))
    assert parsed.unknown_required == (0x0031, 0x7FFE)
    assert parsed.unknown == {0x0031: b"abcd", 0x7FFE: b"", 0xC057: b"abcd"}
    assert parsed.attributes == {}


@pytest.mark.row("STN-03")
def test_a_420_lists_them() -> None:
    parsed = parse_message(stun.binding_error(ID, code=420, key=KEY, unknown=(0x0030, 0x7FFE, 0x7FFF)))
    assert parsed.error_code == 420
    assert parsed.attributes["UNKNOWN-ATTRIBUTES"] == (0x0030, 0x7FFE, 0x7FFF)
    assert parsed.check_message_integrity(KEY)


@pytest.mark.row("STN-10")
def test_what_stands_behind_message_integrity_is_ignored() -> None:
    signed = serialize(Message(Method.BINDING, Class.RESPONSE, ID, {"PRIORITY": 1}), KEY)[:-8]
    forged = bytearray(signed + attribute(0x0020, GOOD_ADDRESS) + attribute(0x7FFF, b"") + attribute(0x0008, bytes(20)))
    struct.pack_into("!H", forged, 2, len(forged) - 20 + 8)
    forged += struct.pack("!HHI", 0x8028, 4, crc32(forged) ^ 0x5354554E)
    parsed = parse_message(forged)
    assert parsed.check_message_integrity(KEY)
    assert "XOR-MAPPED-ADDRESS" not in parsed.attributes
    assert parsed.unknown_required == ()


@pytest.mark.row("STN-09")
@pytest.mark.parametrize("bit", range(0, 8 * 64, 37))
def test_a_flipped_bit_breaks_the_fingerprint(bit: int) -> None:
    data = bytearray(request())
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ParseError):
        parse_message(data)


@pytest.mark.row("STN-09")
def test_fingerprint_must_be_last() -> None:
    data = bytearray(message(attribute(0x0025, b"")))
    struct.pack_into("!H", data, 2, 12)
    data += struct.pack("!HHI", 0x8028, 4, crc32(data) ^ 0x5354554E)
    assert "FINGERPRINT" in parse_message(data).attributes
    data += attribute(0x8022, b"")
    struct.pack_into("!H", data, 2, 16)
    with pytest.raises(ParseError, match="not the last"):
        parse_message(data)


@pytest.mark.row("STN-07")
def test_integrity_covers_all_before_it() -> None:
    data = bytearray(message(attribute(0x0006, b"user")))
    struct.pack_into("!H", data, 2, 8 + 24)
    data += attribute(0x0008, hmac.digest(KEY, data, "sha1"))
    assert parse_message(data).check_message_integrity(KEY)
    data[24] ^= 1
    assert not parse_message(data).check_message_integrity(KEY)
    assert not parse_message(message(attribute(0x0006, b"user"))).check_message_integrity(KEY)


@pytest.mark.row("STN-19")
def test_integrity_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return a == b

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert parse_message(request()).check_message_integrity(KEY)
    assert len(compared) == 1


@pytest.mark.row("STN-17")
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"\x00\x00\x04\x57reason", (487, "reason")),
        (b"\x00\x00\x04\x00", (400, "")),
        (b"\xff\xff\xfb\x63", (399, "")),  # 21 reserved bits
        (b"\x00\x00\x06\x00\xff", (600, "\ufffd")),
        (b"\x00\x00\x04\x01no\r\nINFO all is well\x1b[2J", (401, "no??INFO all is well?[2J")),
        (b"\x00\x00\x04\x01" + b"x" * 700, (401, "x" * 127)),
        (b"\x00\x00\x02\x00", None),
        (b"\x00\x00\x07\x00", None),
        (b"\x00\x00\x04\x64", None),
    ],
)
def test_error_codes(value: bytes, expected: tuple[int, str] | None) -> None:
    data = message(attribute(0x0009, value), kind=0x0111)
    if expected is None:
        with pytest.raises(ParseError):
            parse_message(data)
    else:
        assert parse_message(data).attributes["ERROR-CODE"] == expected


def test_text_for_people_need_not_be_utf_8() -> None:
    assert parse_message(message(attribute(0x8022, b"caf\xe9"))).attributes["SOFTWARE"] == "caf\ufffd"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("UNKNOWN-ATTRIBUTES", (1, 2, 3)),
        ("REQUESTED-ADDRESS-FAMILY", 2),
        ("ADDITIONAL-ADDRESS-FAMILY", 2),
        ("EVEN-PORT", True),
        ("EVEN-PORT", False),
        ("DONT-FRAGMENT", None),
        ("RESERVATION-TOKEN", b"12345678"),
        ("ALTERNATE-SERVER", ("192.0.2.7", 3478)),
        ("ALTERNATE-SERVER", ("2001:db8::7", 3478)),
        ("ALTERNATE-DOMAIN", "example.org"),
        ("ICMP", b"abcdefgh"),
        ("XOR-RELAYED-ADDRESS", ("192.0.2.7", 1)),
        ("XOR-PEER-ADDRESS", ("2001:db8::7", 65535)),
        ("LIFETIME", 600),
        ("CHANNEL-NUMBER", 0x4000),
        ("DATA", b"\x00" * 5),
    ],
)
def test_attributes_of_turn_round_trip(name: str, value: object) -> None:
    parsed = parse_message(serialize(Message(Method.ALLOCATE, Class.REQUEST, ID, {name: value}), KEY))
    assert parsed.attributes[name] == value
    assert parsed.check_message_integrity(KEY)


@pytest.mark.row("STN-18")
@given(st.binary(max_size=200), st.sampled_from([0x0001, 0x0101, 0x0111, 0x0011, 0x0003, 0x0113]))
def test_a_look_at_any_message_finds_the_name_that_its_parser_finds(body: bytes, kind: int) -> None:
    """The look decides whose a datagram is, before anybody parses it."""
    header = kind.to_bytes(2, "big") + len(body).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + ID
    transaction_id, name = peek_transaction(memoryview(header + body))
    assert transaction_id == ID
    assert (name is None) == bool(kind & 0x0110)
    with contextlib.suppress(ParseError):
        message = parse_message(header + body)
        if name:
            assert message.attributes["USERNAME"].partition(":")[0] == name


@pytest.mark.row("STN-18")
@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_parse_error(data: bytes) -> None:
    with contextlib.suppress(ParseError):
        parse_message(data)


@pytest.mark.row("STN-18")
@given(
    st.integers(0, 0x3FFF),
    st.lists(
        st.tuples(st.integers(0, 0xFFFF) | st.sampled_from(sorted(range(0x30))), st.binary(max_size=40)), max_size=80
    ),
)
def test_any_attributes_are_a_message_or_a_parse_error(kind: int, attributes: list[tuple[int, bytes]]) -> None:
    try:
        parsed = parse_message(message(*[attribute(*entry) for entry in attributes], kind=kind))
    except ParseError:
        return
    assert len(parsed.attributes) <= len(attributes)
    parsed.check_message_integrity(KEY)


@given(
    st.text(max_size=60),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
    st.booleans(),
    st.binary(min_size=1, max_size=64),
)
def test_requests_round_trip(username: str, priority: int, tie_breaker: int, controlling: bool, key: bytes) -> None:
    data = stun.binding_request(
        ID, username=username, key=key, priority=priority, controlling=controlling, tie_breaker=tie_breaker
    )
    parsed = parse_message(data)
    assert parsed.attributes["USERNAME"] == username
    assert parsed.attributes["PRIORITY"] == priority
    assert parsed.attributes["ICE-CONTROLLING" if controlling else "ICE-CONTROLLED"] == tie_breaker
    assert parsed.check_message_integrity(key)


@pytest.mark.row("STN-06")
@given(st.ip_addresses(), st.integers(0, 65535))
def test_mapped_addresses_round_trip(address: object, port: int) -> None:
    parsed = parse_message(stun.binding_success(ID, mapped_address=(str(address), port), key=KEY))
    host, found = parsed.attributes["XOR-MAPPED-ADDRESS"]
    assert (host, found) == (str(address).partition("%")[0], port)


# MESSAGE-INTEGRITY-SHA256


@pytest.mark.row("STN-08")
def test_rfc_8489_sample_hmac() -> None:
    """Appendix B.1 prints a length that its message does not have, so the HMAC is fed what was hashed there."""
    sample = bytes.fromhex(VECTORS["rfc8489_B1_request_longterm_userhash_sha256"])
    long_term = VECTORS["long_term"]
    text = f"{long_term['username']}:{long_term['realm']}:{long_term['password_after']}"
    key = hashlib.sha256(text.encode()).digest()
    assert hmac.digest(key, sample[:-36], "sha256") == sample[-32:]
    # The same message with the right length is another one for the HMAC, and is checked as the standard says.
    right = sample[:2] + struct.pack("!H", len(sample) - 20) + sample[4:-32]
    repaired = right + hmac.digest(key, right[:-4], "sha256")
    assert parse_message(repaired).check_message_integrity_sha256(key)
    assert not parse_message(repaired).check_message_integrity_sha256(key[::-1])


@pytest.mark.row("STN-08")
@pytest.mark.parametrize("length", [16, 20, 24, 28, 32])
def test_integrity_by_sha_256_may_be_truncated(length: int) -> None:
    start = message(attribute(0x0006, b"name"), length=8 + 4 + length)
    value = hmac.digest(KEY, start, "sha256")[:length]
    parsed = parse_message(start + attribute(0x001C, value))
    assert parsed.check_message_integrity_sha256(KEY)
    assert not parsed.check_message_integrity(KEY), "which is not there"
    forged = parse_message(start + attribute(0x001C, bytes(length)))
    assert not forged.check_message_integrity_sha256(KEY)


@pytest.mark.row("STN-08", "STN-18")
@pytest.mark.parametrize("length", [0, 4, 12, 15, 17, 18, 31, 33, 36])
def test_integrity_by_sha_256_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ParseError):
        parse_message(message(attribute(0x001C, bytes(length))))


@pytest.mark.row("STN-08", "STN-10")
def test_a_built_message_with_sha_256_is_checked_and_ignored_behind() -> None:
    built = serialize(Message(Method.ALLOCATE, Class.REQUEST, ID, {"USERNAME": "me"}), KEY, digest="sha256")
    parsed = parse_message(built)
    assert list(parsed.attributes) == ["USERNAME", "MESSAGE-INTEGRITY-SHA256", "FINGERPRINT"]
    assert len(parsed.attributes["MESSAGE-INTEGRITY-SHA256"]) == 32
    assert parsed.check_message_integrity_sha256(KEY)
    more = message(attribute(0x001C, bytes(32)), attribute(0x0024, bytes(4)), attribute(0x0008, bytes(20)))
    assert list(parse_message(more).attributes) == ["MESSAGE-INTEGRITY-SHA256"]
    both = message(attribute(0x0008, bytes(20)), attribute(0x001C, bytes(32)))
    assert list(parse_message(both).attributes) == ["MESSAGE-INTEGRITY", "MESSAGE-INTEGRITY-SHA256"]


# User names


@pytest.mark.row("STN-16")
def test_user_names_up_to_their_length() -> None:
    def build(name: str) -> bytes:
        return serialize(Message(Method.ALLOCATE, Class.REQUEST, ID, {"USERNAME": name}), KEY)

    for name in ("x" * 508, "é" * 254):
        assert parse_message(build(name)).attributes["USERNAME"] == name
    for name in ("x" * 509, "é" * 255):
        with pytest.raises(InvalidAccessError, match="room for 508"):
            build(name)
    assert len(parse_message(message(attribute(0x0006, b"x" * 763))).attributes["USERNAME"]) == 763
    for bad in (b"x" * 764, b"\xff\xfe"):
        with pytest.raises(ParseError, match="USERNAME"):
            parse_message(message(attribute(0x0006, bad)))


@pytest.mark.row("STN-16")
@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("user", "user"),
        ("With CASE", "With CASE"),
        ("a\u00a0b\u3000c", "a b c"),
        ("e\u0301", "\u00e9"),
        ("マトリックス", "マトリックス"),
        ("\u2168", "\u2168"),
        ("a\u200db", "a\u200db"),
        ("😀", "😀"),
    ],
)
def test_names_and_passwords_are_prepared(text: str, prepared: str) -> None:
    assert stun.opaque_string(text) == prepared
    assert stun.opaque_string(prepared) == prepared


@pytest.mark.row("STN-16")
@pytest.mark.parametrize("text", ["", "a\nb", "\x7f", "so\u00adft", "\ue000", "\ufdd0", "a\u2028", "\u200e", "\u3164"])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(InvalidAccessError):
        stun.opaque_string(text)


# Renomination


@pytest.mark.row("REN-01")
@pytest.mark.parametrize("kind", [0x0030, 0xC001, 0xC123, 0x0031])
def test_a_nomination_value_is_found_under_each_number(kind: int) -> None:
    data = request(use_candidate=True, nomination=(kind, 0x123456))
    parsed = parse_message(data)
    assert parsed.nomination(kind) == 0x123456
    assert "USE-CANDIDATE" in parsed.attributes
    assert parsed.check_message_integrity(KEY)
    assert (parsed.nomination() is None) == (kind in (0xC123, 0x0031))


@pytest.mark.row("REN-01")
def test_a_nomination_value_has_24_bits() -> None:
    assert parse_message(message(attribute(0xC001, b"\xff\x00\x00\x07"))).nomination() == 7
    assert parse_message(message(attribute(0xC123, b"\x07"))).nomination(0xC123) is None
    with pytest.raises(ParseError):
        parse_message(message(attribute(0xC001, b"\x07")))
    assert parse_message(message()).nomination() is None


def test_an_indication_is_nothing_but_a_fingerprint() -> None:
    parsed = parse_message(stun.binding_indication(ID))
    assert (parsed.message_method, parsed.message_class) == (Method.BINDING, Class.INDICATION)
    assert list(parsed.attributes) == ["FINGERPRINT"]
