"""A UDP port that several share: what comes in goes to whom it is for, and strangers change nothing."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.virtual_host import VirtualSocket
from tests.support.virtual_loop import run
from tests.support.virtual_network import VirtualNetwork
from webrtc_py.errors import InvalidAccessError
from webrtc_py.ice import stun
from webrtc_py.ice.udp_port import UDPPort
from webrtc_py.runtime.network import Address
from webrtc_py.runtime.shared import Shared
from webrtc_py.train import Train

PEER = ("192.0.2.2", 5000)
OTHER = ("192.0.2.3", 5000)
CLIENT_HELLO = bytes([22]) + bytes(99)
DATA = bytes([23]) + bytes(99)
MEDIA = bytes([128]) + bytes(99)


def check(ufrag: str, id: bytes = bytes(12)) -> bytes:
    return stun.binding_request(id, username=f"{ufrag}:peer", key=b"wrong", priority=1, controlling=True, tie_breaker=1)


def answer(id: bytes) -> bytes:
    return stun.binding_success(id, mapped_address=("192.0.2.1", 1), key=b"wrong")


class User:
    def __init__(self, port: UDPPort, ufrag: str) -> None:
        self.received: list[bytes] = []
        self.trains: list[tuple[int, Address]] = []
        self.lost: list[str] = []
        self.endpoint = port.open_endpoint(ufrag)
        self.endpoint.set_receiver(self._receive)
        self.endpoint.on_lost = self.lost.append

    def _receive(self, train: Train, source: Address, now: float) -> None:
        self.received += map(bytes, train)
        self.trains.append((len(train), source))

    def take(self) -> list[bytes]:
        received, self.received = self.received, []
        return received


class Scene:
    """A port on 192.0.2.1 with users."""

    def __init__(self, *ufrags: str, is_shared: bool = True, host: str = "192.0.2.1") -> None:
        self.network = VirtualNetwork()
        self.network.join_trains = True
        self.socket: VirtualSocket = self.network.host("here", host.split("%")[0]).bind(host, 4000)
        self.port = UDPPort(self.socket, Shared.of_running_loop(), is_shared=is_shared)
        self.users = [User(self.port, ufrag) for ufrag in ufrags]

    def inject(self, *datagrams: bytes, source: Address = PEER) -> None:
        for datagram in datagrams:
            self.network.inject(datagram, source=source, destination=(self.socket.local_address[0].split("%")[0], 4000))

    async def bring(self, *datagrams: bytes, source: Address = PEER) -> None:
        self.inject(*datagrams, source=source)
        await asyncio.sleep(0.1)


def test_requests_go_by_name_answers_by_transaction_and_data_by_proof() -> None:
    async def main() -> None:
        scene = Scene("aaaa", "bbbb")
        a, b = scene.users
        await scene.bring(check("aaaa"), check("bbbb"), check("bbbb"), check("cccc"))
        assert (len(a.take()), len(b.take()), scene.port.dropped) == (1, 2, 1)
        a.endpoint.send(Train.of(check("peer", b"a" * 12)), PEER)
        b.endpoint.send(Train.of(check("peer", b"b" * 12)), PEER)
        await scene.bring(answer(b"b" * 12), answer(b"x" * 12), answer(b"a" * 12))
        assert (a.take(), b.take(), scene.port.dropped) == ([answer(b"a" * 12)], [answer(b"b" * 12)], 2)
        await scene.bring(MEDIA)
        assert (a.take(), b.take(), scene.port.dropped) == ([], [], 3)
        b.endpoint.claim(PEER)
        await scene.bring(MEDIA, source=OTHER)
        await scene.bring(MEDIA)
        assert (a.take(), b.take(), scene.port.dropped) == ([], [MEDIA], 4)
        scene.port.close()

    run(main())


def test_an_answer_is_known_for_as_long_as_any_may_come() -> None:
    async def main() -> None:
        scene = Scene("aaaa", "bbbb")
        a, b = scene.users
        a.endpoint.send(Train.of(check("peer", b"1" * 12)), PEER)
        await asyncio.sleep(39)
        b.endpoint.send(Train.of(check("peer", b"2" * 12)), PEER)
        await asyncio.sleep(0.5)
        await scene.bring(answer(b"1" * 12))
        assert a.take() == [answer(b"1" * 12)]
        await asyncio.sleep(20)
        b.endpoint.send(Train.of(check("peer", b"3" * 12)), PEER)
        await scene.bring(answer(b"2" * 12), answer(b"3" * 12))
        assert len(b.take()) == 2
        for _ in range(4):
            await asyncio.sleep(41)
            b.endpoint.send(Train.of(check("peer", b"4" * 12)), PEER)
        await scene.bring(answer(b"1" * 12))
        assert a.take() == []
        assert len(scene.port._asked) + len(scene.port._asked_before) <= 2
        scene.port.close()

    run(main())


def test_trains_stay_whole_and_mixed_ones_are_taken_apart() -> None:
    async def main() -> None:
        scene = Scene("aaaa", "bbbb")
        a, b = scene.users
        a.endpoint.claim(PEER)
        await scene.bring(DATA, DATA, DATA[:50])
        assert a.trains == [(3, PEER)]
        a.take()
        size = len(check("bbbb"))
        mixed = [DATA.ljust(size), check("bbbb"), DATA.ljust(size), bytes([2]) * size, check("aaaa"), DATA]
        await scene.bring(*mixed)
        assert (a.take(), b.take()) == ([mixed[0], mixed[2], mixed[4], mixed[5]], [mixed[1]])
        assert scene.port.dropped == 1
        scene.port.close()

    run(main())


def test_an_address_is_the_newest_proofs_and_falls_back_to_the_one_before() -> None:
    async def main() -> None:
        scene = Scene("aaaa", "bbbb", "cccc")
        a, b, c = scene.users
        a.endpoint.claim(PEER)
        b.endpoint.claim(PEER)
        c.endpoint.claim(PEER, has_answered=False)
        await scene.bring(DATA)
        assert [len(user.take()) for user in scene.users] == [0, 1, 0]
        b.endpoint.close()
        await scene.bring(DATA)
        assert [len(user.take()) for user in scene.users] == [1, 0, 0]
        c.endpoint.claim(PEER)
        c.endpoint.claim(PEER, has_answered=False)
        await scene.bring(DATA)
        assert [len(user.take()) for user in scene.users] == [0, 0, 1]
        a.endpoint.close()
        c.endpoint.close()
        await scene.bring(DATA)
        assert scene.port.dropped == 1
        assert not scene.port._claims
        scene.port.close()

    run(main())


def test_who_can_forge_a_source_takes_no_address_of_anothers() -> None:
    """A peer of b's signals the address of a's peer, and makes checks from there that it never sees answered."""

    async def main() -> None:
        scene = Scene("aaaa", "bbbb")
        a, b = scene.users
        a.endpoint.claim(PEER, has_answered=False)
        a.endpoint.claim(PEER)
        b.endpoint.claim(PEER, has_answered=False)
        await scene.bring(DATA)
        assert (a.take(), b.take()) == ([DATA], [])
        b.endpoint.claim(OTHER, has_answered=False)
        await scene.bring(DATA, source=OTHER)
        assert b.take() == [DATA]
        scene.port.close()

    run(main())


def test_a_client_hello_that_overtakes_the_check_is_kept_for_whom_it_turns_out_to_be() -> None:
    async def main() -> None:
        scene = Scene("aaaa", "bbbb")
        a, b = scene.users
        await scene.bring(CLIENT_HELLO, source=OTHER)
        await scene.bring(CLIENT_HELLO, MEDIA)
        assert scene.port.dropped == 3
        b.endpoint.claim(PEER)
        assert b.received == []
        await asyncio.sleep(0)
        assert (a.take(), b.take(), scene.port.dropped) == ([], [CLIENT_HELLO], 2)
        b.endpoint.claim(PEER)
        await asyncio.sleep(0)
        assert b.take() == []
        scene.port.close()

    run(main())


def test_a_flood_of_strangers_is_counted_and_leaves_nothing() -> None:
    async def main() -> None:
        scene = Scene("aaaa", "bbbb")
        for number in range(5000):
            source = f"198.51.{number // 256}.{number % 256}", 1024 + number
            scene.inject(CLIENT_HELLO, check("zzzz"), answer(number.to_bytes(12)), b"\x00" * 40, source=source)
        await asyncio.sleep(0.1)
        assert scene.port.dropped == 20000
        assert all(user.received == [] for user in scene.users)
        assert (len(scene.port._early), scene.port._claims, scene.port._asked) == (16, {}, {})
        scene.port.close()

    run(main())


def test_an_own_port_has_one_user_who_gets_everything_and_closes_with_the_last() -> None:
    async def main() -> None:
        scene = Scene("aaaa", is_shared=False)
        [a] = scene.users
        await scene.bring(DATA, check("zzzz"), source=OTHER)
        assert len(a.take()) == 2
        b = User(scene.port, "bbbb")
        await scene.bring(DATA, check("bbbb"))
        assert (len(a.take()), len(b.take()), scene.port.dropped) == (0, 1, 1)
        a.endpoint.close()
        await scene.bring(DATA, check("zzzz"), source=OTHER)
        assert len(b.take()) == 2
        assert not scene.socket.closed
        b.endpoint.close()
        assert scene.socket.closed
        assert b.lost == []

    run(main())


def test_a_shared_port_outlives_its_users_and_tells_them_when_it_does_not() -> None:
    async def main() -> None:
        scene = Scene("aaaa", "bbbb")
        a, b = scene.users
        a.endpoint.close()
        a.endpoint.close()
        assert not scene.port.has("aaaa")
        with pytest.raises(InvalidAccessError, match="bbbb"):
            scene.port.open_endpoint("bbbb")
        scene.port.close("maintenance")
        scene.port.close("again")
        assert (a.lost, b.lost) == ([], ["maintenance"])
        b.endpoint.send(Train.of(DATA), PEER)
        b.endpoint.close()

    run(main())


def test_a_link_local_port_shows_sources_without_the_zone() -> None:
    async def main() -> None:
        scene = Scene("aaaa", host="fe80::1%eth0", is_shared=False)
        [a] = scene.users
        await scene.bring(check("aaaa"), source=("fe80::2", 5000))
        assert a.trains == [(1, ("fe80::2", 5000))]
        await scene.bring(DATA, source=("fe80::2", 5000))
        assert a.trains[1:] == [(1, ("fe80::2", 5000))]
        scene.port.close()

    run(main())


ANYTHING = st.one_of(
    st.binary(min_size=1, max_size=60),
    st.binary(max_size=60).map(lambda body: b"\x00\x01" + len(body).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + body),
    st.sampled_from([check("a"), check("b"), check("nobody"), answer(bytes(12)), CLIENT_HELLO, DATA, MEDIA]),
)


@given(st.lists(st.tuples(ANYTHING, st.sampled_from([PEER, OTHER])), max_size=20))
def test_any_datagrams_go_to_one_user_or_to_none(arriving: list[tuple[bytes, Address]]) -> None:
    async def main() -> None:
        scene = Scene("a", "b")
        scene.users[0].endpoint.claim(PEER)
        for data, source in arriving:
            await scene.bring(data, source=source)
        taken = [user.take() for user in scene.users]
        assert sum(map(len, taken)) + scene.port.dropped == len(arriving)
        assert set(taken[1]) <= {data for data, _ in arriving if data[0] < 4}, "b has no peer"
        assert len(scene.port._early) <= 16
        assert (len(scene.port._claims), len(scene.port._asked)) == (1, 0)
        scene.port.close()

    run(main())


def test_claims_that_nobody_needs_are_given_up() -> None:
    async def main() -> None:
        scene = Scene("a", "b")
        first, second = (user.endpoint for user in scene.users)
        for number in range(100):
            first.claim((OTHER[0], number))
        second.claim(PEER)
        first.claim(PEER)
        first.keep_claims([(OTHER[0], 7)])
        assert first.claims == {(OTHER[0], 7)}
        assert scene.port._claims == {(OTHER[0], 7): [first], PEER: [second]}
        await scene.bring(DATA)
        assert scene.users[1].take() == [DATA]
        scene.port.close()

    run(main())
