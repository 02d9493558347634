"""Trickled candidates outside of a description: ``application/trickle-ice-sdpfrag`` (RFC 8840 section 9).

A fragment names the generation of credentials and, for each section it has something to say of, the candidates found
so far. SIP sends it in INFO requests, WHIP in PATCH requests (RFC 9725 section 4.3).

::

    a=group:BUNDLE 0            [optional]
    a=ice-ufrag:Yhh8            [here or in the sections, as in the description]
    a=ice-pwd:777uzjYhagZgasd88fgpdd
    m=audio 9 RTP/AVP 0         a pseudo line: nothing of it has a meaning
    a=mid:0
    a=candidate:1 1 UDP 2130706431 192.0.2.1 5000 typ host
    a=end-of-candidates         [optional, in a section or before all]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ..errors import SDPSyntaxError
from . import attributes as attribute
from . import grammar
from .attributes import Attributes, Group
from .session import MAX_MEDIA_SECTIONS, MAX_SIZE, Session

MEDIA_TYPE = "application/trickle-ice-sdpfrag"

# RFC 8840 section 4.4: what the pseudo line says when the real one is not known.
_PSEUDO_LINE = "audio 9 RTP/AVP 0"


class Trickled(NamedTuple):
    """One thing that a fragment says. ``candidate`` is ``candidate:...``, or empty for the end of candidates.

    ``mid`` is None when it is for all sections, ``ufrag`` when the fragment does not name the generation.
    """

    mid: str | None
    ufrag: str | None
    candidate: str


@dataclass(slots=True)
class FragmentSection:
    """What a fragment says of the section with this mid. Its credentials are None when the session's hold."""

    mid: str
    candidates: tuple[str, ...] = ()
    """Each ``candidate:...``; the ice package reads what is in them."""
    end_of_candidates: bool = False
    ice_ufrag: str | None = None
    ice_pwd: str | None = field(default=None, repr=False)
    media: str = _PSEUDO_LINE


