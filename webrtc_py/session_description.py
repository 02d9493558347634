"""An offer or an answer as applications see it: a type and a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import ArgumentTypeError
from .states import SDPType


@dataclass(frozen=True, slots=True, init=False)
class SessionDescription:
    """W3C's RTCSessionDescription. ``sdp`` is the text of RFC 8866, empty for a rollback.

    ``type`` takes the enumeration or its string. Raises ValueError for another type and TypeError when ``sdp`` is not
    a string.
    """

    type: SDPType
    sdp: str

    def __init__(self, type: SDPType | str, sdp: str = "") -> None:
        if not isinstance(sdp, str):
            raise ArgumentTypeError(f"sdp is the description's text, not {sdp!r}")
        object.__setattr__(self, "type", SDPType(type))
        object.__setattr__(self, "sdp", sdp)

    def to_json(self) -> dict[str, str]:
        """What a browser's ``setRemoteDescription`` takes: ``{"type": ..., "sdp": ...}``."""
        return {"type": self.type.value, "sdp": self.sdp}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SessionDescription:
        """What a browser's ``JSON.stringify(description)`` gives. ``sdp`` may be absent in a rollback."""
        if not isinstance(value, Mapping) or "type" not in value:
            raise ArgumentTypeError(f'a description is a mapping with "type" and "sdp", not {value!r}')
        return cls(value["type"], value.get("sdp") or "")
