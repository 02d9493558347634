"""Trickled candidates of the peer: which section of which description does one belong to (RFC 8829 section 4.1.19)?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import OperationError
from ..sdp.grammar import quoted
from .description import RemoteDescription
from .sections import Sections

_MAX_TOLD = 5


@dataclass(frozen=True, slots=True)
class TrickledCandidate:
    """``line`` is ``candidate:...``, or empty for the end of candidates.

    The mid names the section, without it the index. Without both it is for all sections: an end of candidates may be,
    and a candidate of an application whose signalling carries nothing but the line.
    """

    line: str
    mid: str | None = None
    mline_index: int | None = None
    ufrag: str | None = None

    @classmethod
    def read(
        cls, text: str, mid: str | None = None, mline_index: int | None = None, ufrag: str | None = None
    ) -> TrickledCandidate:
        """From the attribute's text with ``a=candidate:``, ``candidate:`` or neither in front.

        The text itself may name the generation of credentials (RFC 8838 section 9); what is given beside it counts.
        """
        words = text.strip().removeprefix("a=").removeprefix("candidate:").split(" ")
        if words == [""]:
            return cls("", mid, mline_index, ufrag)
        named = (value for name, value in zip(words[8::2], words[9::2], strict=False) if name == "ufrag")
        return cls(f"candidate:{' '.join(words)}", mid, mline_index, ufrag or next(named, None))


def of_generation(description: RemoteDescription, candidate: TrickledCandidate) -> TrickledCandidate:
    """With the user fragment of this description's section, unless it names one itself.

    It does not when signalling leaves it out: then the most recent description is meant (RFC 8829 section 3.5.2.1).
    """
    if candidate.ufrag is not None:
        return candidate
    try:
        indexes = sections_for(description, candidate)
    except OperationError:
        return candidate
    sections, media = Sections(description.session), description.session.media
    ufrags = {sections.transport_of(media[index]).ice_ufrag for index in indexes}
    return replace(candidate, ufrag=ufrags.pop()) if len(ufrags) == 1 else candidate


def is_ambiguous_end(description: RemoteDescription, candidate: TrickledCandidate) -> bool:
    """Whether it may be the end of the generation before this description's, which comes late.

    Taken for the end of this one, it would shut out all of its candidates. So it must name its generation, or come
    after a candidate of that.
    """
    if candidate.line or candidate.ufrag is not None:
        return False
    return not description.candidates_of(sections_for(description, candidate))


def sections_for(description: RemoteDescription, candidate: TrickledCandidate) -> frozenset[int]:
    """The indexes of the live sections that it is for; none when its section was rejected.

    Raises OperationError when there is no such section, or when it belongs to another generation of credentials.
    """
    session = description.session
    sections = Sections(session)
    named = list(range(len(session.media)))
    if candidate.mid is not None:
        mids = [media.mid for media in session.media]
        if candidate.mid not in mids:
            raise OperationError(f"no section has the candidate's mid {quoted(candidate.mid)}; {_known('mids', mids)}")
        named = [mids.index(candidate.mid)]
    elif candidate.mline_index is not None:
        if candidate.mline_index not in named:
            raise OperationError(
                f"the candidate's section index is {candidate.mline_index}, the description has {len(session.media)}"
            )
        named = [candidate.mline_index]
    live = [index for index in named if sections.is_live(session.media[index])]
    if candidate.ufrag is None:
        return frozenset(live)
    ufrags = {index: sections.transport_of(session.media[index]).ice_ufrag for index in live}
    if live and candidate.ufrag not in ufrags.values():
        known = _known("ufrags", sorted(set(map(str, ufrags.values()))))
        raise OperationError(f"the candidate belongs to ufrag {quoted(candidate.ufrag)}; {known}")
    return frozenset(index for index, ufrag in ufrags.items() if ufrag == candidate.ufrag)


def _known(what: str, values: Sequence[str | None]) -> str:
    """What the description has. A peer does not choose how long our messages are."""
    return f"the description's {what} are {', '.join(quoted(str(value)) for value in values[:_MAX_TOLD])}"


def with_candidate(
    description: RemoteDescription, candidate: TrickledCandidate, sections: frozenset[int]
) -> RemoteDescription:
    """The description with what the candidate says of these sections."""
    if not sections:
        return description
    return (
        description.with_candidate(min(sections), candidate.line) if candidate.line else description.with_end(sections)
    )


def with_early(description: RemoteDescription, early: tuple[TrickledCandidate, ...]) -> RemoteDescription:
    """The description with those of the candidates that came before it and belong to it."""
    for candidate in early:
        try:
            description = with_candidate(description, candidate, sections_for(description, candidate))
        except OperationError:
            # Of an offer that was never set, in glare for example: its call returned long ago.
            continue
    return description
