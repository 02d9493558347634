"""What two ends tell each other about DTLS before it starts (W3C RTCDtlsParameters)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..states import DTLSRole
from .fingerprint import Fingerprint


@dataclass(slots=True)
class DTLSParameters:
    """The role of the end that these parameters describe, and the fingerprints of its certificate.

    In SDP they are ``a=setup`` (client is "active", server "passive", auto "actpass") and ``a=fingerprint``.
    """

    role: DTLSRole | str = DTLSRole.AUTO
    fingerprints: Sequence[Fingerprint] = ()

    def __post_init__(self) -> None:
        self.role = DTLSRole(self.role)
