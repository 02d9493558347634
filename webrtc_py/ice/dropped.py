"""What was dropped, by reason. What comes from the network is never worth more than a count."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Dropped:
    """Datagrams and candidates of one generation."""

    malformed: int = 0
    """Not STUN as RFC 8489 has it, or not a Binding."""
    wrong_username: int = 0
    """Requests that are not meant for us, or are not of the peer that we know."""
    wrong_password: int = 0
    """Requests and responses for our user name, made with another password."""
    unexpected: int = 0
    """Responses to nothing that waits, or from another address than was asked."""
    from_elsewhere: int = 0
    """Those of them that were from another address."""
    refused: int = 0
    """Checks from addresses that are filtered out, or too many."""
    ignored: dict[str, int] = field(default_factory=dict)
    """Remote candidates that are not used, by why not. The reasons are few, whatever the peer says."""

    def ignore(self, why: str) -> None:
        """Count a remote candidate that is not used."""
        self.ignored[why] = self.ignored.get(why, 0) + 1

    @property
    def unauthenticated(self) -> int:
        """Requests and responses under another user name or password."""
        return self.wrong_username + self.wrong_password

    @property
    def candidates(self) -> int:
        """Remote candidates that are not used."""
        return sum(self.ignored.values())
