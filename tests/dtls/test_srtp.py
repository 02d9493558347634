"""Keys for SRTP (RFC 5764 section 4.2)."""

from __future__ import annotations

import pytest

from webrtc_py.dtls.srtp import SRTPKeys, SRTPProfile
from webrtc_py.states import DTLSRole


@pytest.mark.row("DSR-03")
@pytest.mark.parametrize(
    ("profile", "number", "key", "salt"),
    [
        (SRTPProfile.SRTP_AES128_CM_SHA1_80, 1, 16, 14),
        (SRTPProfile.SRTP_AEAD_AES_128_GCM, 7, 16, 12),
        (SRTPProfile.SRTP_AEAD_AES_256_GCM, 8, 32, 12),
    ],
)
def test_keys_are_cut_in_the_order_of_the_standard(profile: SRTPProfile, number: int, key: int, salt: int) -> None:
    assert profile == number
    parts = b"c" * key, b"s" * key, b"C" * salt, b"S" * salt
    material = b"".join(parts)
    assert profile.keying_material_length == len(material)
    client = SRTPKeys.split(profile, material, DTLSRole.CLIENT)
    server = SRTPKeys.split(profile, material, DTLSRole.SERVER)
    assert (client.local_key, client.remote_key, client.local_salt, client.remote_salt) == parts
    assert (server.remote_key, server.local_key, server.remote_salt, server.local_salt) == parts


def test_keys_do_not_show() -> None:
    profile = SRTPProfile.SRTP_AEAD_AES_128_GCM
    assert repr(SRTPKeys.split(profile, b"k" * 56, DTLSRole.CLIENT)) == "SRTPKeys(SRTP_AEAD_AES_128_GCM)"
