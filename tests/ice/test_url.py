"""STUN and TURN URLs, and the ICEServer dictionary."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrtc_py.errors import InvalidAccessError, URLSyntaxError
from webrtc_py.ice.url import ServerURL, parse_url
from webrtc_py.ice_parameters import ICEServer


@pytest.mark.row("URI-01", "URI-02")
@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("stun:stun.example.org", ServerURL("stun", "stun.example.org", 3478, "udp")),
        ("STUN:stun.example.org", ServerURL("stun", "stun.example.org", 3478, "udp")),
        ("stun:192.0.2.1:19302", ServerURL("stun", "192.0.2.1", 19302, "udp")),
        ("stun:[2001:db8::1]", ServerURL("stun", "2001:db8::1", 3478, "udp")),
        ("stuns:example.org", ServerURL("stuns", "example.org", 5349, "tcp")),
        ("turn:example.org", ServerURL("turn", "example.org", 3478, "udp")),
        ("turn:example.org?transport=udp", ServerURL("turn", "example.org", 3478, "udp")),
        ("turn:example.org:80?transport=TCP", ServerURL("turn", "example.org", 80, "tcp")),
        ("turn:[::1]:1?transport=tcp", ServerURL("turn", "::1", 1, "tcp")),
        ("turns:example.org", ServerURL("turns", "example.org", 5349, "tcp")),
        ("turns:example.org?transport=udp", ServerURL("turns", "example.org", 5349, "udp")),
        ("turns:example.org:443", ServerURL("turns", "example.org", 443, "tcp")),
    ],
)
def test_urls(text: str, url: ServerURL) -> None:
    assert parse_url(text) == url
    assert parse_url(str(url)) == url


@pytest.mark.row("URI-02", "TRN-11")
@pytest.mark.parametrize(
    ("text", "protocol", "service", "port_given"),
    [
        ("stun:example.org", "udp", "_stun._udp", False),
        ("stun:example.org:3478", "udp", "_stun._udp", True),
        ("stuns:example.org", "tls", "_stuns._tcp", False),
        ("turn:example.org", "udp", "_turn._udp", False),
        ("turn:example.org?transport=tcp", "tcp", "_turn._tcp", False),
        ("turns:example.org", "tls", "_turns._tcp", False),
        ("turns:example.org:5349?transport=udp", "dtls", "_turns._udp", True),
    ],
)
def test_what_is_spoken_and_where_it_is_looked_for(text: str, protocol: str, service: str, port_given: bool) -> None:
    url = parse_url(text)
    assert (url.protocol, url.srv_service, url.port_given) == (protocol, service, port_given)


@pytest.mark.row("URI-01", "URI-03")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "stun",
        "stun:",
        "stun::3478",
        "relative-url",
        "http://example.com",
        "stun://example.com",
        "stun:example.com/foo",
        "stun:example.com#x",
        "stun:user@example.com",
        "turn:user:pass@example.com",
        "stun:example.com:65536",
        "stun:example.com:0",
        "stun:example.com:",
        "stun:example.com:-1",
        "stun:example.com:12ab",
        "stun:[::1",
        "stun:[::1]x",
        "stun:[fe80::1%eth0]",
        "stun:[example.com]",
        "stun:2001:db8::1",
        "stun:example.com?transport=udp",
        "turn:example.com?transport=sctp",
        "turn:example.com?transport=",
        "turn:example.com?foo=bar",
        "turn:example.com?",
        "turn:example.com?transport=udp&x=y",
        "stun: example.com",
        " stun:example.com",
        "stun:example.com\n",
        "stun:b\u00fccher.example",
    ],
)
def test_texts_that_are_no_urls(text: str) -> None:
    with pytest.raises(URLSyntaxError):
        parse_url(text)


@pytest.mark.row("URI-03")
@given(st.one_of(st.text(), st.from_regex(r"(stun|turns?):[\x00-\x7f]{0,20}")))
def test_any_text_is_a_url_or_an_error(text: str) -> None:
    try:
        url = parse_url(text)
    except URLSyntaxError:
        return
    assert parse_url(str(url)) == url


def test_something_else_than_text() -> None:
    with pytest.raises(URLSyntaxError):
        parse_url(None)  # type: ignore[arg-type]


def test_credentials_are_given_apart() -> None:
    url = parse_url("turn:turn.example", "me", "secret")
    assert (url.username, url.password) == ("me", "secret")
    assert "secret" not in f"{url} {url!r}"
    assert url == replace(parse_url("turn:turn.example"), username="me", password="secret")


@pytest.mark.row("URI-04")
@pytest.mark.parametrize(
    "server",
    [
        ICEServer("turn:example.org"),
        ICEServer("turn:example.org", username="user"),
        ICEServer("turns:example.org", credential="secret"),
        ICEServer(["stun:example.org", "turn:example.org"]),
        ICEServer([]),
        ICEServer("stun:example.org", credential_type="oauth"),
    ],
)
def test_servers_that_lack_something(server: ICEServer) -> None:
    with pytest.raises(InvalidAccessError):
        server.parse_urls()


def test_a_server_with_several_urls() -> None:
    server = ICEServer(["stun:a.example", "turn:a.example"], "user", "secret")
    stun, turn = server.parse_urls()
    assert (stun.scheme, turn.scheme) == ("stun", "turn")
    assert (turn.username, turn.password) == ("user", "secret")
    with pytest.raises(URLSyntaxError):
        ICEServer("a.example").parse_urls()


@pytest.mark.row("TRN-16")
def test_credentials_are_in_no_text() -> None:
    server = ICEServer("turn:a.example", "user", "hunter2")
    [url] = server.parse_urls()
    assert "hunter2" not in repr(server) + repr(url) + str(url)
