"""What signalling brings, in whatever shape an application hands it over: a browser's dictionaries, objects, texts."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from .errors import ArgumentTypeError
from .ice.candidate import UnsupportedCandidateError, unmarshal_candidate
from .ice_parameters import ICECandidate, ICECandidateInit
from .jsep import TrickledCandidate
from .session_description import SessionDescription


def read_description(value: SessionDescription | Mapping[str, Any]) -> SessionDescription:
    """A description; TypeError or ValueError for what is none."""
    return value if isinstance(value, SessionDescription) else SessionDescription.from_json(value)


def read_candidate(value: ICECandidateInit | ICECandidate | Mapping[str, Any] | str | None) -> TrickledCandidate:
    """A candidate, or the end of them: None or an empty text. TypeError for one that names no section."""
    if value is None or isinstance(value, str):
        # A line alone comes by signalling that carries nothing else: it can only be for the one transport.
        return TrickledCandidate.read(value or "")
    if isinstance(value, ICECandidate):
        value = value.to_init()
    init = value if isinstance(value, ICECandidateInit) else ICECandidateInit.from_json(value)
    if init.candidate and not init.sdp_mid and init.sdp_mline_index is None:
        raise ArgumentTypeError(f"a candidate needs sdp_mid or sdp_mline_index; {init!r} has neither")
    return TrickledCandidate.read(
        init.candidate, init.sdp_mid or None, init.sdp_mline_index, init.username_fragment or None
    )


def check_candidate(line: str) -> None:
    """Raises SDPSyntaxError for what is no candidate; one of an unknown kind is one."""
    with contextlib.suppress(UnsupportedCandidateError):
        unmarshal_candidate(line)
