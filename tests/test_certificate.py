"""Certificates: what is generated, and what comes back from PEM."""

from __future__ import annotations

import datetime

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from webrtc_py.certificate import Certificate
from webrtc_py.dtls.fingerprint import matches
from webrtc_py.errors import NotSupportedError


@pytest.fixture(scope="module")
def rsa_certificate() -> Certificate:
    return Certificate.generate("RSA")


def test_p256_is_the_default() -> None:
    key = Certificate.generate().private_key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"


def test_rsa(rsa_certificate: Certificate) -> None:
    assert isinstance(rsa_certificate.private_key, rsa.RSAPrivateKey)
    assert rsa_certificate.private_key.key_size == 2048


def test_another_algorithm_is_refused_by_name() -> None:
    with pytest.raises(NotSupportedError, match="'DSA' is not an algorithm for certificates; it is 'ECDSA' or 'RSA'"):
        Certificate.generate("DSA")


def test_it_is_valid_from_yesterday_for_thirty_days() -> None:
    certificate = Certificate.generate()
    now = datetime.datetime.now(datetime.UTC)
    assert abs(certificate.expires - now - datetime.timedelta(days=30)) < datetime.timedelta(minutes=1)
    begin = certificate.x509.not_valid_before_utc
    assert abs(now - begin - datetime.timedelta(days=1)) < datetime.timedelta(minutes=1)


@pytest.mark.row("SEC-07")
def test_no_two_are_alike_in_anything() -> None:
    first, second = Certificate.generate(), Certificate.generate()
    assert first.x509.serial_number != second.x509.serial_number
    assert first.x509.subject != second.x509.subject
    assert first.x509.public_key() != second.x509.public_key()
    assert first.get_fingerprints() != second.get_fingerprints()


def test_there_and_back_through_pem(rsa_certificate: Certificate) -> None:
    for certificate in (Certificate.generate(), rsa_certificate):
        again = Certificate.from_pem(certificate.pem)
        assert again.der == certificate.der
        assert again.pem == certificate.pem
        key, middle, rest = certificate.pem.partition("-----BEGIN CERTIFICATE-----")
        assert Certificate.from_pem((middle + rest + key).encode()).der == certificate.der


@pytest.mark.parametrize("part", ["", "nonsense", "key", "certificate", "encrypted", "mixed"])
def test_pem_that_is_not_both_is_a_value_error(part: str) -> None:
    certificate = Certificate.generate()
    key, begin, rest = certificate.pem.partition("-----BEGIN CERTIFICATE-----")
    encrypted = certificate.private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    ).decode()
    pem = {
        "key": key,
        "certificate": begin + rest,
        "encrypted": encrypted + begin + rest,
        "mixed": key + Certificate.generate().pem.partition("-----BEGIN CERTIFICATE-----")[2].join((begin, "")),
    }.get(part, part)
    with pytest.raises(ValueError):
        Certificate.from_pem(pem)


def test_keys_that_dtls_cannot_use_are_refused() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    with pytest.raises(NotSupportedError, match="ECDSA or RSA"):
        Certificate(Certificate.generate().x509, key)  # type: ignore[arg-type]


@pytest.mark.row("FPR-01")
def test_fingerprints() -> None:
    certificate = Certificate.generate()
    assert [f.algorithm for f in certificate.get_fingerprints()] == ["sha-256"]
    all_of_them = certificate.get_fingerprints("sha-256", "sha-384", "sha-512")
    assert [f.algorithm for f in all_of_them] == ["sha-256", "sha-384", "sha-512"]
    assert all(matches(certificate.der, [fingerprint]) for fingerprint in all_of_them)
    assert repr(certificate) == f"Certificate({certificate.get_fingerprints()[0]})"
