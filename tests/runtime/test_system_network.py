"""The system's interfaces and resolver."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading

import pytest

from tests.support.real_loop import run_real
from webrtc_py.runtime import interfaces
from webrtc_py.runtime.network import Network
from webrtc_py.runtime.system_network import SystemNetwork


def test_interfaces_have_names_and_numeric_addresses() -> None:
    network: Network = SystemNetwork()
    found = {interface.name: interface.addresses for interface in network.interfaces()}
    assert any("127.0.0.1" in addresses for addresses in found.values())
    for name, addresses in found.items():
        for host in addresses:
            address = ipaddress.ip_address(host)
            if isinstance(address, ipaddress.IPv6Address) and address.is_link_local:
                assert address.scope_id == name


def test_an_interface_that_is_down_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [interface.name for interface in interfaces.system_interfaces()]
    monkeypatch.setattr(interfaces, "_is_up", lambda name: name != names[0])
    assert [interface.name for interface in interfaces.system_interfaces()] == names[1:]


def test_an_interface_that_is_gone_is_not_up() -> None:
    assert not interfaces._is_up("no-such-name")


def test_numeric_addresses_and_names_are_resolved() -> None:
    async def main() -> None:
        network = SystemNetwork()
        assert await network.resolve("192.0.2.1", 3478) == [("192.0.2.1", 3478)]
        assert await network.resolve("2001:DB8:0:0::1", 1) == [("2001:db8::1", 1)]
        found = await network.resolve("localhost", 5)
        assert found
        assert set(found) <= {("127.0.0.1", 5), ("::1", 5)}

    run_real(main())


def test_names_that_cannot_be_resolved_are_os_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **more: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def main() -> None:
        network = SystemNetwork()
        with pytest.raises(OSError, match="host name"):
            await network.resolve("a" * 70 + ".example", 1)
        monkeypatch.setattr(socket, "getaddrinfo", fail)
        with pytest.raises(OSError, match="not known"):
            await network.resolve("nobody.example", 1)

    run_real(main())


def test_a_dead_name_server_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def hang(*args: object, **more: object) -> list[object]:
        release.wait(20)
        return []

    async def main() -> None:
        monkeypatch.setattr(socket, "getaddrinfo", hang)
        lookup = asyncio.get_running_loop().create_task(SystemNetwork().resolve("slow.example", 1))
        await asyncio.sleep(0)
        lookup.cancel()
        with pytest.raises(asyncio.CancelledError):
            await lookup

    # asyncio.run waits for the threads of its executor; ours must not be one of them.
    asyncio.run(main())
    assert any(thread.name == "resolve slow.example" and thread.daemon for thread in threading.enumerate())
    release.set()


def test_where_no_thread_is_left_nothing_is_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(OSError, match="thread"):
            await SystemNetwork().resolve("turn.example", 1)

    run_real(main())
