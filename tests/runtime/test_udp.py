"""UDP sockets on loopback: trains, offload and its absence, full buffers, errors."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from typing import Any

import pytest

from tests.support.real_loop import run_real
from webrtc_py.runtime import udp
from webrtc_py.runtime.network import Address, DatagramSocket
from webrtc_py.runtime.shared import Shared
from webrtc_py.runtime.udp import TransportUDPSocket, UDPSocket, open_udp
from webrtc_py.train import Train

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="not applicable: segmentation offload is Linux's")


class Inbox:
    """Copies what a socket receives."""

    def __init__(self, sock: DatagramSocket) -> None:
        self.trains: list[tuple[bytes, int]] = []
        self.datagrams: list[bytes] = []
        self.sources: list[Address] = []
        self._arrived = asyncio.Event()
        self._began = asyncio.get_running_loop().time()
        sock.set_receiver(self.receive)

    def receive(self, train: Train, source: Address, now: float) -> None:
        assert self._began <= now <= asyncio.get_running_loop().time()
        self.trains.append((bytes(train.data), train.segment_size))
        self.datagrams += [bytes(datagram) for datagram in train]
        self.sources.append(source)
        self._arrived.set()

    async def wait(self, count: int) -> list[bytes]:
        while len(self.datagrams) < count:
            self._arrived.clear()
            await self._arrived.wait()
        return self.datagrams


def train_of(count: int, size: int, last: int | None = None) -> Train:
    data = b"".join(bytes([number % 256]) * size for number in range(count))
    if last is not None:
        data = data[: len(data) - size + last]
    return Train(memoryview(data), size)


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=pytest.mark.needs("ipv6"))])
@pytest.mark.parametrize(("count", "size", "last"), [(1, 1, None), (2, 500, 1), (50, 1200, 7), (64, 10, None)])
def test_a_train_arrives_whole(host: str, count: int, size: int, last: int | None) -> None:
    async def main() -> None:
        a, b = await open_udp(host), await open_udp(host)
        inbox = Inbox(b)
        train = train_of(count, size, last)
        a.send(train, b.local_address)
        assert await inbox.wait(count) == [bytes(datagram) for datagram in train]
        assert inbox.sources[0] == a.local_address
        a.close()
        b.close()

    run_real(main())


@linux_only
def test_linux_sends_and_receives_a_train_at_once() -> None:
    async def main() -> None:
        a, b = await open_udp("127.0.0.1"), await open_udp("127.0.0.1")
        inbox = Inbox(b)
        train = train_of(50, 1200, 300)
        a.send(train, b.local_address)
        await inbox.wait(50)
        assert inbox.trains == [(bytes(train.data), 1200)]
        a.close()
        b.close()

    run_real(main())


@pytest.mark.parametrize(("count", "size"), [(130, 100), (100, 1200)])
def test_a_train_longer_than_one_call_carries_is_split(count: int, size: int) -> None:
    async def main() -> None:
        a, b = await open_udp("127.0.0.1"), await open_udp("127.0.0.1")
        inbox = Inbox(b)
        train = train_of(count, size, size - 1)
        a.send(train, b.local_address)
        assert await inbox.wait(count) == [bytes(datagram) for datagram in train]
        a.close()
        b.close()

    run_real(main())


def test_without_offload_each_datagram_is_a_send() -> None:
    async def main() -> None:
        shared = Shared.of_running_loop()
        a = UDPSocket(udp._bind("127.0.0.1", 0), shared, offload=False)
        b = UDPSocket(udp._bind("127.0.0.1", 0), shared, offload=False)
        inbox = Inbox(b)
        train = train_of(20, 1000, 3)
        a.send(train, b.local_address)
        assert await inbox.wait(20) == [bytes(datagram) for datagram in train]
        assert len(inbox.trains) == 20
        a.close()
        b.close()

    run_real(main())


class Refusing:
    """A socket that fails in ``sendmsg`` or ``sendto`` as it is told, and passes the rest on."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.sendmsg_error: int | None = None
        self.sendto_errors: list[int] = []
        self.sendmsg_calls = 0
        self.sent: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def sendmsg(self, *args: Any) -> int:
        self.sendmsg_calls += 1
        if self.sendmsg_error is not None:
            raise OSError(self.sendmsg_error, "told to")
        return self._sock.sendmsg(*args)

    def sendto(self, data: memoryview, address: Any) -> int:
        if self.sendto_errors:
            code = self.sendto_errors.pop(0)
            raise BlockingIOError if code == errno.EAGAIN else OSError(code, "told to")
        self.sent.append(bytes(data))
        return self._sock.sendto(data, address)


