"""RFC 8122: fingerprints as text, and which of several counts."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrtc_py.dtls.fingerprint import Fingerprint, matches, strongest
from webrtc_py.errors import SDPSyntaxError

CERTIFICATE = b"any bytes do: a certificate is hashed, not read"
SHA_1 = Fingerprint("sha-1", hashlib.sha1(CERTIFICATE).digest().hex(":"))
SHA_256, SHA_384, SHA_512 = (Fingerprint.of(CERTIFICATE, name) for name in ("sha-256", "sha-384", "sha-512"))
WRONG_256, WRONG_512 = Fingerprint.of(b"other"), Fingerprint.of(b"other", "sha-512")


@pytest.mark.row("FPR-01")
@pytest.mark.parametrize("name", ["sha-256", "SHA-256", "Sha-256"])
@pytest.mark.parametrize("change", [str.upper, str.lower, lambda text: text])
def test_either_case_means_the_same(name: str, change: object) -> None:
    digest = hashlib.sha256(CERTIFICATE).digest().hex(":")
    assert Fingerprint.parse(f"{name} {change(digest)}") == SHA_256  # type: ignore[operator]


@pytest.mark.row("FPR-01")
def test_is_written_as_the_standard_wants() -> None:
    assert str(Fingerprint.parse("SHA-1 " + "aB:" * 19 + "cd")) == "sha-1 " + "AB:" * 19 + "CD"


@pytest.mark.row("FPR-01")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha-256",
        "sha-256 ",
        "sha-256 AB",
        "sha-256 " + "AB:" * 32,
        "sha-256 " + "AB" * 32,
        "sha-256 " + "AG:" * 31 + "AB",
        "sha-1 " + "AB:" * 31 + "AB",
        "sha 256 " + "AB:" * 31 + "AB",
        "sh(a " + "AB:" * 31 + "AB",
    ],
)
def test_what_is_no_fingerprint_is_refused(text: str) -> None:
    with pytest.raises(SDPSyntaxError):
        Fingerprint.parse(text)


@pytest.mark.row("FPR-02")
def test_unknown_hash_functions_are_understood_and_ignored() -> None:
    unknown = Fingerprint.parse("sha3-256 AB:CD")
    assert not unknown.usable
    assert matches(CERTIFICATE, [unknown, SHA_256])
    assert not matches(CERTIFICATE, [unknown])


@pytest.mark.row("FPR-02")
@pytest.mark.parametrize("name", ["md5", "md2", "sha-1"])
def test_weak_hash_functions_never_verify(name: str) -> None:
    size = 20 if name == "sha-1" else 16
    digest = hashlib.new("md5" if name == "md2" else name.replace("-", ""), CERTIFICATE).digest()[:size]
    weak = Fingerprint(name, digest.hex(":"))
    assert not weak.usable
    assert not matches(CERTIFICATE, [weak])
    with pytest.raises(ValueError, match="sha-512, sha-384, sha-256"):
        Fingerprint.of(CERTIFICATE, name)


@pytest.mark.row("FPR-03")
@pytest.mark.parametrize(
    ("fingerprints", "expected"),
    [
        ([SHA_256], True),
        ([SHA_384], True),
        ([SHA_512], True),
        ([WRONG_256], False),
        ([], False),
        # One of the strongest set is enough; weaker sets are not looked at, good or bad.
        ([WRONG_256, SHA_256], True),
        ([SHA_256, WRONG_256], True),
        ([SHA_512, WRONG_256], True),
        ([WRONG_256, SHA_512], True),
        ([WRONG_512, SHA_256], False),
        ([SHA_256, WRONG_512], False),
        ([SHA_256, Fingerprint("sha-1", "00:" * 19 + "00")], True),
        ([Fingerprint("sha-1", "00:" * 19 + "00"), SHA_256], True),
        ([SHA_1, WRONG_256], False),
    ],
)
def test_the_strongest_set_decides(fingerprints: list[Fingerprint], expected: bool) -> None:
    assert matches(CERTIFICATE, fingerprints) is expected


def test_strongest_picks_one_set() -> None:
    assert strongest([SHA_1, SHA_256, SHA_384, WRONG_256]) == [SHA_384]
    assert strongest([SHA_1]) == []


@given(st.text(max_size=200))
def test_any_text_is_a_fingerprint_or_a_syntax_error(text: str) -> None:
    try:
        fingerprint = Fingerprint.parse(text)
    except SDPSyntaxError:
        return
    assert Fingerprint.parse(str(fingerprint)) == fingerprint


@given(st.sampled_from(["sha-256", "sha-384", "sha-512"]), st.binary(max_size=50))
def test_there_and_back(algorithm: str, data: bytes) -> None:
    fingerprint = Fingerprint.of(data, algorithm)
    assert Fingerprint.parse(str(fingerprint)) == fingerprint
    assert matches(data, [fingerprint])
