"""ICETransport: W3C's states, roles, early candidates, and the data that passes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.support.virtual_loop import run
from tests.support.virtual_network import VirtualNetwork
from webrtc_py.errors import InvalidAccessError, InvalidStateError
from webrtc_py.ice_gatherer import GathererListener, ICEGatherer
from webrtc_py.ice_parameters import ICECandidate, ICECandidatePair, ICEGatherOptions, ICEParameters
from webrtc_py.ice_transport import ICETransport
from webrtc_py.setting_engine import SettingEngine
from webrtc_py.states import CandidateType, ICERole, ICETransportState
from webrtc_py.train import Train


class Side:
    def __init__(self, network: VirtualNetwork, name: str) -> None:
        settings = SettingEngine()
        settings.set_net(network.hosts[name])
        self.gatherer = ICEGatherer(ICEGatherOptions(), settings)
        self.transport = ICETransport(self.gatherer)
        self.heard: list[str] = []
        self.told: list[str] = []
        self.received: list[bytes] = []
        self.transport.add_state_listener(lambda state: self.heard.append(str(state)))
        self.transport.on_connection_state_change(lambda state: self.told.append(str(state)))

    @property
    def parameters(self) -> ICEParameters:
        return self.gatherer.get_local_parameters()

    def take(self, train: Train, now: float) -> None:
        self.received += [bytes(one) for one in train]


class Both:
    def __init__(self, network: VirtualNetwork) -> None:
        network.host("alice", "192.0.2.1")
        network.host("bob", "192.0.2.2")
        self.network = network
        self.one, self.other = Side(network, "alice"), Side(network, "bob")

    async def __aenter__(self) -> Both:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(self.one.transport.stop(), self.other.transport.stop())

    async def gather(self) -> None:
        for side in (self.one, self.other):
            await side.gatherer.gather()
            await side.gatherer.gathering_complete()

    async def start(self) -> None:
        await self.one.transport.start(self.one.gatherer, self.other.parameters, "controlling")
        await self.other.transport.start(None, self.one.parameters, ICERole.CONTROLLED)

    def exchange(self, *, end: bool = True) -> None:
        for near, far in ((self.one, self.other), (self.other, self.one)):
            far.transport.set_remote_candidates(near.gatherer.get_local_candidates())
            if end:
                far.transport.add_remote_candidate(None)

    async def connect(self) -> None:
        await self.gather()
        self.exchange()
        await self.start()
        await asyncio.sleep(1)


def with_both(test: Callable[[Both], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with Both(VirtualNetwork(seed=1, delay=0.01)) as both:
            await test(both)

    run(main())


def test_states_from_new_to_closed() -> None:
    async def test(both: Both) -> None:
        one, other = both.one, both.other
        assert str(one.transport.role) == "None"
        await both.gather()
        await both.start()
        await asyncio.sleep(1)
        # W3C: without a remote candidate there is nothing to check.
        assert str(one.transport.state) == "new"
        both.exchange(end=False)
        assert str(one.transport.state) == "checking"
        await asyncio.sleep(1)
        assert (one.transport.role, other.transport.role) == (ICERole.CONTROLLING, ICERole.CONTROLLED)
        assert str(one.transport.state) == "connected"
        one.transport.add_remote_candidate(None)
        await asyncio.sleep(0)
        assert str(one.transport.state) == "completed"
        await one.transport.stop()
        await asyncio.sleep(0)
        assert one.heard == one.told == ["checking", "connected", "completed", "closed"]
        assert other.heard == ["checking", "connected"]

    with_both(test)


def test_candidates_that_come_before_start_wait_for_it() -> None:
    async def test(both: Both) -> None:
        await both.connect()
        assert both.one.transport.state is ICETransportState.COMPLETED
        assert both.one.heard == ["checking", "connected", "completed"]

    with_both(test)


@pytest.mark.row("ICE-34")
def test_a_peer_that_nobody_signalled_shows_checking_and_connected() -> None:
    async def test(both: Both) -> None:
        await both.gather()
        await both.start()
        both.other.transport.set_remote_candidates(both.one.gatherer.get_local_candidates())
        await asyncio.sleep(2)
        assert both.one.heard == ["checking", "connected"]
        pair = both.one.transport.get_selected_candidate_pair()
        assert pair is not None
        assert pair.remote.typ is CandidateType.PRFLX

    with_both(test)


@pytest.mark.row("CON-07")
def test_silence_shows_disconnected_recovery_and_failure() -> None:
    async def test(both: Both) -> None:
        await both.connect()
        alice, bob = both.network.hosts["alice"], both.network.hosts["bob"]
        both.network.cut(alice, bob)
        await asyncio.sleep(10)
        both.network.restore(alice, bob)
        await asyncio.sleep(10)
        assert both.one.heard[3:] == ["disconnected", "connected", "completed"]
        both.network.cut(alice, bob)
        await asyncio.sleep(60)
        assert both.one.heard[6:] == ["disconnected", "failed"]
        assert both.one.transport.failure
        both.one.transport.send(Train.of(b"x"))

    with_both(test)


def test_selected_pair_and_its_figures() -> None:
    async def test(both: Both) -> None:
        assert both.one.transport.get_selected_candidate_pair() is None
        assert both.one.transport.get_selected_candidate_pair_stats() is None
        told: list[ICECandidatePair] = []
        both.one.transport.on_selected_candidate_pair_change(told.append)
        await both.connect()
        pair = both.one.transport.get_selected_candidate_pair()
        assert pair is not None
        assert told == [pair]
        assert (pair.local.address, pair.remote.address) == ("192.0.2.1", "192.0.2.2")
        both.other.transport.set_receiver(both.other.take)
        both.one.transport.send(Train(memoryview(b"\x80" * 250), 100))
        await asyncio.sleep(1)
        assert [len(data) for data in both.other.received] == [100, 100, 50]
        sent = both.one.transport.get_selected_candidate_pair_stats()
        got = both.other.transport.get_selected_candidate_pair_stats()
        assert sent is not None
        assert got is not None
        assert (sent.packets_sent, sent.bytes_sent) == (3, 250) == (got.packets_received, got.bytes_received)
        assert sent.current_round_trip_time == pytest.approx(0.02)
        assert len(both.one.transport.get_candidate_pairs_stats()) == 1
        assert [one.address for one in both.one.transport.get_remote_candidates()] == ["192.0.2.2"]

    with_both(test)


def test_wrong_calls() -> None:
    async def test(both: Both) -> None:
        one, other = both.one, both.other
        with pytest.raises(ValueError, match="boss"):
            await one.transport.start(None, other.parameters, "boss")
        with pytest.raises(InvalidStateError):
            await one.transport.start(other.gatherer, other.parameters, "controlling")
        with pytest.raises(InvalidAccessError):
            await one.transport.start(None, ICEParameters("x", "y"), "controlling")
        assert one.transport.role is None
        await one.transport.start(None, other.parameters, "controlling")
        assert one.transport.get_remote_parameters() == other.parameters
        with pytest.raises(InvalidStateError):
            await one.transport.start(None, other.parameters, "controlling")
        await one.transport.stop()
        with pytest.raises(InvalidStateError):
            one.transport.add_remote_candidate(None)
        with pytest.raises(InvalidStateError):
            await one.transport.start(None, other.parameters, "controlling")

    with_both(test)


@pytest.mark.row("ICE-41", "ICE-42", "TRI-08")
@pytest.mark.parametrize("end", [True, False])
def test_a_restart(end: bool) -> None:
    async def test(both: Both) -> None:
        await both.connect()
        before = {side: (side.parameters, side.transport.get_remote_parameters()) for side in (both.one, both.other)}
        both.other.transport.set_receiver(both.other.take)
        paths: list[bool] = []
        both.one.transport.add_path_listener(paths.append)
        for side in (both.one, both.other):
            role = side.transport.role
            await side.transport.restart()
            assert side.transport.is_restarting
            assert side.transport.role is role
            assert str(side.gatherer.state) == "gathering"
            await side.gatherer.gathering_complete()
            assert side.parameters not in before[side]
            assert side.transport.get_local_parameters() == side.parameters
            assert [one.username_fragment for one in side.transport.get_local_candidates()] == [
                side.parameters.username_fragment
            ]
        both.one.transport.send(Train.of(b"over the old path"))
        both.exchange(end=end)
        # Whatever role is given, it stays.
        await both.one.transport.start(None, both.other.parameters, "controlled")
        await both.other.transport.start(None, both.one.parameters, "controlled")
        assert both.one.transport.get_remote_parameters() == both.other.parameters
        with pytest.raises(InvalidStateError, match="started"):
            await both.one.transport.start(None, both.other.parameters, "controlling")
        await asyncio.sleep(1)
        assert not both.one.transport.is_restarting
        assert [str(side.transport.role) for side in (both.one, both.other)] == ["controlling", "controlled"]
        both.one.transport.send(Train.of(b"over the new path"))
        await asyncio.sleep(1)
        assert both.other.received == [b"over the old path", b"over the new path"]
        assert "failed" not in both.one.heard
        assert "disconnected" not in both.one.heard
        # From the same socket to the same address: for the layers above nothing has changed.
        assert paths == []

    with_both(test)


def test_a_restart_is_cancelled() -> None:
    async def test(both: Both) -> None:
        await both.connect()
        heard = list(both.one.heard)
        parameters, candidates = both.one.parameters, both.one.gatherer.get_local_candidates()
        await both.one.transport.restart(ICEParameters("abcd", "p" * 22))
        assert both.one.parameters == ICEParameters("abcd", "p" * 22)
        both.one.transport.cancel_restart()
        assert both.one.parameters == parameters
        assert both.one.gatherer.get_local_candidates() == candidates
        assert str(both.one.gatherer.state) == "complete"
        assert not both.one.transport.is_restarting
        for call in (both.one.transport.cancel_restart, both.other.transport.cancel_restart):
            with pytest.raises(InvalidStateError):
                call()
        with pytest.raises(InvalidStateError, match="started"):
            await both.one.transport.start(None, both.other.parameters, "controlling")
        await asyncio.sleep(60)
        assert both.one.heard == [*heard, "connected", "completed"]

    with_both(test)


def test_restarts_that_cannot_be() -> None:
    async def test(both: Both) -> None:
        with pytest.raises(InvalidStateError, match="not been started"):
            await both.one.transport.restart()
        await both.connect()
        for parameters in (ICEParameters("abc", "p" * 22), ICEParameters("abcd", "p" * 21)):
            with pytest.raises(InvalidAccessError):
                await both.one.transport.restart(parameters)
        assert not both.one.transport.is_restarting
        await both.one.transport.stop()
        with pytest.raises(InvalidStateError, match="closed"):
            await both.one.transport.restart()

    with_both(test)


@pytest.mark.row("X-04")
def test_an_outage_is_told_to_the_layers_above() -> None:
    async def test(both: Both) -> None:
        await both.connect()
        paths: list[bool] = []
        both.one.transport.add_path_listener(paths.append)
        alice, bob = both.network.hosts["alice"], both.network.hosts["bob"]
        both.network.cut_for(10, alice, bob)
        await asyncio.sleep(30)
        assert paths == [True]

    with_both(test)


class Signalling(GathererListener):
    """Brings candidates to the other side at once."""

    def __init__(self, far: ICETransport) -> None:
        self._far = far

    def local_candidate(self, candidate: ICECandidate | None) -> None:
        self._far.add_remote_candidate(candidate)


@pytest.mark.parametrize("after", [0.0, 0.005, 0.015, 0.025, 0.05, 1.0])
def test_stop_at_any_moment_leaves_nothing(after: float) -> None:
    async def test(both: Both) -> None:
        for side, far in ((both.one, both.other), (both.other, both.one)):
            side.gatherer.add_listener(Signalling(far.transport))
        for side in (both.one, both.other):
            await side.gatherer.gather()
        await both.start()
        await asyncio.sleep(after)

    with_both(test)
