"""Why the system, or TLS, refused: in words, for logs and for people."""

from __future__ import annotations

import os
import ssl

# OpenSSL's numbers (x509_vfy.h), which ssl does not name.
_CERTIFICATE_PROBLEMS = {
    9: "its certificate is not valid yet: one of the clocks is wrong",
    10: "its certificate has expired",
    18: "its certificate is not trusted: it is self-signed",
    19: "its certificate is not trusted: the authority that signed it is unknown here",
    20: "its certificate is not trusted: the authority that signed it is unknown here, or the server does not send "
    "the intermediate certificates",
    21: "its certificate is not trusted: the authority that signed it is unknown here, or the server does not send "
    "the intermediate certificates",
    23: "its certificate has been revoked",
    62: "its certificate is for another name",
    64: "its certificate is for another address",
}


def why(error: OSError) -> str:
    """One clause without the peer's name in front."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATE_PROBLEMS.get(error.verify_code, f"its certificate is refused: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(getattr(error, 'reason', '') or str(error)).replace('_', ' ').lower()}"
    if isinstance(error, TimeoutError) and not error.errno:
        return "no answer in time"
    return os.strerror(error.errno).lower() if error.errno else str(error) or type(error).__name__
