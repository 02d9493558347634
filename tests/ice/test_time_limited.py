"""Credentials that a TURN server accepts for a while."""

from __future__ import annotations

import time
from typing import Any

import pytest

from webrtc_py.errors import ArgumentTypeError, InvalidAccessError
from webrtc_py.ice import time_limited_credentials


@pytest.mark.row("TRN-13")
def test_the_name_says_until_when_and_the_password_is_its_hmac() -> None:
    # The password by `printf 1700003600:alice | openssl dgst -sha1 -hmac north -binary | base64`.
    assert time_limited_credentials("north", "alice", 3600, now=1_700_000_000) == (
        "1700003600:alice",
        "wjwSXO2ch1B6VaLTLMy2Avn5O9o=",
    )
    assert time_limited_credentials("north", lifetime=60, now=1_700_000_000.9)[0] == "1700000060"


@pytest.mark.row("TRN-13")
def test_a_day_from_now_unless_it_is_said() -> None:
    username, _ = time_limited_credentials("north")
    assert abs(int(username) - time.time() - 86400) < 10


@pytest.mark.parametrize("wrong", [("",), ("north", "", 0), ("north", "", -1)])
def test_what_makes_no_sense(wrong: tuple[str, str, float]) -> None:
    with pytest.raises(InvalidAccessError):
        time_limited_credentials(*wrong)


@pytest.mark.parametrize("wrong", [(None,), (b"north",), ("north", None), ("north", "", "60"), ("north", "", None)])
def test_wrong_types(wrong: Any) -> None:
    with pytest.raises(ArgumentTypeError) as refused:
        time_limited_credentials(*wrong)
    assert "north" not in str(refused.value)
