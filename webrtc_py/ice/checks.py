"""The STUN that a check is made of: requests under way, their answers, and what we answer (RFC 8445 section 7)."""

from __future__ import annotations

import math
import re

from ..errors import ArgumentTypeError, InvalidAccessError
from . import stun
from .candidate import peer_reflexive_priority
from .dropped import Dropped
from .events import Outgoing
from .pair import Address, CandidatePair
from .transaction import Chance, Purpose, Transaction

# A peer's checks replace ours again and again. Agents that check five times a second are still understood over round
# trips of three seconds, and one that floods us makes us keep no more.
MAX_CANCELLED = 16

# RFC 8839 section 5.4: ice-char, and how long what we send may be. A longer user fragment is only to be understood.
_ICE_CHARS = re.compile(r"[A-Za-z0-9+/]*\Z")
_UFRAG_LENGTHS = range(4, 33)
_PWD_LENGTHS = range(22, 257)
_PEERS_UFRAG_LENGTHS = range(4, 257)
# Browsers take four more from older peers, and so do we.
_PEERS_ICE_CHARS = re.compile(r"[A-Za-z0-9+/\-=#_]*\Z")


def check_local_credentials(ufrag: str, pwd: str) -> None:
    """What may be sent (RFC 8839 section 5.4). InvalidAccessError, without the values: a log is no place for them."""
    _check_credentials("local", ufrag, pwd, _UFRAG_LENGTHS, _ICE_CHARS)


def check_remote_credentials(ufrag: str, pwd: str) -> None:
    """What is to be understood."""
    _check_credentials("remote", ufrag, pwd, _PEERS_UFRAG_LENGTHS, _PEERS_ICE_CHARS)


def _check_credentials(whose: str, ufrag: str, pwd: str, ufrag_lengths: range, characters: re.Pattern[str]) -> None:
    for name, value, lengths in (("user fragment", ufrag, ufrag_lengths), ("password", pwd, _PWD_LENGTHS)):
        if not isinstance(value, str):
            raise ArgumentTypeError(f"the {whose} {name} is of type {type(value).__name__}; it must be a string")
        if len(value) not in lengths or not characters.match(value):
            raise InvalidAccessError(
                f"the {whose} {name}, {len(value)} characters, must be {lengths[0]} to {lengths[-1]} of A-Z a-z 0-9 + /"
            )