@linux_only
@pytest.mark.parametrize(
    ("code", "calls"), [(errno.EIO, 1), (errno.EINVAL, 2), (errno.EMSGSIZE, 2), (errno.ENOPROTOOPT, 1)]
)
def test_refused_segmentation_falls_back_to_single_sends(code: int, calls: int) -> None:
    async def main() -> None:
        refusing = Refusing(udp._bind("127.0.0.1", 0))
        refusing.sendmsg_error = code
        a = UDPSocket(refusing, Shared.of_running_loop())  # type: ignore[arg-type]
        b = await open_udp("127.0.0.1")
        inbox = Inbox(b)
        train = train_of(5, 100)
        a.send(train, b.local_address)
        a.send(train, b.local_address)
        assert await inbox.wait(10) == [bytes(datagram) for datagram in train] * 2
        # What the system will never do is not asked for again; what was wrong with one train is.
        assert refusing.sendmsg_calls == calls
        a.close()
        b.close()

    run_real(main())


@pytest.mark.row("ICE-51")
@pytest.mark.parametrize(
    "code", [errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPERM, errno.EMSGSIZE]
)
def test_what_icmp_reports_does_not_end_the_socket(code: int) -> None:
    async def main() -> None:
        refusing = Refusing(udp._bind("127.0.0.1", 0))
        refusing.sendto_errors = [code]
        a = UDPSocket(refusing, Shared.of_running_loop())  # type: ignore[arg-type]
        b = await open_udp("127.0.0.1")
        inbox = Inbox(b)
        a.send(Train.of(b"lost"), b.local_address)
        a.send(Train.of(b"kept"), b.local_address)
        assert await inbox.wait(1) == [b"kept"]
        assert a.counters.send_errors == 1
        a.close()
        b.close()

    run_real(main())


@pytest.mark.row("ICE-51")
def test_a_closed_port_does_not_end_the_socket() -> None:
    async def main() -> None:
        a, b, gone = await open_udp("127.0.0.1"), await open_udp("127.0.0.1"), await open_udp("127.0.0.1")
        nobody = gone.local_address
        gone.close()
        inbox_a, inbox_b = Inbox(a), Inbox(b)
        for _ in range(3):
            a.send(Train.of(b"to nobody"), nobody)
            a.send(Train.of(b"to b"), b.local_address)
            await inbox_b.wait(1)
            b.send(Train.of(b"to a"), a.local_address)
            await inbox_a.wait(1)
            inbox_a.datagrams.clear()
            inbox_b.datagrams.clear()
        a.close()
        b.close()

    run_real(main())


def test_what_the_kernel_does_not_take_waits_in_order_and_is_bounded() -> None:
    async def main() -> None:
        refusing = Refusing(udp._bind("127.0.0.1", 0))
        a = UDPSocket(refusing, Shared.of_running_loop(), offload=False)  # type: ignore[arg-type]
        b = await open_udp("127.0.0.1")
        refusing.sendto_errors = [errno.EAGAIN]
        trains = [Train.of(number.to_bytes(2, "big") * 500) for number in range(300)]
        a.send(train_of(3, 1000), b.local_address)
        for train in trains:
            a.send(train, b.local_address)
        # 256 KiB wait: three datagrams of the first train and 259 single ones.
        assert a.counters.send_overflows == 41
        # The receiver's kernel may have room for less than all of them at once: what it is given is what counts.
        while len(refusing.sent) < 262:  # noqa: ASYNC110  the loop's own turns
            await asyncio.sleep(0)
        assert refusing.sent == [bytes([n]) * 1000 for n in range(3)] + [bytes(t.data) for t in trains[:259]]
        a.send(trains[299], b.local_address)
        assert refusing.sent[262:] == [bytes(trains[299].data)]
        a.close()
        b.close()

    run_real(main())


def test_empty_datagrams_are_dropped_and_counted() -> None:
    async def main() -> None:
        b = await open_udp("127.0.0.1")
        inbox = Inbox(b)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", b.local_address)
            sender.sendto(b"x", b.local_address)
        assert await inbox.wait(1) == [b"x"]
        assert isinstance(b, UDPSocket)
        assert b.counters.empty_received == 1
        b.close()

    run_real(main())


