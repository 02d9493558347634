"""The DTLS transport on a path that loses packets, with a real driver on a virtual loop."""

from __future__ import annotations

import asyncio
import datetime
import gc
import random
import weakref
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from tests.dtls.pair import record
from tests.support.virtual_loop import run
from webrtc_py.certificate import Certificate
from webrtc_py.dtls import DTLSParameters, Fingerprint
from webrtc_py.dtls_transport import DTLSTransport
from webrtc_py.errors import InvalidAccessError, InvalidStateError, RTCError
from webrtc_py.runtime.shared import Shared
from webrtc_py.setting_engine import SettingEngine
from webrtc_py.states import DTLSRole, DTLSTransportState, ICERole, ICETransportState
from webrtc_py.train import Train

CERTIFICATE, OTHER = Certificate.generate(), Certificate.generate()
CONNECTED = [DTLSTransportState.CONNECTING, DTLSTransportState.CONNECTED]


class FakeICE:
    """A path to its peer: each datagram of a train may be lost, the rest arrives together."""

    def __init__(self, role: ICERole, state: ICETransportState = ICETransportState.CONNECTED) -> None:
        self.name = "fake"
        self.role = role
        self.state = state
        self.peer: FakeICE | None = None
        self.lost: Callable[[], bool] = lambda: False
        self.sent: list[bytes] = []
        self._receiver: Callable[[Train, float], None] | None = None
        self._listeners: list[Callable[[ICETransportState], None]] = []
        self._shared = Shared.of_running_loop()

    def send(self, train: Train) -> None:
        datagrams = [bytes(datagram) for datagram in train]
        self.sent += datagrams
        data = b"".join(datagram for datagram in datagrams if not self.lost())
        if data and self.peer is not None:
            self._shared.loop.call_later(0.01, self.peer.deliver, data, train.segment_size)

    def deliver(self, data: bytes, size: int | None = None) -> None:
        with self._shared.step:
            if self._receiver is not None:
                train = Train(memoryview(bytearray(data)), min(size or len(data), len(data)))
                self._receiver(train, self._shared.loop.time())

    def set_receiver(self, receiver: Callable[[Train, float], None] | None) -> None:
        self._receiver = receiver

    def add_state_listener(self, listener: Callable[[ICETransportState], None]) -> None:
        self._listeners.append(listener)

    def set_state(self, state: ICETransportState) -> None:
        self.state = state
        with self._shared.step:
            for listener in self._listeners:
                listener(state)


class Side:
    """One transport, and what it told."""

    def __init__(self, role: ICERole, certificate: Certificate, settings: SettingEngine | None = None) -> None:
        self.ice = FakeICE(role)
        self.transport = DTLSTransport(self.ice, [certificate], settings)
        self.states: list[DTLSTransportState] = []
        self.errors: list[RTCError] = []
        self.data: list[bytes] = []
        self.listened: list[DTLSTransportState] = []
        self.transport.on_state_change(self.states.append)
        self.transport.on_error(self.errors.append)
        self.transport.add_state_listener(self.listened.append)

    def take_data(self) -> None:
        self.transport.set_data_receiver(lambda train, now: self.data.extend(bytes(part) for part in train))

    def start(self, remote: Side, role: DTLSRole = DTLSRole.AUTO) -> None:
        parameters = remote.transport.get_local_parameters()
        self.transport.start(DTLSParameters(role, parameters.fingerprints))

    def send(self, *payloads: bytes) -> None:
        self.transport.send(Train(memoryview(b"".join(payloads)), len(payloads[0])))


class Two(SimpleNamespace):
    """An offerer and an answerer on one path."""

    def __init__(self, loss: float = 0.0, seed: int = 0) -> None:
        offerer, answerer = Side(ICERole.CONTROLLING, CERTIFICATE), Side(ICERole.CONTROLLED, OTHER)
        super().__init__(offerer=offerer, answerer=answerer, both=(offerer, answerer))
        offerer.ice.peer, answerer.ice.peer = answerer.ice, offerer.ice
        dice = random.Random(seed)
        for side in self.both:
            side.ice.lost = lambda: dice.random() < loss
            side.take_data()

    async def connect(self) -> Two:
        self.offerer.start(self.answerer)
        self.answerer.start(self.offerer)
        await asyncio.sleep(30)
        assert self.offerer.states == self.answerer.states == CONNECTED
        return self

    async def stop(self) -> None:
        """Stop both, and let what is under way arrive."""
        for side in self.both:
            side.transport.stop()
        await asyncio.sleep(0.1)


