"""A TURN client and a server that can be told to misbehave, with the clock in hand."""

from __future__ import annotations

from itertools import count

from webrtc_py.ice import stun
from webrtc_py.ice.turn import TurnClient, TurnEvent

from .turn_server import FakeTurnServer

PEER = ("192.0.2.77", 5000)
PEER_IPV6 = ("2001:db8::77", 5000)
BOTH = ("203.0.113.9", 50000), ("2001:db8::9", 50001)
"""A server's relayed addresses, one of each family."""


def make_client(password: str = "secret", *, families: tuple[int, ...] = (4,), reliable: bool = False) -> TurnClient:
    numbers = count(1)
    return TurnClient(
        username="user",
        password=password,
        families=families,
        reliable=reliable,
        make_transaction_id=lambda: next(numbers).to_bytes(12, "big"),
    )


class Exchange:
    """A client and a server; ``now`` moves by hand."""

    def __init__(
        self, client: TurnClient | None = None, server: FakeTurnServer | None = None, *, start: float = 1000.0
    ) -> None:
        self.client = client or make_client()
        self.server = server or FakeTurnServer()
        self.now = start
        self.is_cut = False
        self.events: list[TurnEvent] = []
        self.sent: list[tuple[float, bytes]] = []

    def flush(self) -> None:
        """Pass messages to and fro until nobody has any more to say."""
        while messages := self.client.datagrams_to_send(self.now):
            for message in messages:
                self.sent.append((self.now, message))
                if self.is_cut:
                    continue
                for answer in self.server.receive(message):
                    self.client.receive(answer, self.now)
        self.events += self.client.events()

    def run(self, seconds: float) -> None:
        """Let time pass, from deadline to deadline."""
        end = self.now + seconds
        for _ in range(10_000):
            due = self.client.next_timeout()
            if due is None or due > end:
                break
            self.now = max(self.now, due)
            self.client.handle_timeout(self.now)
            self.flush()
        else:
            raise AssertionError("the client's timers do not advance")
        self.now = end

    def allocate(self) -> Exchange:
        self.client.allocate(self.now)
        self.flush()
        return self

    def send(self, data: bytes, peer: tuple[str, int] = PEER) -> None:
        message = self.client.send(data, peer, self.now)
        if message is not None:
            self.server.receive(message)
        self.flush()

    def methods(self) -> list[str]:
        return [stun.parse_message(data).message_method.name for _, data in self.sent if data[0] & 0xC0 == 0]
