"""The times of the ICE core, their presets, and what makes no sense."""

from __future__ import annotations

import pytest

from tests.ice.core_pair import Wire, connect, two_peers
from webrtc_py.errors import InvalidAccessError
from webrtc_py.ice.options import CONSENT_TIMEOUT, AgentTimings
from webrtc_py.states import CandidateType, ICETransportState

PRESETS = [AgentTimings.gaming(), AgentTimings.conferencing(), AgentTimings.transfer(), AgentTimings.mobile()]


@pytest.mark.parametrize("timings", PRESETS)
def test_presets_hold_together(timings: AgentTimings) -> None:
    assert timings.disconnected_timeout > 2 * timings.consent_interval, (
        "a lost check or two must not be a disconnection"
    )
    assert timings.consent_interval < CONSENT_TIMEOUT / 3
    waits = [
        timings.acceptance_min_wait(kind) for kind in (CandidateType.HOST, CandidateType.SRFLX, CandidateType.PRFLX)
    ]
    assert waits == sorted(waits)
    assert timings.acceptance_min_wait(CandidateType.RELAY) >= waits[1]
    assert timings.patience >= 10


def test_presets_differ_as_their_uses_do() -> None:
    gaming, conferencing, transfer, mobile = PRESETS
    assert conferencing == AgentTimings()
    assert gaming.disconnected_timeout < conferencing.disconnected_timeout < mobile.disconnected_timeout
    assert gaming.patience < conferencing.patience < mobile.patience == transfer.patience
    assert gaming.keepalive_interval < conferencing.keepalive_interval < mobile.keepalive_interval
    assert (
        gaming.relay_acceptance_min_wait < conferencing.relay_acceptance_min_wait < transfer.relay_acceptance_min_wait
    )


@pytest.mark.parametrize("timings", PRESETS)
@pytest.mark.parametrize("seed", range(3))
def test_presets_stand_ten_per_cent_of_loss_for_ten_minutes(timings: AgentTimings, seed: int) -> None:
    wire, alice, bob = two_peers(Wire(seed, delay=0.04), timings)
    connect(wire, alice, bob)
    wire.loss = 0.1
    for _ in range(600):
        wire.run(1)
        # Data flows, as it does in each of these uses.
        for peer, other in ((alice, bob), (bob, alice)):
            path, back = peer.core.path, other.core.path
            if path is not None and back is not None:
                peer.core.data_received(path.base_id, path.destination, 100, 1, wire.now)
    assert ICETransportState.DISCONNECTED not in alice.states + bob.states


@pytest.mark.parametrize(("timings", "seconds"), list(zip(PRESETS, [2, 6, 16, 9], strict=True)))
def test_presets_notice_a_dead_path_in_their_time(timings: AgentTimings, seconds: float) -> None:
    wire, alice, bob = two_peers(Wire(), timings)
    connect(wire, alice, bob)
    wire.run(20)
    wire.blocked = lambda packet: True
    assert wire.run(seconds, lambda: alice.core.state is ICETransportState.DISCONNECTED)
    assert wire.run(timings.patience + 1, lambda: alice.core.state is ICETransportState.FAILED)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"disconnected_timeout": -1}, "disconnected_timeout is -1"),
        ({"failed_timeout": float("inf")}, "failed_timeout is inf"),
        ({"keepalive_interval": "2"}, "keepalive_interval is '2'"),
        ({"check_interval": 0.001}, r"at least 0\.005 s"),
        ({"max_binding_requests": 0}, "1 to 20"),
        ({"max_binding_requests": 2.5}, "1 to 20"),
    ],
)
def test_times_that_make_no_sense(options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidAccessError, match=message):
        AgentTimings(**options)  # type: ignore[arg-type]


def test_a_lite_agent_has_more_patience_unless_it_was_told_otherwise() -> None:
    assert AgentTimings().for_lite().disconnected_timeout == 10
    assert AgentTimings(keepalive_interval=1).for_lite() == AgentTimings(keepalive_interval=1)


def test_an_agent_of_relays_alone_waits_for_nothing() -> None:
    timings = AgentTimings.transfer().for_relay_only()
    assert {timings.acceptance_min_wait(kind) for kind in CandidateType} == {0.0}