def test_two_transports_connect_and_carry_data() -> None:
    async def main() -> None:
        two = await Two().connect()
        assert (two.offerer.transport.role, two.answerer.transport.role) == (DTLSRole.SERVER, DTLSRole.CLIENT)
        assert two.offerer.transport.get_remote_certificate() == OTHER.der
        assert two.answerer.transport.get_remote_certificate() == CERTIFICATE.der
        assert two.offerer.transport.negotiated.cipher_suite.startswith("TLS_ECDHE_ECDSA")
        assert two.offerer.listened == two.offerer.states
        assert two.offerer.transport.failure == ""
        two.offerer.send(*(bytes((i,)) * 100 for i in range(20)), b"end")
        two.answerer.send(b"back")
        await asyncio.sleep(1)
        assert two.answerer.data == [*(bytes((i,)) * 100 for i in range(20)), b"end"]
        assert two.offerer.data == [b"back"]
        await two.stop()
        assert two.offerer.states[-1] == two.answerer.states[-1] == DTLSTransportState.CLOSED

    run(main())


@pytest.mark.row("DTL-01")
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("loss", [0.2, 0.5])
def test_the_handshake_survives_loss(loss: float, seed: int) -> None:
    async def main() -> None:
        two = await Two(loss, seed).connect()
        await two.stop()

    run(main())


@pytest.mark.row("FPR-07", "SEC-09")
def test_it_waits_for_ice_and_a_client_hello_may_come_first() -> None:
    """The peer's path works before ours is chosen: nothing is sent before, nothing is lost."""

    async def main() -> None:
        two = Two()
        two.offerer.ice.state = ICETransportState.CHECKING
        two.answerer.start(two.offerer)
        two.offerer.start(two.answerer)
        await asyncio.sleep(0.05)
        assert two.offerer.transport.state is DTLSTransportState.NEW
        assert two.answerer.transport.state is DTLSTransportState.CONNECTING
        assert two.offerer.ice.sent == []
        two.offerer.ice.set_state(ICETransportState.CONNECTED)
        assert two.offerer.ice.sent[0][0] == 22
        await asyncio.sleep(0.05)
        assert two.offerer.states == two.answerer.states == CONNECTED
        assert len(two.answerer.ice.sent) == 2
        await two.stop()

    run(main())


@pytest.mark.row("FPR-06", "FPR-07")
def test_a_client_hello_before_the_answer_is_kept_for_it() -> None:
    async def main() -> None:
        two = Two()
        two.answerer.start(two.offerer)
        await asyncio.sleep(0.05)
        assert two.offerer.transport.state is DTLSTransportState.NEW
        two.offerer.start(two.answerer)
        await asyncio.sleep(0.05)
        assert two.offerer.states == two.answerer.states == CONNECTED
        assert len(two.answerer.ice.sent) == 2
        await two.stop()

    run(main())


@pytest.mark.row("DTL-14")
def test_what_is_kept_early_is_bounded() -> None:
    async def main() -> None:
        side = Side(ICERole.CONTROLLING, CERTIFICATE)
        for size in (100, 60000):
            for _ in range(1000):
                side.ice.deliver(b"\x16" + bytes(size - 1))
        assert side.transport.dropped == 2000 - 16
        side.transport.stop()
        side.ice.deliver(b"\x16")
        assert side.transport.dropped == 2000 - 16 + 1

    run(main())


@pytest.mark.parametrize(
    ("remote", "setting", "ice", "expected"),
    [
        ("client", None, ICERole.CONTROLLED, DTLSRole.SERVER),
        ("server", None, ICERole.CONTROLLING, DTLSRole.CLIENT),
        ("auto", None, ICERole.CONTROLLING, DTLSRole.SERVER),
        ("auto", None, ICERole.CONTROLLED, DTLSRole.CLIENT),
        ("auto", "server", ICERole.CONTROLLED, DTLSRole.SERVER),
        ("client", "client", ICERole.CONTROLLED, DTLSRole.SERVER),
    ],
)
@pytest.mark.row("FPR-08", "FPR-12")
def test_roles(remote: str, setting: str | None, ice: ICERole, expected: DTLSRole) -> None:
    async def main() -> None:
        settings = SettingEngine()
        if setting is not None:
            settings.set_answering_dtls_role(setting)
        side = Side(ice, CERTIFICATE, settings)
        assert side.transport.role is DTLSRole.AUTO
        side.transport.start(DTLSParameters(remote, OTHER.get_fingerprints()))
        assert side.transport.role is expected
        assert side.transport.get_local_parameters() == DTLSParameters(expected, CERTIFICATE.get_fingerprints())
        side.transport.stop()

    run(main())


