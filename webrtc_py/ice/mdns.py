"""Names in .local that hide addresses (draft-ietf-mmusic-mdns-ice-candidates): the peer's are resolved, ours answered.

One socket for each family serves all agents that share a loop and a network. It hears everybody's mDNS, so a datagram
is looked through for the names that matter to us before it is worth parsing.
"""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from ..errors import ParseError
from ..runtime.network import Address, MulticastSocket, Network
from ..runtime.shared import Shared
from ..runtime.system_network import SystemNetwork
from ..train import Train
from . import mdns_message as message
from .mdns_message import AddressRecord, Message, Question

logger = logging.getLogger(__name__)

_PORT = 5353
_GROUPS = ("224.0.0.251", "ff02::fb")

# RFC 6762 section 5.2: queries for a name are a second apart at first, then further.
_WAITS = (1.0, 2.0, 4.0)
# RFC 6762 section 6: a record is multicast once a second at most. A querier that comes in between waits for the next.
_ANSWER_INTERVAL = 1.0
# Messages that are parsed in a second. Whoever sends more of those with our names in them is not asking.
_MAX_PARSED = 200
# RFC 6762 section 7.1: who knows an answer with half its time to live or more need not hear it again.
_KNOWN_TTL = 60

_NAME = re.compile(r"[a-z0-9-]{1,63}\.local\Z", re.IGNORECASE)


def new_name() -> str:
    """A name for an address, that tells nothing of it."""
    return f"{uuid.uuid4()}.local"


def is_usable_name(name: str) -> bool:
    """Whether it is one label and ``.local``: nothing else is such a name (section 3.2.1 of the draft)."""
    return bool(_NAME.match(name))


@dataclass(slots=True)
class _Published:
    """A name of ours, with the address behind it, and how many have published it."""

    record: AddressRecord
    users: int = 0
    answered: float = -_ANSWER_INTERVAL
    due: asyncio.TimerHandle | None = None