class Checks:
    """Requests and responses of one generation. What is not authenticated is counted in ``dropped``."""

    def __init__(self, local_ufrag: str, local_pwd: str, chance: Chance, dropped: Dropped) -> None:
        self.remote_ufrag: str | None = None
        self._local_ufrag = local_ufrag
        self._local_key = local_pwd.encode()
        self._remote_key = b""
        self._chance = chance
        self._dropped = dropped
        self._transactions: dict[bytes, Transaction] = {}
        self._outgoing: list[Outgoing] = []

    def set_remote_credentials(self, ufrag: str, pwd: str) -> None:
        self.remote_ufrag = ufrag
        self._remote_key = pwd.encode()

    @property
    def remote_credentials(self) -> tuple[str, str] | None:
        """The peer's user fragment and password, once they are known."""
        return None if self.remote_ufrag is None else (self.remote_ufrag, self._remote_key.decode())

    def is_for(self, ufrag: str, pwd: str) -> bool:
        """Whether these are the peer's credentials."""
        return (ufrag, pwd.encode()) == (self.remote_ufrag, self._remote_key)

    def take_outgoing(self) -> list[Outgoing]:
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    # Requests of ours

    def send(
        self,
        pair: CandidatePair,
        purpose: Purpose,
        delays: tuple[float, ...],
        *,
        controlling: bool,
        tie_breaker: int,
        use_candidate: bool,
        nomination: tuple[int, int] | None = None,
        now: float,
    ) -> None:
        """A new request on a pair, sent at once and, but over TCP, again after each of ``delays`` but the last.

        ``nomination`` are the attribute and the value of a renomination.
        """
        transaction_id = self._chance.transaction_id()
        request = stun.binding_request(
            transaction_id,
            username=f"{self.remote_ufrag}:{self._local_ufrag}",
            key=self._remote_key,
            priority=peer_reflexive_priority(pair.base),
            controlling=controlling,
            tie_breaker=tie_breaker,
            use_candidate=use_candidate,
            nomination=nomination,
        )
        transaction = Transaction(transaction_id, pair, request, purpose, controlling, delays)
        self._transactions[transaction_id] = transaction
        pair.overdue = False
        self._transmit(transaction, now)

    def indicate(self, pair: CandidatePair) -> None:
        """A keepalive that asks for nothing (RFC 8445 section 11)."""
        indication = stun.binding_indication(self._chance.transaction_id())
        self._outgoing.append(Outgoing(pair.base_id, pair.destination, indication))

    def _transmit(self, transaction: Transaction, now: float) -> None:
        pair, again = transaction.pair, transaction.turns > 0
        if transaction.take_turn(now):
            pair.request_sent(now, again=again)
            self._outgoing.append(Outgoing(pair.base_id, pair.destination, transaction.request))

    def take_expired(self, now: float) -> list[Transaction]:
        """Send again what is due; the transactions whose time is up are returned, and forgotten."""
        expired = []
        for transaction in [t for t in self._transactions.values() if t.due <= now]:
            if transaction.exhausted:
                del self._transactions[transaction.id]
                expired.append(transaction)
            else:
                transaction.pair.overdue = True
                self._transmit(transaction, now)
        return expired

    def next_timeout(self) -> float:
        return min((t.due for t in self._transactions.values()), default=math.inf)

    def cancel(self, pair: CandidatePair) -> None:
        """No more retransmissions of its checks, but an answer still counts (RFC 8445 section 7.3.1.4)."""
        cancelled = [t for t in self._transactions.values() if t.pair is pair and t.purpose is Purpose.CHECK]
        for transaction in cancelled:
            transaction.cancel()
        for transaction in cancelled[:-MAX_CANCELLED]:
            del self._transactions[transaction.id]

    def cancel_checks(self) -> None:
        """A pair is selected, so others are not pursued (RFC 8445 section 8.1.2)."""
        for transaction in self._transactions.values():
            if transaction.purpose is not Purpose.CONSENT:
                transaction.cancel()

    def cancel_nominations(self) -> None:
        """The peer is to nominate, or another pair is."""
        for transaction in self._transactions.values():
            if transaction.purpose is Purpose.NOMINATION:
                transaction.cancel()

    @property
    def nominee(self) -> CandidatePair | None:
        """The pair that has been nominated last, until that is answered or given up."""
        for transaction in self._transactions.values():
            if transaction.purpose is Purpose.NOMINATION and not transaction.cancelled:
                return transaction.pair
        return None

    def forget(self, pair: CandidatePair, purpose: Purpose | None = None) -> None:
        """What is under way on this pair counts no more: all of it, or what has this purpose."""
        for transaction in [t for t in self._transactions.values() if t.pair is pair]:
            if purpose in (None, transaction.purpose):
                del self._transactions[transaction.id]

    def forget_all(self) -> None:
        self._transactions.clear()

    def are_pending(self, pair: CandidatePair | None = None) -> bool:
        """Whether checks are under way whose outcome matters: any, or on this pair."""
        pending = (t for t in self._transactions.values() if t.purpose is Purpose.CHECK and not t.cancelled)
        return any(pair in (None, t.pair) for t in pending)

    def match(self, response: stun.Message, base_id: int, source: Address) -> Transaction | None:
        """The transaction that a response ends, which is then forgotten; None when the response is to be dropped.

        A response from another address than was asked is dropped too, where RFC 8445 section 7.2.5.2.1 lets the pair
        fail: whoever can see a check and send it on would otherwise have a way to make pairs fail.
        """
        transaction = self._transactions.get(response.transaction_id)
        if transaction is None or (base_id, source) != (transaction.pair.base_id, transaction.pair.destination):
            self._dropped.unexpected += 1
            self._dropped.from_elsewhere += transaction is not None
            return None
        if not response.check_message_integrity(self._remote_key):
            # RFC 8489 section 9.1.4: as if it had never been received, so that the right one may still come.
            self._dropped.wrong_password += 1
            return None
        del self._transactions[transaction.id]
        return transaction

    # Requests of the peer's

    def authenticates(self, request: stun.Message) -> bool:
        """Whether the peer made this request (RFC 8445 section 7.3); counts it when not.

        The second half of the user name is the peer's own fragment; until we know that, the password must do.
        """
        attributes = request.attributes
        ours, colon, theirs = attributes.get("USERNAME", "").partition(":")
        if not colon or ours != self._local_ufrag or theirs != (self.remote_ufrag or theirs):
            self._dropped.wrong_username += 1
            return False
        if "FINGERPRINT" not in attributes or not request.check_message_integrity(self._local_key):
            self._dropped.wrong_password += 1
            return False
        return True

    def answer(self, request: stun.Message, base_id: int, source: Address) -> None:
        """The mapped address is the source as this end sees it (RFC 8445 section 7.3.1.2)."""
        response = stun.binding_success(request.transaction_id, mapped_address=source, key=self._local_key)
        self._outgoing.append(Outgoing(base_id, source, response))

    def refuse(self, request: stun.Message, base_id: int, source: Address, code: int) -> None:
        """An authenticated request that cannot be accepted."""
        response = stun.binding_error(
            request.transaction_id, code=code, key=self._local_key, unknown=request.unknown_required
        )
        self._outgoing.append(Outgoing(base_id, source, response))