@pytest.mark.row("FPR-04", "SEC-03")
@pytest.mark.parametrize("wrong", ["offerer", "answerer"])
def test_a_wrong_fingerprint_fails_both_and_no_data_passes(wrong: str) -> None:
    async def main() -> None:
        two = Two()
        for side, other in ((two.offerer, two.answerer), (two.answerer, two.offerer)):
            deceived = side is getattr(two, wrong)
            fingerprints = [Fingerprint.of(b"x")] if deceived else other.transport.get_local_parameters().fingerprints
            side.transport.start(DTLSParameters(DTLSRole.AUTO, fingerprints))
        await asyncio.sleep(5)
        for side in two.both:
            side.send(b"secret")
            assert side.transport.state is DTLSTransportState.FAILED
            [error] = side.errors
            assert error.error_detail == ("fingerprint-failure" if side is getattr(two, wrong) else "dtls-failure")
            assert side.transport.dropped == 1
            assert side.transport.get_remote_certificate() is None
        assert two.offerer.data == two.answerer.data == []
        await two.stop()
        assert two.offerer.transport.state is DTLSTransportState.CLOSED

    run(main())


@pytest.mark.row("DTL-13")
def test_a_peer_without_dtls_fails_the_transport_in_time() -> None:
    async def main() -> None:
        side = Side(ICERole.CONTROLLED, CERTIFICATE)
        side.transport.start(DTLSParameters("server", OTHER.get_fingerprints()))
        await asyncio.sleep(29)
        assert side.states == [DTLSTransportState.CONNECTING]
        await asyncio.sleep(2)
        assert side.states == [DTLSTransportState.CONNECTING, DTLSTransportState.FAILED]
        assert side.errors[0].error_detail == "dtls-failure"
        assert str(side.errors[0]) == side.transport.failure
        assert "no answer from the peer's DTLS" in side.transport.failure

    run(main())


@pytest.mark.row("DTL-10")
def test_stop_tells_the_peer() -> None:
    async def main() -> None:
        two = await Two().connect()
        two.answerer.send(b"last words")
        two.answerer.transport.stop()
        two.answerer.transport.stop()
        await asyncio.sleep(1)
        assert two.offerer.data == [b"last words"]
        assert two.offerer.states == two.answerer.states == [*CONNECTED, DTLSTransportState.CLOSED]
        assert two.offerer.errors == two.answerer.errors == []
        assert two.offerer.ice.sent[-1][0] == 21
        await two.stop()

    run(main())


@pytest.mark.parametrize("after", [0.0, 0.005, 0.015, 0.025, 0.035])
def test_stop_at_any_moment_leaves_nothing(after: float) -> None:
    async def main() -> None:
        two = Two()
        two.offerer.start(two.answerer)
        two.answerer.start(two.offerer)
        await asyncio.sleep(after)
        await two.stop()
        for side in two.both:
            assert side.transport.state is DTLSTransportState.CLOSED
            side.send(b"x")
        await asyncio.sleep(5)

    run(main())


@pytest.mark.parametrize("where", ["on_state_change", "add_state_listener"])
def test_stop_from_inside_a_handler(where: str) -> None:
    async def main() -> None:
        two = Two()

        def on_state(state: DTLSTransportState) -> None:
            if state is DTLSTransportState.CONNECTED:
                two.offerer.transport.stop()

        getattr(two.offerer.transport, where)(on_state)
        two.offerer.start(two.answerer)
        two.answerer.start(two.offerer)
        await asyncio.sleep(5)
        assert two.offerer.transport.state is two.answerer.transport.state is DTLSTransportState.CLOSED

    run(main())


def test_the_layer_above_hears_of_the_connection_before_it_gets_data() -> None:
    async def main() -> None:
        two = Two()
        order: list[str] = []
        two.answerer.transport.add_state_listener(lambda state: order.append(state.value))
        two.answerer.transport.set_data_receiver(lambda train, now: order.append(bytes(train.data).decode()))

        def greet(state: DTLSTransportState) -> None:
            if state is DTLSTransportState.CONNECTED:
                two.offerer.send(b"at once")

        two.offerer.transport.add_state_listener(greet)
        two.offerer.start(two.answerer)
        two.answerer.start(two.offerer)
        await asyncio.sleep(5)
        assert order == ["connecting", "connected", "at once"]
        await two.stop()

    run(main())


def test_data_waits_a_little_for_its_receiver() -> None:
    async def main() -> None:
        two = Two()
        two.answerer.transport.set_data_receiver(None)
        await two.connect()
        two.offerer.send(*(bytes((i,)) for i in range(20)))
        await asyncio.sleep(1)
        two.answerer.take_data()
        assert two.answerer.data == [bytes((i,)) for i in range(16)]
        assert two.answerer.transport.dropped == 4
        await two.stop()

    run(main())


