"""Two cores, and a network, that do what chance wants: whatever happens, they come to use one pair, and to rest.

A story that fails is told again by its seed: ``pytest -k "lite-17"``.
"""

from __future__ import annotations

import contextlib
import random
from typing import Any

import pytest

from tests.ice.core_pair import ALICE, BOB, INSIDE, Nat, Packet, Peer, Wire, connected, host, relay
from webrtc_py.errors import WebRTCError
from webrtc_py.ice.candidate import unmarshal_candidate
from webrtc_py.ice.core import DEFAULT_MAX_PAIRS
from webrtc_py.ice.options import AgentTimings, RenominationOptions
from webrtc_py.ice.search import MAX_ALTERNATIVES
from webrtc_py.states import ICETransportState as State

LEGAL = {
    State.NEW: {State.CHECKING},
    State.CHECKING: {State.CONNECTED},
    State.CONNECTED: {State.COMPLETED, State.DISCONNECTED},
    State.COMPLETED: {State.DISCONNECTED},
    State.DISCONNECTED: {State.CONNECTED},
}
"""Of agents that never give up."""

TIMINGS = (
    AgentTimings(failed_timeout=0),
    AgentTimings(disconnected_timeout=1.5, failed_timeout=0, keepalive_interval=0.5),
    AgentTimings(disconnected_timeout=15, failed_timeout=0, keepalive_interval=5),
)
ROLES = ((True, False), (True, False), (False, True), (True, True), (False, False))
NOWHERE = ("0.0.0.0", 0)
OUTAGES = (0.3, 1.0, 3.0, 7.0, 15.0, 40.0)
PAUSES = (0.0, 0.0, 0.05, 0.5, 2.0, 5.0, 20.0)
# Retransmissions of checks, and each of them again for whatever the peer triggers; nobody sends more than this.
MOST_REQUESTS_A_SECOND = 250