def test_a_burst_is_read_in_turns_and_none_is_lost() -> None:
    async def main() -> None:
        a, b = await open_udp("127.0.0.1"), await open_udp("127.0.0.1")
        inbox = Inbox(b)
        for number in range(100):
            a.send(Train.of(bytes([number])), b.local_address)
        assert await inbox.wait(100) == [bytes([number]) for number in range(100)]
        a.close()
        b.close()

    run_real(main())


def test_a_receiver_may_close_its_socket() -> None:
    async def main() -> None:
        a, b = await open_udp("127.0.0.1"), await open_udp("127.0.0.1")
        closed = asyncio.Event()

        def close(train: Train, source: Address, now: float) -> None:
            b.close()
            closed.set()

        b.set_receiver(close)
        for _ in range(3):
            a.send(Train.of(b"x"), b.local_address)
        await closed.wait()
        b.send(Train.of(b"after close"), a.local_address)
        b.close()
        a.close()

    run_real(main())


def test_handlers_run_after_the_batch() -> None:
    async def main() -> None:
        a, b = await open_udp("127.0.0.1"), await open_udp("127.0.0.1")
        shared = Shared.of_running_loop()
        order: list[str] = []
        done = asyncio.Event()

        def receive(train: Train, source: Address, now: float) -> None:
            order.append("received")
            shared.step.post(lambda: (order.append("handled"), done.set())[0])  # type: ignore[func-returns-value]

        b.set_receiver(receive)
        for _ in range(3):
            a.send(Train.of(b"x"), b.local_address)
        await done.wait()
        assert order == ["received"] * 3 + ["handled"] * 3
        a.close()
        b.close()

    run_real(main())


@linux_only
def test_sockets_forbid_fragments_and_ask_for_large_buffers() -> None:
    async def main() -> None:
        a = await open_udp("127.0.0.1")
        assert isinstance(a, UDPSocket)
        assert a._sock.getsockopt(socket.IPPROTO_IP, udp._IP_MTU_DISCOVER) == udp._PMTUDISC_PROBE
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
            default = plain.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        assert a._sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= default
        a.close()

    run_real(main())


def test_addresses_that_cannot_be_bound_raise() -> None:
    async def main() -> None:
        a = await open_udp("127.0.0.1")
        with pytest.raises(OSError):
            await open_udp("127.0.0.1", a.local_address[1])
        with pytest.raises(OSError):
            await open_udp("192.0.2.199")
        a.close()

    run_real(main())


def link_local_address() -> str | None:
    from webrtc_py.runtime.interfaces import system_interfaces

    hosts = [host for interface in system_interfaces() for host in interface.addresses if host.startswith("fe80:")]
    return hosts[0] if hosts else None


@pytest.mark.row("DST-03")
def test_link_local_addresses_keep_their_zone() -> None:
    host = link_local_address()
    if host is None:
        pytest.skip("not applicable: no interface has an IPv6 link-local address")

    async def main() -> None:
        a, b = await open_udp(host), await open_udp(host)
        assert a.local_address[0] == host
        inbox = Inbox(b)
        a.send(Train.of(b"with"), b.local_address)
        a.send(Train.of(b"without"), (host.partition("%")[0], b.local_address[1]))
        assert await inbox.wait(2) == [b"with", b"without"]
        assert inbox.sources == [a.local_address] * 2
        a.close()
        b.close()

    run_real(main())


def test_loops_without_readers_use_a_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise NotImplementedError

    async def main() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(udp.UDPSocket, "__init__", refuse)
            a, b = await open_udp("127.0.0.1"), await open_udp("127.0.0.1")
        assert isinstance(a, TransportUDPSocket)
        assert isinstance(b, TransportUDPSocket)
        inbox = Inbox(b)
        train = train_of(20, 1000, 3)
        a.send(train, b.local_address)
        assert await inbox.wait(20) == [bytes(datagram) for datagram in train]
        assert inbox.sources[0] == a.local_address
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", b.local_address)
            sender.sendto(b"x", b.local_address)
        await inbox.wait(21)
        assert b.counters.empty_received == 1
        a.pause_writing()
        a.send(train, b.local_address)
        assert a.counters.send_overflows == 20
        a.resume_writing()
        b.close()
        for _ in range(3):
            a.send(Train.of(b"to nobody"), inbox.sources[0])
        a.close()
        a.send(train, b.local_address)

    run_real(main())
