"""Trickle fragments: RFC 8840 section 9."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from webrtc_py import sdp
from webrtc_py.errors import SDPSyntaxError
from webrtc_py.sdp import Fragment, FragmentSection, Trickled

VECTORS = sorted((Path(__file__).parent / "vectors").glob("*.sdp"))
HOST = "candidate:1 1 UDP 1658497328 2001:db8:a0b:12f0::3 5000 typ host"
TCP = "candidate:2 1 TCP 1518280447 192.0.2.1 9 typ host tcptype active"

TABLE = [
    pytest.param("", Fragment(), id="empty"),
    pytest.param(
        "a=group:BUNDLE foo bar\r\n"
        "a=ice-ufrag:8hhY\r\n"
        "a=ice-pwd:asd88fgpdd777uzjYhagZg\r\n"
        "m=audio 9 RTP/AVP 0\r\n"
        "a=mid:foo\r\n"
        f"a={HOST}\r\n",
        Fragment(
            [FragmentSection("foo", (HOST,))],
            ice_ufrag="8hhY",
            ice_pwd="asd88fgpdd777uzjYhagZg",
            bundle=("foo", "bar"),
        ),
        id="session-level",
    ),
    pytest.param(
        "a=ice-lite\r\n"
        "a=ice-options:ice2 trickle\r\n"
        "a=end-of-candidates\r\n"
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"
        "a=mid:0\r\n"
        "a=ice-ufrag:EsAw\r\n"
        "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n"
        f"a={HOST}\r\n"
        f"a={TCP}\r\n"
        "a=end-of-candidates\r\n"
        "m=audio 9 RTP/AVP 0\r\n"
        "a=mid:1\r\n",
        Fragment(
            [
                FragmentSection(
                    "0",
                    (HOST, TCP),
                    end_of_candidates=True,
                    ice_ufrag="EsAw",
                    ice_pwd="P2uYro0UCOQ4zxjKXaWCBui1",
                    media="application 9 UDP/DTLS/SCTP webrtc-datachannel",
                ),
                FragmentSection("1"),
            ],
            end_of_candidates=True,
            ice_options=frozenset(("trickle", "ice2")),
            ice_lite=True,
        ),
        id="media-level",
    ),
]


@pytest.mark.row("SDP-ICE-14")
@pytest.mark.parametrize(("text", "fragment"), TABLE)
def test_text_and_object(text: str, fragment: Fragment) -> None:
    assert Fragment.parse(text) == fragment
    assert fragment.serialize() == text
    assert Fragment.parse(text.replace("\r\n", "\n")) == fragment


@pytest.mark.row("SDP-ICE-14")
def test_what_is_not_known_is_ignored_and_case_does_not_matter() -> None:
    text = (
        "a=ICE-UFRAG:8hhY\r\na=ice-pwd:asd88fgpdd777uzjYhagZg\r\na=new-thing:1\r\n"
        "m=whatever stands here\r\na=Mid:0\r\na=rtcp-mux\r\na=another\r\n"
        f"a=Candidate:{HOST.removeprefix('candidate:')}\r\na=End-Of-Candidates\r\n"
    )
    [section] = Fragment.parse(text).sections
    assert section == FragmentSection("0", (HOST,), end_of_candidates=True, media="whatever stands here")


@pytest.mark.row("SDP-ICE-14", "SDP-ICE-13")
def test_what_there_is_to_add() -> None:
    fragment = TABLE[2].values[1]
    assert isinstance(fragment, Fragment)
    fragment.ice_ufrag = "head"
    assert list(fragment.trickled()) == [
        Trickled("0", "EsAw", HOST),
        Trickled("0", "EsAw", TCP),
        Trickled("0", "EsAw", ""),
        Trickled(None, "head", ""),
    ]


@pytest.mark.row("SDP-ICE-14")
@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_of_a_description(path: Path) -> None:
    session = sdp.parse(path.read_text())
    fragment = Fragment.of(session)
    assert Fragment.parse(fragment.serialize()) == fragment
    told = [
        (media.mid, candidate) for media in session.media if media.mid is not None for candidate in media.candidates
    ]
    assert [(one.mid, one.candidate) for one in fragment.trickled() if one.candidate] == told
    assert "fingerprint" not in fragment.serialize()


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("v=0\r\n", 1, "v=0"),
        ("a=mid:0\r\nc=IN IP4 0.0.0.0\r\n", 2, "c=IN"),
        ("m=audio 9 RTP/AVP 0\r\na=mid:0\r\n\r\nm=audio 9 RTP/AVP 0\r\na=mid:1\r\n", 3, "neither"),
        ("a=ice-ufrag:abc\r\n", 1, "ice-ufrag"),
        ("a=ice-ufrag:abcd\r\na=ice-ufrag:efgh\r\n", 2, "another value"),
        ("m=audio 9 RTP/AVP 0\r\na=ice-pwd:short\r\n", 2, "ice-pwd"),
        ("m=audio 9 RTP/AVP 0\r\na=candidate:1\r\n", None, "no mid"),
        ("m=audio 9 RTP/AVP 0\r\na=mid:0\r\n" * 1025, 2049, "more than 1024"),
        ("a=x\r\n" * (1 << 18), None, "characters"),
    ],
)
def test_what_is_no_fragment(text: str, line: int | None, says: str) -> None:
    with pytest.raises(SDPSyntaxError, match=says) as error:
        Fragment.parse(text)
    if line is not None:
        assert f"line {line}" in str(error.value)


def test_a_password_is_not_shown() -> None:
    fragment = TABLE[1].values[1]
    assert "asd88fgpdd777uzjYhagZg" not in repr(fragment)
    assert "P2uYro0UCOQ4zxjKXaWCBui1" not in repr(TABLE[2].values[1])


LINES = st.one_of(
    st.sampled_from(
        ["a=mid:0", "m=audio 9 RTP/AVP 0", "a=ice-ufrag:abcd", "a=end-of-candidates", "a=group:BUNDLE 0 1", f"a={HOST}"]
    ),
    st.text(),
)


@pytest.mark.row("SDP-ICE-14")
@pytest.mark.fuzz
@given(st.lists(LINES).map("\r\n".join))
@example("\n")
@example("a=")
@example("m=")
def test_any_text_is_a_fragment_or_an_error(text: str) -> None:
    try:
        fragment = Fragment.parse(text)
    except SDPSyntaxError:
        return
    assert Fragment.parse(fragment.serialize()) == fragment
