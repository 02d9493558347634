"""The system's network interfaces, through ifaddr."""

from __future__ import annotations

import functools
import ipaddress
import socket
import struct
import sys
import time

import ifaddr

from .network import Interface

_SIOCGIFFLAGS = 0x8913
_IFF_UP = 0x1

# Linux's table of IPv6 addresses, and its flags (linux/if_addr.h): what getifaddrs does not tell. Of the thread's
# network namespace, as getifaddrs.
_IF_INET6 = "/proc/thread-self/net/if_inet6"
_TEMPORARY = 0x01
_DUPLICATE = 0x08
_DEPRECATED = 0x20
_TENTATIVE = 0x40

# Connections that are made in a burst share one look at the interfaces, which costs each half a millisecond.
_RECENT = 0.1


def recent_interfaces() -> list[Interface]:
    """What :func:`system_interfaces` gave a tenth of a second ago or later."""
    return _interfaces_of(int(time.monotonic() / _RECENT))


def system_interfaces() -> list[Interface]:
    """The interfaces that are up, loopback included; half a millisecond on Linux.

    Addresses that cannot be bound yet, or never will be since another host has them, are left out.
    """
    flags = _ipv6_flags()
    interfaces = []
    for adapter in ifaddr.get_adapters():
        if not _is_up(adapter.name):
            continue
        addresses: dict[str, int] = {}
        for entry in adapter.ips:
            if isinstance(entry.ip, str):
                addresses[entry.ip] = 0
                continue
            host, _, scope = entry.ip
            flag = flags.get((adapter.name, ipaddress.IPv6Address(host).packed), 0)
            if not flag & (_DUPLICATE | _TENTATIVE):
                addresses[f"{host}%{adapter.name}" if scope else host] = flag
        interfaces.append(
            Interface(adapter.name, tuple(addresses), _having(addresses, _TEMPORARY), _having(addresses, _DEPRECATED))
        )
    return interfaces


def forget_recent_interfaces() -> None:
    """Something has changed just now."""
    _interfaces_of.cache_clear()


@functools.lru_cache(maxsize=1)
def _interfaces_of(moment: int) -> list[Interface]:
    return system_interfaces()


def _having(addresses: dict[str, int], flag: int) -> frozenset[str]:
    return frozenset(host for host, flags in addresses.items() if flags & flag)


def _ipv6_flags() -> dict[tuple[str, bytes], int]:
    """The flags of each IPv6 address on each interface; empty where the system has no such table."""
    try:
        with open(_IF_INET6) as table:
            lines = table.readlines()
    except OSError:
        return {}
    flags = {}
    for line in lines:
        # The address, the interface's number, prefix length, scope and flags in hexadecimal, then the name.
        address, _, _, _, flag, name = line.split()
        flags[name, bytes.fromhex(address)] = int(flag, 16)
    return flags


def _is_up(name: str) -> bool:
    """Linux reports the addresses of interfaces that are down; elsewhere binding to them tells."""
    if sys.platform != "linux":
        return True
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            # struct ifreq: the name in 16 octets, then the flags.
            answer = fcntl.ioctl(sock, _SIOCGIFFLAGS, struct.pack("16s24x", name.encode()[:15]))
        except OSError:
            return False
    flags: int = struct.unpack_from("=H", answer, 16)[0]
    return bool(flags & _IFF_UP)
