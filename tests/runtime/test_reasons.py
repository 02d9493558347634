"""Why the system refused, in words. That certificates are judged rightly, tests of the doctor show."""

from __future__ import annotations

import errno
import ssl

import pytest

from webrtc_py.ice.server_codes import meaning_of
from webrtc_py.runtime.reasons import why


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "whatever"), "connection refused"),
        (OSError(errno.ENETUNREACH, "whatever"), "network is unreachable"),
        (TimeoutError(), "no answer in time"),
        (TimeoutError(errno.ETIMEDOUT, "whatever"), "connection timed out"),
        (ConnectionError("the server closed the connection"), "the server closed the connection"),
        (OSError(), "OSError"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), "TLS failed: "),
    ],
)
def test_each_error_has_words(error: OSError, text: str) -> None:
    assert why(error).startswith(text)


@pytest.mark.parametrize(
    ("code", "text"),
    [(10, "has expired"), (62, "another name"), (64, "another address"), (18, "self-signed"), (9, "clocks")],
)
def test_certificates_have_words(code: int, text: str) -> None:
    error = ssl.SSLCertVerificationError()
    error.verify_code = code
    error.verify_message = "what OpenSSL says"
    assert text in why(error)


def test_an_unknown_certificate_problem_is_told_in_openssls_words() -> None:
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = 999, "what OpenSSL says"
    assert why(error) == "its certificate is refused: what OpenSSL says"


@pytest.mark.parametrize(
    ("code", "reason", "text"),
    [
        (401, "Unauthorized", "the server refuses the user name or the password; a time-limited one may be over (401)"),
        (486, "", "the user holds as many allocations as the server allows (486)"),
        (701, "no answer", "no answer"),
        (699, "Own Words", "Own Words (699)"),
    ],
)
def test_codes_have_meanings(code: int, reason: str, text: str) -> None:
    assert meaning_of(code, reason) == text