@dataclass(slots=True)
class Fragment:
    """A whole fragment. :meth:`parse` reads one, :meth:`of` makes one from a description, :meth:`serialize` writes."""

    sections: list[FragmentSection] = field(default_factory=list)
    ice_ufrag: str | None = None
    ice_pwd: str | None = field(default=None, repr=False)
    end_of_candidates: bool = False
    bundle: tuple[str, ...] = ()
    """The mids of the BUNDLE group."""
    ice_options: frozenset[str] = frozenset()
    ice_lite: bool = False

    @classmethod
    def of(cls, session: Session) -> Fragment:
        """What a description says of its ICE, with all candidates that are in it."""
        return cls(
            sections=[
                FragmentSection(
                    mid=media.mid,
                    candidates=media.candidates,
                    end_of_candidates=media.end_of_candidates,
                    ice_ufrag=media.ice_ufrag,
                    ice_pwd=media.ice_pwd,
                    media=" ".join((media.kind, str(media.port), media.protocol, *media.formats)),
                )
                for media in session.media
                if media.mid is not None and (media.ice_ufrag is not None or media.candidates)
            ],
            ice_ufrag=session.ice_ufrag,
            ice_pwd=session.ice_pwd,
            end_of_candidates=session.end_of_candidates,
            bundle=next((group.mids for group in session.bundle_groups), ()),
            ice_options=session.ice_options,
            ice_lite=session.ice_lite,
        )

    @classmethod
    def parse(cls, text: str) -> Fragment:
        """Read one; lines end in CRLF or LF. Attributes that are not known are left out (RFC 8840 section 9.2).

        Raises SDPSyntaxError with the number of the line at fault.
        """
        if len(text) > MAX_SIZE:
            raise SDPSyntaxError(f"a fragment of {len(text)} characters; {MAX_SIZE} are the most")
        parts: list[tuple[str, Attributes]] = [("", Attributes())]
        for number, line in enumerate(text.rstrip("\r\n").split("\n"), 1):
            try:
                _add_line(parts, line.removesuffix("\r"))
            except SDPSyntaxError as error:
                raise SDPSyntaxError(str(error), number) from None
        (_, head), *sections = parts
        return cls(
            sections=[_read_section(media, attributes) for media, attributes in sections],
            ice_ufrag=head.read_first("ice-ufrag", attribute.read_ice_ufrag),
            ice_pwd=head.read_first("ice-pwd", attribute.read_ice_pwd),
            end_of_candidates="end-of-candidates" in head,
            bundle=next((group.mids for group in head.read("group", Group.parse) if group.semantics == "BUNDLE"), ()),
            ice_options=frozenset().union(*head.read("ice-options", attribute.read_ice_options)),
            ice_lite="ice-lite" in head,
        )

    def serialize(self) -> str:
        """The text, with CRLF."""
        return "".join(f"{line}\r\n" for line in self._lines())

    def trickled(self) -> Iterator[Trickled]:
        """Everything there is to add, candidates before the ends: what `add_ice_candidate` takes one by one."""
        for section in self.sections:
            ufrag = section.ice_ufrag or self.ice_ufrag
            for candidate in section.candidates:
                yield Trickled(section.mid, ufrag, candidate)
            if section.end_of_candidates:
                yield Trickled(section.mid, ufrag, "")
        if self.end_of_candidates:
            yield Trickled(None, self.ice_ufrag, "")

    def _lines(self) -> Iterator[str]:
        if self.ice_lite:
            yield "a=ice-lite"
        if self.bundle:
            yield f"a=group:{Group('BUNDLE', self.bundle).serialize()}"
        if self.ice_options:
            yield f"a=ice-options:{' '.join(sorted(self.ice_options))}"
        yield from _credentials(self)
        if self.end_of_candidates:
            yield "a=end-of-candidates"
        for section in self.sections:
            yield f"m={section.media}"
            yield f"a=mid:{section.mid}"
            yield from _credentials(section)
            yield from (f"a={candidate}" for candidate in section.candidates)
            if section.end_of_candidates:
                yield "a=end-of-candidates"


def _credentials(part: Fragment | FragmentSection) -> Iterator[str]:
    if part.ice_ufrag is not None:
        yield f"a=ice-ufrag:{part.ice_ufrag}"
    if part.ice_pwd is not None:
        yield f"a=ice-pwd:{part.ice_pwd}"


def _add_line(parts: list[tuple[str, Attributes]], line: str) -> None:
    """Nothing but attributes and pseudo media lines may stand in a fragment; an empty one says nothing."""
    grammar.line_text(line, "line")
    kind, _, value = line.partition("=")
    if kind == "m":
        if len(parts) > MAX_MEDIA_SECTIONS:
            raise SDPSyntaxError(f"more than {MAX_MEDIA_SECTIONS} sections")
        parts.append((value, Attributes()))
    elif kind == "a":
        # RFC 8840 section 9.2: attributes of older grammars are the same in any case.
        name, colon, rest = value.partition(":")
        attribute.add_checked(parts[-1][1], f"{name.lower()}{colon}{rest}")
    elif line or len(parts) > 1 or len(parts[0][1]):
        raise SDPSyntaxError(f"{grammar.quoted(line)} is neither an attribute nor a media line")


def _read_section(media: str, attributes: Attributes) -> FragmentSection:
    mid = attributes.read_first("mid", attribute.read_mid)
    if mid is None:
        raise SDPSyntaxError(f"the section m={grammar.quoted(media)} has no mid, which says what it is about")
    return FragmentSection(
        mid=mid,
        candidates=tuple(f"candidate:{value}" for value in attributes.get_all("candidate")),
        end_of_candidates="end-of-candidates" in attributes,
        ice_ufrag=attributes.read_first("ice-ufrag", attribute.read_ice_ufrag),
        ice_pwd=attributes.read_first("ice-pwd", attribute.read_ice_pwd),
        media=media,
    )
