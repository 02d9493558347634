"""Requests to a TURN server and their responses: signed, sent again, challenged, and matched (RFC 8489 section 6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from . import stun
from .credentials import Login, LongTermCredential
from .retransmission import TRANSACTION_TIMEOUT, Retransmission
from .server_codes import STALE_NONCE, TRY_ALTERNATE, UNAUTHENTICATED, UNREACHABLE

Address = tuple[str, int]

# A server that keeps answering 401 or 438 is not worth more requests than this.
_MAX_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request failed: the server's code and words, or 701. ``alternate`` is where a 300 sends us."""

    error_code: int
    reason: str
    alternate: Address | None = None


OnSuccess = Callable[[stun.Message, float], None]
OnError = Callable[[Refusal, float], None]


@dataclass(slots=True)
class Request:
    """A request that waits for its response, through all its attempts to authenticate."""

    method: stun.Method
    attributes: dict[str, Any]
    on_success: OnSuccess
    on_error: OnError
    timeout: float
    transaction_id: bytes = b""
    data: bytes = b""
    schedule: Retransmission = field(default_factory=lambda: Retransmission(0.0))
    login: Login | None = None
    attempts: int = 0
    unauthentic: Refusal | None = None

    @property
    def is_signed(self) -> bool:
        return self.login is not None


class Transactions:
    """The requests of one client to one server. ``reliable`` says that nothing is lost, and nothing is sent again."""

    def __init__(
        self, credential: LongTermCredential, *, reliable: bool, make_transaction_id: Callable[[], bytes]
    ) -> None:
        self._credential = credential
        self._reliable = reliable
        self._make_transaction_id = make_transaction_id
        self._pending: dict[bytes, Request] = {}
        self.output: list[bytes] = []
        """What is to be sent."""
        self.dropped = 0
        """Responses to nothing, and those that somebody else has made."""

    def request(
        self,
        method: stun.Method,
        attributes: dict[str, Any],
        on_success: OnSuccess,
        on_error: OnError,
        now: float,
        timeout: float = TRANSACTION_TIMEOUT,
    ) -> Request:
        """Send a request; one of the two is called, from :meth:`receive` or :meth:`handle_timeout`."""
        request = Request(method, attributes, on_success, on_error, timeout)
        self._transmit(request, now)
        return request

    def give_up_all(self) -> None:
        """Forget them all: nothing is called any more."""
        self._pending.clear()

    def finish(self, request: Request, on_success: OnSuccess, on_error: OnError) -> None:
        """Wait for this one alone, and begin nothing for it any more: its end is told to others now."""
        self._pending = {request.transaction_id: request}
        request.attempts = _MAX_ATTEMPTS
        request.on_success, request.on_error = on_success, on_error

    def receive(self, message: stun.Message, now: float) -> None:
        """Take a response."""
        request = self._pending.get(message.transaction_id)
        if request is None or message.message_method != request.method:
            self.dropped += 1
            return
        refusal = None if message.message_class == stun.Class.RESPONSE else _refusal_of(message)
        is_challenge = refusal is not None and refusal.error_code in (UNAUTHENTICATED, STALE_NONCE)
        if request.login is not None and not is_challenge and not request.login.accepts(message):
            self._receive_unauthentic(request, refusal, now)
            return
        del self._pending[request.transaction_id]
        if message.unknown_required:
            request.on_error(Refusal(UNREACHABLE, "the server's response needs attributes that nobody knows"), now)
        elif refusal is None:
            self._credential.take_nonce(message)
            request.on_success(message, now)
        elif (
            is_challenge
            and request.attempts < _MAX_ATTEMPTS
            and self._credential.take_challenge(message, request.login)
        ):
            self._transmit(request, now)
        else:
            request.on_error(refusal, now)

    def handle_timeout(self, now: float) -> None:
        for transaction_id, request in list(self._pending.items()):
            if transaction_id not in self._pending:
                continue  # another's failure ended it all
            if request.schedule.is_over(now):
                del self._pending[transaction_id]
                request.on_error(request.unauthentic or Refusal(UNREACHABLE, "the server does not answer"), now)
            elif request.schedule.is_due(now):
                self.output.append(request.data)

    def next_timeout(self) -> float | None:
        return min((request.schedule.due for request in self._pending.values()), default=None)

    def _transmit(self, request: Request, now: float) -> None:
        request.transaction_id = self._make_transaction_id()
        message = stun.Message(request.method, stun.Class.REQUEST, request.transaction_id, dict(request.attributes))
        request.data = self._credential.sign(message)
        request.login = self._credential.login
        request.attempts += 1
        timeout = request.timeout if request.attempts == 1 else request.schedule.deadline - now
        request.schedule = Retransmission(now, reliable=self._reliable, timeout=timeout)
        self._pending[request.transaction_id] = request
        self.output.append(request.data)

    def _receive_unauthentic(self, request: Request, refusal: Refusal | None, now: float) -> None:
        """Over UDP it is as if it had never come (RFC 8489 section 9.2.5); when nothing better comes, it says why."""
        self.dropped += 1
        # A stranger's word on where to go instead is none.
        request.unauthentic = (
            Refusal(UNREACHABLE, "the server's response has no valid MESSAGE-INTEGRITY")
            if refusal is None
            else Refusal(refusal.error_code, refusal.reason)
        )
        if self._reliable:
            del self._pending[request.transaction_id]
            request.on_error(request.unauthentic, now)


def _refusal_of(message: stun.Message) -> Refusal:
    code, reason = message.attributes.get("ERROR-CODE", (UNREACHABLE, "an error response without an error code"))
    return Refusal(code, reason, message.attributes.get("ALTERNATE-SERVER") if code == TRY_ALTERNATE else None)
