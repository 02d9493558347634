"""The character classes and small rules of RFC 8866 section 9 that the rest of the package is built of.

Every rule takes the text and a word for what it is, gives the value or raises `SDPSyntaxError`, and takes linear time.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from ..errors import SDPSyntaxError

_TOKEN = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+")
_PROTOCOL = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~/]+")
_DIGITS = re.compile(r"[0-9]+")
_VISIBLE = re.compile(r"[^\x00-\x20\x7f]+")

# Python refuses to convert thousands of digits; no number in a description means anything beyond some dozens.
_MOST_DIGITS = 64


def quoted(text: str) -> str:
    """The text as an error message shows it: a peer does not choose how long our messages are."""
    return repr(text) if len(text) <= 60 else f"{text[:60]!r}..."


def fields(text: str) -> list[str]:
    """The parts between spaces. The grammar has one space; more, and some at the end, are seen and do no harm."""
    return [part for part in text.split(" ") if part]


def token(text: str, what: str) -> str:
    """``token``: what names and identification tags are made of."""
    if not _TOKEN.fullmatch(text):
        raise SDPSyntaxError(f"{what} {quoted(text)} is not a token")
    return text


def protocol(text: str) -> str:
    """``proto``: tokens between slashes."""
    if not _PROTOCOL.fullmatch(text) or "" in text.split("/"):
        raise SDPSyntaxError(f"protocol {quoted(text)} is not tokens between slashes")
    return text


def visible(text: str, what: str) -> str:
    """``non-ws-string``: characters that can be seen."""
    if not _VISIBLE.fullmatch(text):
        raise SDPSyntaxError(f"{what} {quoted(text)} has a space or an invisible character")
    return text


def number(text: str, what: str, maximum: int | None = None) -> int:
    """Decimal digits, at most ``maximum``."""
    if not _DIGITS.fullmatch(text) or len(text) > _MOST_DIGITS:
        raise SDPSyntaxError(f"{what} {quoted(text)} is not a number")
    value = int(text)
    if maximum is not None and value > maximum:
        raise SDPSyntaxError(f"{what} {quoted(text)} is more than {maximum}")
    return value


def line_text(text: str, what: str) -> str:
    """``byte-string``: whatever fits on a line, so no NUL, CR or LF."""
    if "\r" in text or "\n" in text or "\0" in text:
        raise SDPSyntaxError(f"{what} has a NUL or a line break in it")
    return text


def count(parts: Collection[str], least: int, most: int | None, form: str) -> None:
    """Refuses a wrong number of parts; ``form`` says what was expected."""
    if len(parts) < least or (most is not None and len(parts) > most):
        raise SDPSyntaxError(f"expected {form}, got {quoted(' '.join(parts))}")