class LocalNames:
    """What agents on one loop and network share: sockets, opened when first needed and closed with the last agent."""

    def __init__(self, network: Network | None) -> None:
        self._key = network
        self._network = network or SystemNetwork()
        self._shared = Shared.of_running_loop()
        self._users = 0
        self._opening: asyncio.Task[None] | None = None
        self._sockets: dict[str, MulticastSocket] = {}
        self._published: dict[str, _Published] = {}
        self._wanted: dict[str, list[asyncio.Future[str | None]]] = {}
        self._parsed = 0
        self._second = 0
        self.dropped = 0
        """Datagrams that named a name of ours and were malformed or too many."""

    @staticmethod
    def acquire(network: Network | None) -> LocalNames:
        """The running loop's object for a network, or the system's; each call is paired with a :meth:`release`."""
        networks = _of_loop.setdefault(asyncio.get_running_loop(), {})
        names = networks.get(network)
        if names is None:
            names = networks[network] = LocalNames(network)
        names._users += 1
        return names

    async def release(self) -> None:
        self._users -= 1
        if self._users:
            return
        networks = _of_loop[self._shared.loop]
        del networks[self._key]
        if not networks:
            del _of_loop[self._shared.loop]
        for published in self._published.values():
            if published.due is not None:
                published.due.cancel()
        self._published.clear()
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        for socket in self._sockets.values():
            socket.close()
        self._sockets.clear()

    # Names of ours

    async def publish(self, name: str, address: str) -> bool:
        """Answer for ``name`` until all who published it have withdrawn it. OSError when nobody could hear that.

        False when it is another address's here: a name hides one.

        The draft asks for an announcement too. But after it RFC 6762 section 6 would have us wait a second before the
        first answer, and nobody knows the name before the peer does.
        """
        await self._open()
        name = name.lower()
        published = self._published.setdefault(name, _Published(AddressRecord(name, address)))
        if published.record.address != address:
            return False
        published.users += 1
        return True

    def withdraw(self, name: str) -> None:
        """Answer no more, and say goodbye to who may remember (RFC 6762 section 10.1)."""
        published = self._published[name.lower()]
        published.users -= 1
        if published.users:
            return
        del self._published[name.lower()]
        if published.due is not None:
            published.due.cancel()
        if published.answered >= 0:
            record = published.record
            self._send(message.serialize_response([AddressRecord(record.name, record.address, 0)]))

    # Names of peers

    async def resolve(self, name: str, timeout: float) -> str | None:
        """The address behind a name, or None when there is none, or more than one, within ``timeout`` seconds."""
        if not is_usable_name(name):
            return None
        name = name.lower()
        published = self._published.get(name)
        if published is not None:
            return published.record.address
        answer: asyncio.Future[str | None] = self._shared.loop.create_future()
        try:
            async with asyncio.timeout(timeout):
                await self._open()
                self._wanted.setdefault(name, []).append(answer)
                for wait in _WAITS:
                    self._send(message.serialize_query(name))
                    found, _ = await asyncio.wait([answer], timeout=wait)
                    if found:
                        return answer.result()
        except TimeoutError:
            pass
        except OSError as error:
            logger.info("mDNS names cannot be resolved: %s", error)
        finally:
            answer.cancel()
            self._forget(name, answer)
        return None

    def _forget(self, name: str, answer: asyncio.Future[str | None]) -> None:
        waiting = self._wanted.get(name, [])
        if answer in waiting:
            waiting.remove(answer)
            if not waiting:
                del self._wanted[name]

    # Datagrams

    def _receive(self, train: Train, source: Address, now: float) -> None:
        for datagram in train:
            data = bytes(datagram)
            if not self._names_ours(data):
                continue
            if not self._may_parse(now):
                self.dropped += 1
                continue
            try:
                received = message.parse(data)
            except ParseError as error:
                self.dropped += 1
                logger.debug("an mDNS message from %s was not understood: %s", source[0], error)
                continue
            if received.is_response:
                self._take_answers(received)
            else:
                self._answer(received, now)

    def _names_ours(self, data: bytes) -> bool:
        """A name's first label stands in full in every message about it: compression points back to it."""
        data = data.lower()
        return any(name.partition(".")[0].encode() in data for name in self._names())

    def _names(self) -> Iterator[str]:
        yield from self._wanted
        yield from self._published

    def _may_parse(self, now: float) -> bool:
        if int(now) != self._second:
            self._second, self._parsed = int(now), 0
        self._parsed += 1
        return self._parsed <= _MAX_PARSED

    def _take_answers(self, received: Message) -> None:
        found: dict[str, set[str]] = {}
        for record in received.answers:
            if record.name in self._wanted and record.ttl:
                found.setdefault(record.name, set()).add(record.address)
        for name, addresses in found.items():
            if len(addresses) > 1:
                # Section 3.2.2 of the draft: one name hides one address, so this is some other kind of name.
                logger.info("%s has %d addresses: it is left out", name, len(addresses))
            address = addresses.pop() if len(addresses) == 1 else None
            for answer in self._wanted.pop(name):
                if not answer.done():
                    answer.set_result(address)

    def _answer(self, received: Message, now: float) -> None:
        known = {(record.name, record.address) for record in received.answers if record.ttl >= _KNOWN_TTL}
        for question in dict.fromkeys(received.questions):
            published = self._published.get(question.name)
            if published is None or not _is_for_addresses(question):
                continue
            record = published.record
            if (record.name, record.address) not in known and published.due is None:
                when = published.answered + _ANSWER_INTERVAL
                if when <= now:
                    self._multicast(published, now)
                else:
                    published.due = self._shared.loop.call_at(when, self._answer_late, published)

    def _answer_late(self, published: _Published) -> None:
        published.due = None
        self._multicast(published, self._shared.loop.time())

    def _multicast(self, published: _Published, now: float) -> None:
        published.answered = now
        self._send(message.serialize_response([published.record]))

    def _send(self, data: bytes) -> None:
        for group, socket in self._sockets.items():
            socket.send(Train.of(data), (group, _PORT))

    async def _open(self) -> None:
        """Have a socket at least, on all interfaces that there are now. OSError when there is none."""
        if self._opening is None or self._opening.done():
            self._opening = self._shared.loop.create_task(self._open_sockets(), name="open the mDNS sockets")
        await asyncio.shield(self._opening)

    async def _open_sockets(self) -> None:
        """One family is enough: many a host has no IPv6, or nobody to hear it."""
        errors = []
        for group in _GROUPS:
            try:
                socket = self._sockets.get(group)
                if socket is not None:
                    socket.join()
                    continue
                socket = await self._network.open_multicast(group, _PORT)
            except OSError as error:
                errors.append(error)
            else:
                socket.set_receiver(self._receive)
                self._sockets[group] = socket
        if len(errors) == len(_GROUPS):
            raise errors[0]


def _is_for_addresses(question: Question) -> bool:
    return question.type in (message.A, message.AAAA, message.ANY)


_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Network | None, LocalNames]] = WeakKeyDictionary()


class AgentNames:
    """What one agent has to do with names: those of the peer's that it looks up, and one for each address it hides."""

    def __init__(self, network: Network | None, first_name: str = "") -> None:
        """``first_name`` is given to the first address, instead of one drawn at random."""
        self._network = network
        self._first_name = first_name
        self._names: LocalNames | None = None
        self._hidden: dict[str, str] = {}
        self._naming = asyncio.Lock()

    async def resolve(self, name: str, timeout: float) -> str | None:
        """See :meth:`LocalNames.resolve`."""
        return await self._shared_names().resolve(name, timeout)

    async def name_of(self, address: str) -> str:
        """The name that hides an address, the same each time. OSError when it could not be resolved by anybody."""
        async with self._naming:  # two generations may ask at once
            name = self._hidden.get(address)
            if name is None:
                names = self._shared_names()
                name = self._first_name
                if not name or not await names.publish(name, address):
                    name = new_name()
                    await names.publish(name, address)
                self._first_name = ""
                self._hidden[address] = name
            return name

    def withdraw(self, address: str) -> None:
        """The address is not ours any more."""
        name = self._hidden.pop(address, None)
        if name is not None:
            self._shared_names().withdraw(name)

    async def close(self) -> None:
        if self._names is None:
            return
        for address in list(self._hidden):
            self.withdraw(address)
        names, self._names = self._names, None
        await names.release()

    def _shared_names(self) -> LocalNames:
        if self._names is None:
            self._names = LocalNames.acquire(self._network)
        return self._names
