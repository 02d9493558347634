"""The retransmission timer of flights (RFC 6347 section 4.2.4)."""

from __future__ import annotations

import pytest

from tests.dtls.pair import record
from webrtc_py.dtls.flight import INITIAL_TIMEOUT, MAX_TIMEOUT, Flight


def flight_of(message_seq: int, record_seq: int = 0) -> bytes:
    return record(22, b"\x01\x00\x00\x01" + message_seq.to_bytes(2, "big") + bytes(7), sequence=record_seq)


@pytest.mark.row("DTL-01")
def test_the_timer_doubles_up_to_its_bound() -> None:
    flight = Flight()
    assert flight.deadline is None
    flight.replace(flight_of(0), 10.0)
    now, waits = 10.0, []
    for _ in range(7):
        assert flight.deadline is not None
        waits.append(flight.deadline - now)
        now = flight.deadline
        flight.back_off(now)
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0])


def test_a_new_flight_starts_the_timer_anew_and_the_same_one_does_not() -> None:
    flight = Flight()
    assert flight.replace(flight_of(0), 0.0)
    flight.back_off(0.0)
    assert not flight.replace(flight_of(0, record_seq=5), 1.0)
    assert flight.deadline == 1.0 + 2 * INITIAL_TIMEOUT
    assert flight.records == flight_of(0, record_seq=5)
    assert flight.replace(flight_of(1), 2.0)
    assert flight.deadline == 2.0 + INITIAL_TIMEOUT


def test_the_last_flight_is_sent_again_on_request_ever_more_rarely() -> None:
    flight = Flight()
    flight.replace(record(20, b"\x01"), 0.0)
    flight.finish(0.0)
    assert flight.deadline is None
    sent = [now / 100 for now in range(1000) if flight.wanted(now / 100)]
    assert sent[0] == INITIAL_TIMEOUT / 2
    assert len(sent) < 30
    assert sent[-1] - sent[-2] == pytest.approx(MAX_TIMEOUT / 2)
    flight.forget()
    assert not flight.wanted(100.0)
