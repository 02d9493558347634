"""Long-term credentials: keys, what a challenge makes of them, and what nobody may talk us out of."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrtc_py.errors import InvalidAccessError
from webrtc_py.ice import stun
from webrtc_py.ice.credentials import LongTermCredential

MD5, SHA256, UNKNOWN = b"\x00\x01\x00\x00", b"\x00\x02\x00\x00", b"\x7f\xff\x00\x03abc\x00"


def cookie(*, algorithms: bool = False, anonymous: bool = False) -> bytes:
    return b"obMatJos2" + base64.b64encode((algorithms << 23 | anonymous << 22).to_bytes(3, "big")) + b"-nonce"


def challenge(code: int = 401, **attributes: Any) -> stun.Message:
    given = {name.replace("_", "-"): value for name, value in attributes.items()}
    everything = {"ERROR-CODE": (code, ""), "REALM": "example.org", "NONCE": b"nonce", **given}
    return stun.Message(stun.Method.ALLOCATE, stun.Class.ERROR, bytes(12), everything)


def sign(credential: LongTermCredential) -> stun.Message:
    return stun.parse_message(credential.sign(stun.Message(stun.Method.ALLOCATE, stun.Class.REQUEST, bytes(12))))


def test_the_key_of_the_standards_example() -> None:
    credential = LongTermCredential("user", "pass")
    assert credential.take_challenge(challenge(REALM='"realm"'), None)
    assert credential.login is not None
    assert credential.login.key.hex() == "8493fbc53ba582fb4c044c456bdc40eb"
    assert sign(credential).attributes["REALM"] == '"realm"'


@pytest.mark.row("STN-14")
def test_the_user_hash_of_the_standards_example() -> None:
    credential = LongTermCredential("\u30de\u30c8\u30ea\u30c3\u30af\u30b9", "TheMatrIX")
    nonce = b"obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA"  # its features are none that the standard has
    nonce = cookie(algorithms=True, anonymous=True) + nonce[13:]
    assert credential.take_challenge(challenge(NONCE=nonce, PASSWORD_ALGORITHMS=SHA256 + MD5), None)
    request = sign(credential)
    assert request.attributes["USERHASH"].hex() == "4a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704"
    assert "USERNAME" not in request.attributes
    assert request.attributes["PASSWORD-ALGORITHMS"] == SHA256 + MD5
    assert request.attributes["PASSWORD-ALGORITHM"] == SHA256
    assert "MESSAGE-INTEGRITY" not in request.attributes
    key = hashlib.sha256("\u30de\u30c8\u30ea\u30c3\u30af\u30b9:example.org:TheMatrIX".encode()).digest()
    assert request.check_message_integrity_sha256(key)


@pytest.mark.row("STN-14")
@pytest.mark.parametrize(
    ("algorithms", "chosen"),
    [(MD5, MD5), (SHA256, SHA256), (UNKNOWN + MD5 + SHA256, MD5), (SHA256 + MD5, SHA256), (MD5 + b"\x00", MD5)],
)
def test_the_servers_first_algorithm_that_we_know_is_taken(algorithms: bytes, chosen: bytes) -> None:
    credential = LongTermCredential("user", "pass")
    assert credential.take_challenge(challenge(NONCE=cookie(algorithms=True), PASSWORD_ALGORITHMS=algorithms), None)
    request = sign(credential)
    assert request.attributes["PASSWORD-ALGORITHMS"] == algorithms
    assert request.attributes["PASSWORD-ALGORITHM"] == chosen
    # Who lists algorithms wants SHA-256 over the message, whatever the key is made with.
    digest = hashlib.sha256 if chosen == SHA256 else hashlib.md5
    assert request.check_message_integrity_sha256(digest(b"user:example.org:pass").digest())
    assert "MESSAGE-INTEGRITY" not in request.attributes


@pytest.mark.row("STN-14")
@pytest.mark.parametrize("algorithms", [b"", UNKNOWN, b"\x00\x02\x00\x04abcd", b"\x00", b"\x00\x02\xff\xff"])
def test_a_server_with_nothing_that_we_know_is_not_asked_again(algorithms: bytes) -> None:
    credential = LongTermCredential("user", "pass")
    asked = challenge(NONCE=cookie(algorithms=True), PASSWORD_ALGORITHMS=algorithms)
    assert not credential.take_challenge(asked, None)


@pytest.mark.row("STN-13", "STN-14")
def test_who_takes_the_algorithms_out_of_a_challenge_is_not_believed() -> None:
    credential = LongTermCredential("user", "pass")
    for code in (401, 438):
        assert not credential.take_challenge(challenge(code, NONCE=cookie(algorithms=True)), None)
    assert credential.login is None


@pytest.mark.row("STN-13", "STN-14")
def test_a_stale_nonce_does_not_bring_the_older_ways_back() -> None:
    credential = LongTermCredential("user", "pass")
    assert credential.take_challenge(challenge(NONCE=cookie(algorithms=True), PASSWORD_ALGORITHMS=SHA256), None)
    assert credential.take_challenge(challenge(438, NONCE=b"older"), credential.login)
    request = sign(credential)
    assert request.attributes["NONCE"] == b"older"
    assert "MESSAGE-INTEGRITY" not in request.attributes
    assert "MESSAGE-INTEGRITY-SHA256" in request.attributes


@pytest.mark.row("STN-13")
def test_a_second_refusal_ends_it_and_a_new_nonce_does_not() -> None:
    credential = LongTermCredential("user", "pass")
    assert credential.take_challenge(challenge(), None)
    refused = credential.login
    assert not credential.take_challenge(challenge(NONCE=b"another"), refused)
    assert credential.take_challenge(challenge(438, NONCE=b"another"), refused)
    assert credential.take_challenge(challenge(REALM="elsewhere.org"), refused)
    assert not credential.take_challenge(stun.Message(stun.Method.ALLOCATE, stun.Class.ERROR, bytes(12)), None)


@pytest.mark.row("STN-13")
def test_a_response_is_believed_only_with_the_integrity_that_was_agreed_on() -> None:
    credential = LongTermCredential("user", "pass")
    assert credential.take_challenge(challenge(NONCE=cookie(algorithms=True), PASSWORD_ALGORITHMS=MD5), None)
    login = credential.login
    assert login is not None
    message = stun.Message(stun.Method.ALLOCATE, stun.Class.RESPONSE, bytes(12))
    assert login.accepts(stun.parse_message(stun.serialize(message, login.key, digest="sha256")))
    assert not login.accepts(stun.parse_message(stun.serialize(message, login.key)))
    assert not login.accepts(stun.parse_message(stun.serialize(message)))
    assert not login.accepts(stun.parse_message(stun.serialize(message, b"wrong", digest="sha256")))


@pytest.mark.row("STN-16")
def test_names_and_passwords_are_prepared() -> None:
    decomposed = LongTermCredential("Zoe\u0308", "pass\u00a0word")
    composed = LongTermCredential("Zo\u00eb", "pass word")
    for credential in (decomposed, composed):
        assert credential.take_challenge(challenge(), None)
    assert decomposed.login == composed.login
    assert sign(decomposed).attributes["USERNAME"] == "Zo\u00eb"


@pytest.mark.row("STN-16", "TRN-16")
@pytest.mark.parametrize(
    ("username", "password"),
    [("hunter2\n", "x"), ("user", "hunter2\x00"), ("hunter2" * 73, "x"), ("hunter2\ud800", "x")],
)
def test_what_cannot_be_sent_is_refused_without_being_quoted(username: str, password: str) -> None:
    with pytest.raises(InvalidAccessError) as refused:
        LongTermCredential(username, password)
    assert "hunter2" not in str(refused.value)


@pytest.mark.row("STN-16")
def test_a_long_user_name_is_sent_whole() -> None:
    credential = LongTermCredential("u" * 508, "pass")
    assert credential.take_challenge(challenge(), None)
    assert sign(credential).attributes["USERNAME"] == "u" * 508


def test_nothing_of_a_login_is_shown() -> None:
    credential = LongTermCredential("user", "pass")
    assert credential.take_challenge(challenge(NONCE=cookie(anonymous=True)), None)
    assert credential.login is not None
    for secret in (credential.login.key, credential.login.nonce, credential.login.user_hash):
        assert str(secret) not in repr(credential.login)


@pytest.mark.row("TRN-15")
@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    st.binary(max_size=300),
    st.none() | st.binary(max_size=40),
    st.sampled_from([401, 438]),
)
def test_any_challenge_is_taken_or_not(realm: str, nonce: bytes, algorithms: bytes | None, code: int) -> None:
    credential = LongTermCredential("user", "pass")
    more = {} if algorithms is None else {"PASSWORD_ALGORITHMS": algorithms}
    if credential.take_challenge(challenge(code, REALM=realm, NONCE=nonce, **more), None):
        assert sign(credential).attributes["NONCE"] == nonce
    else:
        assert credential.login is None
