"""Tunnels through proxies: what is asked, who is let in, and what a proxy must not do to us."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.virtual_host import VirtualHost
from tests.support.virtual_loop import run
from tests.support.virtual_network import VirtualNetwork
from tests.support.virtual_proxy import VirtualProxy
from tests.support.virtual_stream import VirtualStream
from webrtc_py.errors import ParseError, URLSyntaxError
from webrtc_py.ice.proxy import _SOCKS5, Proxy, _HTTPConnect, connect_through, parse_proxy

PORTS = {"http": 3128, "socks5": 1080}


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://proxy.example:3128", Proxy("http", "proxy.example", 3128)),
        ("socks5://192.0.2.9:1080/", Proxy("socks5", "192.0.2.9", 1080)),
        ("http://[2001:db8::9]:8080", Proxy("http", "2001:db8::9", 8080)),
        ("socks5://me:s%40cr%3At@proxy.example:1080", Proxy("socks5", "proxy.example", 1080, "me", "s@cr:t")),
    ],
)
def test_proxies(text: str, proxy: Proxy) -> None:
    assert parse_proxy(text) == proxy
    assert parse_proxy(str(proxy)) == Proxy(proxy.scheme, proxy.host, proxy.port)


@pytest.mark.row("TRN-16")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "proxy.example:3128",
        "https://me:hunter2@proxy.example:3128",
        "socks4://proxy.example:1080",
        "http://me:hunter2@proxy.example",
        "http://me:hunter2@proxy.example:0",
        "http://me:hunter2@proxy.example:99999",
        "http://me:hunter2@:80",
        "http://me:hunter2@proxy.example:80/path",
        "http://me:hunter2@proxy.example:80?x=1",
        "http://a%3Ab:hunter2@proxy.example:80",
        "socks5://" + "hunter2" * 40 + ":x@proxy.example:80",
        "http://[::1",
        7,
    ],
)
def test_what_is_no_proxy_is_refused_without_a_word_of_the_password(text: Any) -> None:
    with pytest.raises(URLSyntaxError) as refused:
        parse_proxy(text)
    assert "hunter2" not in str(refused.value)


@pytest.mark.row("TRN-16")
def test_no_text_of_a_proxy_has_its_credentials() -> None:
    proxy = parse_proxy("socks5://me:hunter2@proxy.example:1080")
    for text in (str(proxy), repr(proxy)):
        assert "hunter2" not in text
        assert "me:" not in text


def in_network(test: Callable[[VirtualHost, list[VirtualStream]], Awaitable[None]], scheme: str, **options: Any) -> Any:
    """Run with a client behind a firewall that lets it to the proxy, and a server that collects connections."""
    network = VirtualNetwork(delay=0.01)
    alice = network.host("alice", "192.0.2.1", "2001:db8::1")
    network.names["proxy.example"] = ["192.0.2.9"]
    proxy = VirtualProxy(network.host("proxy", "192.0.2.9", "2001:db8::9"), PORTS[scheme], scheme, **options)
    server = network.host("server", "192.0.2.3", "2001:db8::3")
    network.names["turn.example"] = ["192.0.2.3"]
    accepted: list[VirtualStream] = []

    async def main() -> None:
        listeners = [server.listen(host, 443) for host in ("192.0.2.3", "2001:db8::3")]
        for listener in listeners:
            listener.set_acceptor(accepted.append)
        await test(alice, accepted)
        for listener in listeners:
            listener.close()
        await asyncio.sleep(1)
        for stream in accepted:
            stream.close()
        await asyncio.sleep(1)

    run(main())
    return proxy


@pytest.mark.row("TRN-14")
@pytest.mark.parametrize("scheme", PORTS)
@pytest.mark.parametrize("target", ["turn.example", "192.0.2.3", "2001:db8::3"])
@pytest.mark.parametrize("user", ["", "me:p%40ss@"])
def test_a_tunnel(scheme: str, target: str, user: str) -> None:
    async def test(alice: VirtualHost, accepted: list[VirtualStream]) -> None:
        text = f"{scheme}://{user}proxy.example:{PORTS[scheme]}"
        stream = await connect_through(parse_proxy(text), alice, (target, 443))
        received = bytearray()
        stream.set_receiver(received.extend, lambda error: None)
        stream.write(b"hello")
        await asyncio.sleep(1)
        [far] = accepted
        assert far.remote_address[0] in ("192.0.2.9", "2001:db8::9")
        at_server = bytearray()
        far.set_receiver(at_server.extend, lambda error: None)
        far.write(b"welcome")
        await asyncio.sleep(1)
        assert (bytes(at_server), bytes(received)) == (b"hello", b"welcome")
        stream.close()

    options = {"username": "me", "password": "p@ss"} if user else {}
    assert in_network(test, scheme, **options).asked == [(target, 443)]


@pytest.mark.row("TRN-14")
@pytest.mark.parametrize(
    ("url", "options", "reason"),
    [
        ("http://proxy.example:3128", {"username": "me", "password": "x"}, "407 Proxy Authentication Required"),
        ("http://me:y@proxy.example:3128", {"username": "me", "password": "x"}, "407"),
        ("socks5://proxy.example:1080", {"username": "me", "password": "x"}, "another way"),
        ("socks5://me:y@proxy.example:1080", {"username": "me", "password": "x"}, "refuses the user name"),
        ("http://proxy.example:9", {}, "cannot be reached"),
        ("http://no.such.proxy.example:3128", {}, "cannot be reached"),
    ],
)
def test_a_proxy_that_refuses(url: str, options: dict[str, str], reason: str) -> None:
    async def test(alice: VirtualHost, accepted: list[VirtualStream]) -> None:
        with pytest.raises(OSError, match=reason) as refused:
            await connect_through(parse_proxy(url), alice, ("turn.example", 443))
        assert "proxy" in str(refused.value)

    in_network(test, url.partition(":")[0], **options)


@pytest.mark.parametrize("scheme", PORTS)
def test_a_server_that_the_proxy_cannot_reach(scheme: str) -> None:
    async def test(alice: VirtualHost, accepted: list[VirtualStream]) -> None:
        proxy = Proxy(scheme, "proxy.example", PORTS[scheme])
        with pytest.raises(OSError, match=r"502 Bad Gateway|the server refuses the connection"):
            await connect_through(proxy, alice, ("192.0.2.3", 9))

    in_network(test, scheme)


ABUSE = [
    b"",
    b"\r\n\r\n",
    b"HTTP/1.1 200",
    b"HTTP/1.1 200 OK\r\nHeader: " + b"x" * 20_000,
    b"HTTP/1.1 200 OK\r\n\r\nand more",
    b"HTTP/2 200\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"\x05\x07",
    b"\x04\x00",
    b"\x05\x00\x05\x00\x00\x09\x00\x00\x00\x00",
    b"\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00surplus",
    b"\x05\x00\x05\x42\x00\x01",
    b"\x05\x00\x04\x00\x00\x01\x00",
]


@pytest.mark.parametrize("scheme", PORTS)
@pytest.mark.parametrize("answer", ABUSE)
def test_a_proxy_that_talks_nonsense_is_left(scheme: str, answer: bytes) -> None:
    async def test(alice: VirtualHost, accepted: list[VirtualStream]) -> None:
        with pytest.raises(OSError):
            async with asyncio.timeout(5):
                await connect_through(Proxy(scheme, "proxy.example", PORTS[scheme]), alice, ("turn.example", 443))

    network = VirtualNetwork()
    alice = network.host("alice", "192.0.2.1")
    network.names["proxy.example"] = ["192.0.2.9"]

    async def main() -> None:
        proxy = VirtualProxy(network.host("proxy", "192.0.2.9"), PORTS[scheme], scheme)
        proxy.answer = answer
        await test(alice, [])
        await asyncio.sleep(1)

    run(main())


@given(st.text(max_size=60) | st.from_regex(r"(http|socks5)://[^ ]*", fullmatch=True))
def test_any_text_is_a_proxy_or_an_error(text: str) -> None:
    try:
        proxy = parse_proxy(text)
    except URLSyntaxError:
        return
    assert proxy.host
    assert 0 < proxy.port < 65536


@pytest.mark.parametrize("make", [_HTTPConnect, _SOCKS5])
@given(pieces=st.lists(st.binary(max_size=40) | st.sampled_from([b"HTTP/1.1 200 ", b"\r\n", b"\x05\x00"]), max_size=20))
def test_any_answer_opens_the_tunnel_or_goes_on_or_ends(make: Any, pieces: list[bytes]) -> None:
    conversation = make(Proxy("http", "proxy.example", 1, "me", "secret"), ("turn.example", 443))
    conversation.begin()
    try:
        for piece in pieces:
            if conversation.receive(piece) is None:
                break
    except ParseError:
        pass