class Story:
    def __init__(self, seed: int, *, bob_is_lite: bool) -> None:
        self.bob_is_lite = bob_is_lite
        self.chance = chance = random.Random(seed)
        self.wire = Wire(seed, delay=chance.choice((0.001, 0.02, 0.1, 0.3)), loss=chance.choice((0, 0.05, 0.2, 0.3)))
        self.wire.duplicates = chance.choice((0, 0.1, 0.3))
        jitter = chance.choice((0, 0.02, 0.2))
        self.wire.detour = lambda packet: chance.random() * jitter
        self.cut: dict[tuple[str, str], float] = {}
        self.wire.blocked = self.is_cut
        self.timings = chance.choice(TIMINGS)
        alice_breaks, bob_breaks = chance.choice(((1, 2), (2, 1), (7, 7)))
        self.alice = self.wire.peer("alice", ALICE, alice_breaks, **self.options())
        self.bob = self.wire.peer("bob", BOB, bob_breaks, **self.options(), lite=bob_is_lite)
        self.both = self.alice, self.bob
        self.alice.core.set_remote_lite(bob_is_lite)
        if chance.random() < 0.4:
            self.alice.nat = Nat("203.0.113.1", symmetric=chance.random() < 0.3)
        for peer in self.both:
            for _ in range(chance.randint(1, 3)):
                self.add(peer)

    def options(self) -> dict[str, Any]:
        renomination = self.chance.choice((None, RenominationOptions(automatic=False), RenominationOptions()))
        keep = self.chance.random() < 0.3
        return {"timings": self.timings, "renomination": renomination, "keep_alternatives": keep}

    def is_cut(self, packet: Packet) -> bool:
        return self.cut.get((packet.source[0], packet.destination[0]), 0.0) > self.wire.now

    def other(self, peer: Peer) -> Peer:
        return self.bob if peer is self.alice else self.alice

    def addresses(self, peer: Peer) -> list[str]:
        """As the other end sees them."""
        seen = [address for address, _ in peer.bases.values() if address != NOWHERE[0]]
        return [peer.nat.public if peer.nat and one.startswith(INSIDE) else one for one in seen]

    def tell(self, peer: Peer) -> None:
        """Name all candidates of a peer to the other, once more if need be."""
        for candidate in peer.core.local_candidates:
            self.other(peer).hear_of(unmarshal_candidate(candidate.marshal()))

    # What may happen

    def begin(self) -> None:
        parts = list(zip(self.both, self.chance.choice(ROLES), strict=True))
        self.chance.shuffle(parts)
        for peer, controlling in parts:
            peer.meet(self.other(peer), controlling=controlling, candidates=self.chance.random() < 0.8)
            self.wire.run(self.chance.choice((0, 0, 0.1, 1)))

    def add(self, peer: Peer | None = None) -> None:
        """Another base, of which the other end may hear or not."""
        peer = peer or self.chance.choice(self.both)
        index = len(peer.bases)
        if index >= 5:
            return
        network = {"alice": f"{INSIDE}0.0." if peer.nat else "192.0.2.", "bob": "198.51.100."}[peer.name]
        if self.chance.random() < 0.2 and not (self.bob_is_lite and peer is self.bob):
            peer.add(relay(f"203.0.113.{10 + index + 10 * len(peer.name)}", index=index))
        else:
            peer.add(host(f"{network}{index + 1}", index=index))
        if self.chance.random() < 0.5:
            self.tell(peer)

    def lose(self) -> None:
        peer = self.chance.choice(self.both)
        if len(self.addresses(peer)) > 1:
            base_id = self.chance.choice(list(peer.bases))
            peer.bases[base_id] = NOWHERE
            peer.core.base_lost(base_id, self.wire.now)
            peer.flush()

    def end_a_path(self) -> None:
        """For a while, in one direction or both."""
        until = self.wire.now + self.chance.choice(OUTAGES)
        ends = self.chance.choice(self.addresses(self.alice)), self.chance.choice(self.addresses(self.bob))
        ways = [ends, ends[::-1]]
        for way in ways if self.chance.random() < 0.6 else [self.chance.choice(ways)]:
            self.cut[way] = until

    def end_all_paths(self) -> None:
        until = self.wire.now + self.chance.choice(OUTAGES)
        for ours in self.addresses(self.alice):
            for theirs in self.addresses(self.bob):
                self.cut[ours, theirs] = self.cut[theirs, ours] = until

    def renominate(self) -> None:
        for _ in range(self.chance.choice((1, 1, 3))):
            for peer in self.both:
                if peer.core.pairs:
                    pair = self.chance.choice(peer.core.pairs)
                    with contextlib.suppress(WebRTCError):
                        peer.core.renominate(pair.local, pair.remote, self.wire.now)
            self.wire.flush()

    def forget_mappings(self) -> None:
        if self.alice.nat is not None:
            self.alice.nat.forget()

    def talk(self, seconds: float | None = None) -> None:
        """Both, or one alone."""
        talkers = self.both if seconds else self.chance.choice((self.both, (self.alice,), (self.bob,)))
        for _ in range(round((seconds or 3 * self.chance.random()) * 10)):
            for peer in talkers:
                peer.talk()
            self.wire.run(0.1)

    def go_on(self) -> None:
        deeds = (
            (self.end_a_path, 3),
            (self.renominate, 3),
            (self.talk, 2),
            (self.add, 1),
            (self.lose, 1),
            (self.end_all_paths, 1),
            (self.forget_mappings, 1),
        )
        [deed] = self.chance.choices([deed for deed, _ in deeds], [weight for _, weight in deeds])
        deed()
        self.wire.run(self.chance.choice(PAUSES))

    def be_healed(self) -> None:
        """From now on all paths work, and each end knows of all."""
        self.cut.clear()
        self.wire.loss = self.wire.duplicates = 0.0
        for peer in self.both:
            self.tell(peer)

    # What must be

    def path(self, peer: Peer) -> tuple[Any, Any]:
        """The two ends that a peer sends between, as the network sees them."""
        path = peer.core.path
        if path is None:
            return None, None
        source = peer.bases[path.base_id]
        if peer.nat is not None and source[0].startswith(INSIDE):
            source = peer.nat.out(source, path.destination)
        return source, path.destination

    def check_always(self, since: int, seconds: float) -> None:
        sent = len([packet for packet in self.wire.log[since:] if packet.data[0] == 0 and packet.is_request])
        assert sent <= 2 * MOST_REQUESTS_A_SECOND * max(seconds, 1.0)
        for peer in self.both:
            assert len(peer.core.pairs) <= DEFAULT_MAX_PAIRS
            state = State.NEW
            for following in peer.states:
                assert following in LEGAL[state]
                state = following

    def check_the_end(self) -> None:
        alice, bob = self.both
        assert connected(alice, bob), [alice.core.state, bob.core.state]
        assert alice.core.controlling is not bob.core.controlling
        assert self.path(alice) == self.path(bob)[::-1]
        mark = len(self.wire.log)
        self.wire.run(60)
        # Questions and answers, on the selected pair and the alternatives of each end; a doubt is cleared up faster.
        pairs = [1 + MAX_ALTERNATIVES * (peer.core.pairs[1:] != []) for peer in self.both]
        most = 2 * 60 * sum(pairs) / (0.5 * self.timings.consent_interval)
        assert len(self.wire.log) - mark <= most


@pytest.mark.row("ICE-32", "ICE-35", "ICE-50", "ICE-54", "REN-02", "REN-03", "CON-07")
@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("bob_is_lite", [False, True], ids=["full", "lite"])
def test_whatever_happens_both_ends_come_to_use_one_pair(seed: int, bob_is_lite: bool) -> None:
    story = Story(seed, bob_is_lite=bob_is_lite)
    story.begin()
    for _ in range(story.chance.randint(3, 30)):
        since, then = len(story.wire.log), story.wire.now
        story.go_on()
        story.check_always(since, story.wire.now - then)
    story.be_healed()
    story.wire.run(35)
    story.talk(25)
    story.check_the_end()
