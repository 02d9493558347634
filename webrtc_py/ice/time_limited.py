"""User names and passwords that a TURN server accepts for a while, without having been told of them.

The application's server and the TURN server share a secret. Whoever may use the relay gets a user name that says until
when, and as password the name's HMAC. coturn calls it ``use-auth-secret`` (draft-uberti-behave-turn-rest).
"""

from __future__ import annotations

import base64
import hmac
import math
import time

from ..errors import ArgumentTypeError, InvalidAccessError


def time_limited_credentials(
    secret: str, user: str = "", lifetime: float = 86400, now: float | None = None
) -> tuple[str, str]:
    """A user name and a password for ``lifetime`` seconds from ``now``, seconds since 1970, or from this moment.

    ``user`` is who it is for, which the TURN server logs and counts its quota by. An allocation that is held when the
    time is over cannot be refreshed any more: let it be longer than a call. InvalidAccessError without a secret,
    and for a lifetime that is none.
    """
    for name, value, kind in (("secret", secret, str), ("user", user, str), ("lifetime", lifetime, int | float)):
        if not isinstance(value, kind):
            # Not the value itself, which may be a secret.
            raise ArgumentTypeError(f"{name} is of type {type(value).__name__}")
    if not secret:
        raise InvalidAccessError("time-limited credentials need the secret that the TURN server has")
    if not 0 < lifetime < math.inf:
        raise InvalidAccessError(f"the credentials' lifetime is {lifetime!r} seconds; it must be more than 0, and end")
    end = int((time.time() if now is None else now) + lifetime)
    username = f"{end}:{user}" if user else str(end)
    password = base64.b64encode(hmac.digest(secret.encode(), username.encode(), "sha1")).decode()
    return username, password