@pytest.mark.row("SEC-03")
def test_nothing_is_sent_or_taken_in_the_clear() -> None:
    async def main() -> None:
        two = Two()
        two.offerer.send(b"too early")
        await two.connect()
        two.offerer.send(b"secret words")
        two.answerer.ice.deliver(b"\x13\x88\x13\x88" + bytes(40))
        two.answerer.ice.deliver(record(23, b"in the clear"))
        await asyncio.sleep(1)
        assert two.answerer.data == [b"secret words"]
        assert two.offerer.transport.dropped == 1
        assert not any(b"secret" in datagram or b"early" in datagram for datagram in two.offerer.ice.sent)
        assert {datagram[0] for datagram in two.offerer.ice.sent} <= {20, 21, 22, 23}
        await two.stop()

    run(main())


@pytest.mark.row("DMX-01", "DMX-02", "DSR-05", "DTL-05")
def test_every_first_byte() -> None:
    """Alone and in the middle of a train of data: only DTLS is looked at, and the data beside it still comes."""

    async def main() -> None:
        two = await Two().connect()
        transport = two.answerer.transport
        for first in range(256):
            [sealed] = [bytes(part.data) for part in two.offerer.transport._connection.seal(Train.of(b"good"))]
            stranger = bytes((first,)) + bytes(len(sealed) - 1)
            before = transport.dropped, transport.discarded
            two.answerer.ice.deliver(stranger)
            two.answerer.ice.deliver(stranger + sealed + stranger + stranger[:-1], len(sealed))
            counted = transport.dropped - before[0], transport.discarded - before[1]
            assert counted == ((0, 4) if 20 <= first <= 63 else (4, 0))
        assert two.answerer.data == [b"good"] * 256
        assert transport.state is DTLSTransportState.CONNECTED
        await two.stop()

    run(main())


@pytest.mark.row("DMX-01", "DMX-02", "DSR-05")
def test_other_protocols_before_the_handshake_change_nothing() -> None:
    async def main() -> None:
        two = Two()
        for first in range(256):
            if not 20 <= first <= 63:
                for side in two.both:
                    side.ice.deliver(bytes((first,)) + bytes(20))
        assert [side.transport.dropped for side in two.both] == [212, 212]
        await two.connect()
        await two.stop()

    run(main())


def test_ice_that_goes_away() -> None:
    async def main() -> None:
        two = await Two().connect()
        two.offerer.ice.set_state(ICETransportState.DISCONNECTED)
        two.offerer.ice.set_state(ICETransportState.FAILED)
        two.offerer.ice.set_state(ICETransportState.CONNECTED)
        assert two.offerer.transport.state is DTLSTransportState.CONNECTED
        two.offerer.ice.set_state(ICETransportState.CLOSED)
        assert two.offerer.transport.state is DTLSTransportState.CLOSED
        two.offerer.ice.set_state(ICETransportState.CLOSED)
        await two.stop()

    run(main())


def test_wrong_calls() -> None:
    async def main() -> None:
        side = Side(ICERole.CONTROLLED, CERTIFICATE)
        for fingerprints in ([], [Fingerprint("sha-1", "00:" * 19 + "00")]):
            with pytest.raises(InvalidAccessError, match=r"sha-256, sha-384 or sha-512 is needed, not (none|sha-1)"):
                side.transport.start(DTLSParameters("auto", fingerprints))
        side.start(side)
        with pytest.raises(InvalidStateError, match="was started already"):
            side.start(side)
        side.transport.stop()
        with pytest.raises(InvalidStateError, match="is closed"):
            side.start(side)
        stopped = Side(ICERole.CONTROLLED, CERTIFICATE)
        stopped.transport.stop()
        with pytest.raises(InvalidStateError):
            stopped.start(side)

    run(main())


@pytest.mark.row("SEC-07")
def test_each_transport_has_a_certificate_of_its_own_unless_one_is_given() -> None:
    async def main() -> None:
        own = [DTLSTransport(FakeICE(ICERole.CONTROLLED)).get_local_parameters().fingerprints for _ in range(2)]
        assert own[0] != own[1]
        given = DTLSTransport(FakeICE(ICERole.CONTROLLED), [CERTIFICATE, OTHER]).get_local_parameters()
        assert given.fingerprints == CERTIFICATE.get_fingerprints()

    run(main())


def test_an_expired_certificate_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    past = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
    monkeypatch.setattr(Certificate, "expires", property(lambda self: past))

    async def main() -> None:
        with pytest.raises(InvalidAccessError, match="expired at 2001"):
            DTLSTransport(FakeICE(ICERole.CONTROLLED), [CERTIFICATE])

    run(main())


def test_a_stopped_transport_is_freed() -> None:
    async def main() -> None:
        two = await Two().connect()
        gone = [weakref.ref(side.transport._connection._session.connection) for side in two.both]
        await two.stop()
        del two
        gc.collect()
        assert [reference() for reference in gone] == [None, None]

    run(main())
