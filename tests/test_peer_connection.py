"""One connection by itself: its methods, states and errors, up to where a peer would answer, and its end."""

from __future__ import annotations

import asyncio
import datetime
import gc
import logging
import weakref
from typing import Any

import pytest

from tests.jsep.ends import FINGERPRINT, HOST
from tests.support.lone_connection import REMOTE_OFFER, Log, connection, in_connection, ufrag_line
from tests.support.virtual_loop import run, turns
from webrtc_py import (
    API,
    Certificate,
    Configuration,
    ConnectionClosedError,
    ICECandidate,
    ICECandidateInit,
    ICECandidateStats,
    ICEServer,
    InvalidAccessError,
    InvalidModificationError,
    InvalidStateError,
    OfferOptions,
    OperationError,
    PeerConnection,
    SDPSyntaxError,
    SessionDescription,
    SettingEngine,
    URLSyntaxError,
    WaitTimeoutError,
)
from webrtc_py.sdp import Session, parse

# Making one


@pytest.mark.row("WPC-09")
def test_a_configuration_that_cannot_be_used() -> None:
    async def main() -> None:
        with pytest.raises(URLSyntaxError):
            PeerConnection(Configuration([ICEServer("example.org")]))
        with pytest.raises(InvalidAccessError):
            PeerConnection(Configuration([ICEServer("turn:example.org")]))

    run(main())


@pytest.mark.row("WPC-13")
def test_an_expired_certificate_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=1)
    monkeypatch.setattr(Certificate, "expires", past)

    async def main() -> None:
        with pytest.raises(InvalidAccessError, match="expired"):
            PeerConnection(Configuration(certificates=[Certificate.generate()]))

    run(main())


@pytest.mark.row("SEC-07", "WPC-13")
def test_a_certificate_of_its_own_unless_one_is_given() -> None:
    async def main() -> None:
        given = Certificate.generate()
        prints = []
        for certificates in ([], [], [given], [given]):
            async with connection(configuration=Configuration(certificates=certificates)) as pc:
                pc.create_data_channel("x")
                offer = await pc.create_offer()
                prints.append(parse(offer.sdp).media[0].fingerprints)
        assert len({*prints}) == 3
        assert prints[2] == prints[3] == (("sha-256", given.get_fingerprints()[0].value),)

    run(main())


def test_the_settings_are_copied() -> None:
    settings = SettingEngine()
    api = API(setting_engine=settings)
    settings.set_sctp_max_message_size(1000)
    assert api.setting_engine.sctp_max_message_size == 262144


def test_outside_of_a_loop_it_cannot_be_made() -> None:
    with pytest.raises(RuntimeError):
        PeerConnection()


@pytest.mark.row("WPC-07")
def test_how_it_begins() -> None:
    async def body(pc: PeerConnection) -> None:
        assert pc.signaling_state == "stable"
        assert {str(pc.connection_state), str(pc.ice_connection_state), str(pc.ice_gathering_state)} == {"new"}
        assert (pc.local_description, pc.remote_description, pc.sctp, pc.can_trickle_ice_candidates) == (None,) * 4

    in_connection(body)


@pytest.mark.row("JSE-02")
def test_creating_changes_nothing() -> None:
    async def body(pc: PeerConnection) -> None:
        log = Log(pc)
        pc.create_data_channel("x")
        first, second = await pc.create_offer(), await pc.create_offer(OfferOptions())
        assert first == second
        assert first.type == "offer"
        await turns()
        assert log.entries == ["negotiation needed"]
        assert pc.signaling_state == "stable"
        assert pc.local_description is None
        await pc.set_local_description(first)
        assert pc.local_description is not None

    in_connection(body)


@pytest.mark.row("JSE-03")
def test_rolling_back_a_remote_offer() -> None:
    async def body(pc: PeerConnection) -> None:
        await pc.set_remote_description(REMOTE_OFFER)
        assert pc.can_trickle_ice_candidates is True
        await pc.set_remote_description({"type": "rollback"})
        assert pc.remote_description is None
        assert pc.can_trickle_ice_candidates is None
        with pytest.raises(InvalidStateError, match="rollback"):
            await pc.set_local_description(SessionDescription("rollback"))

    in_connection(body)


def test_before_the_first_answer_there_is_nothing_to_restart() -> None:
    async def body(pc: PeerConnection) -> None:
        pc.restart_ice()
        pc.create_data_channel("x")
        offer = await pc.create_offer()
        assert await pc.create_offer(ice_restart=True) == offer
        assert await pc.create_offer(OfferOptions(ice_restart=True)) == offer
        await pc.set_local_description(offer)
        assert (await pc.create_offer(ice_restart=True)).sdp.count(ufrag_line(offer.sdp)) == 1

    in_connection(body)


# Errors


@pytest.mark.row("JSE-09", "JSE-01", "JSE-10")
def test_wrong_calls_raise_and_change_nothing() -> None:
    async def body(pc: PeerConnection) -> None:
        log = Log(pc)
        with pytest.raises(InvalidStateError):
            await pc.create_answer()
        with pytest.raises(InvalidStateError):
            await pc.set_local_description(SessionDescription("answer", "v=0"))
        with pytest.raises(InvalidModificationError):
            await pc.set_local_description(SessionDescription("offer", "v=0"))
        with pytest.raises(SDPSyntaxError):
            await pc.set_remote_description(SessionDescription("offer", "hello"))
        with pytest.raises(InvalidAccessError):
            await pc.set_remote_description(
                SessionDescription("offer", REMOTE_OFFER.sdp.replace("a=setup:actpass\r\n", ""))
            )
        with pytest.raises(TypeError):
            await pc.set_remote_description({"sdp": "v=0"})
        with pytest.raises(ValueError, match="'question'"):
            await pc.set_remote_description({"type": "question", "sdp": ""})
        assert pc.signaling_state == "stable"
        assert pc.remote_description is None
        await turns()
        assert log.entries == []
        await pc.set_remote_description(REMOTE_OFFER)

    in_connection(body)


@pytest.mark.row("JSE-12", "TRI-12", "TRI-11")
def test_candidates_that_cannot_be_taken() -> None:
    async def body(pc: PeerConnection) -> None:
        with pytest.raises(TypeError, match="sdp_mid"):
            await pc.add_ice_candidate(ICECandidateInit(HOST))
        with pytest.raises(TypeError):
            await pc.add_ice_candidate({"candidate": 5})
        with pytest.raises(OperationError):
            await pc.add_ice_candidate(ICECandidateInit("candidate:nonsense", "0"))
        await pc.set_remote_description(REMOTE_OFFER)
        for init, says in (
            (ICECandidateInit("candidate:nonsense", "0"), "nonsense"),
            (ICECandidateInit(HOST, "7"), "'7'"),
            (ICECandidateInit(HOST, None, 7), "7"),
            (ICECandidateInit(HOST, "0", 0, "other"), "'other'"),
            (ICECandidateInit(f"{HOST} ufrag other", "0"), "'other'"),
        ):
            with pytest.raises(OperationError, match=says):
                await pc.add_ice_candidate(init)
        await pc.add_ice_candidate(ICECandidateInit("candidate:1 1 quic 1 192.0.2.1 1 typ host", "0"))

    in_connection(body)


@pytest.mark.row("JSE-12")
@pytest.mark.parametrize("when", ["before", "offered", "answered"])
@pytest.mark.parametrize(
    "candidate",
    [
        HOST,
        f"a={HOST}",
        HOST.removeprefix("candidate:"),
        ICECandidateInit(HOST, "0"),
        ICECandidateInit(HOST, None, 0),
        ICECandidateInit(HOST, "", 0),
        ICECandidateInit(HOST, "0", 5, "peer"),
        {"candidate": HOST, "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "peer"},
        {"candidate": HOST, "sdpMLineIndex": 0, "usernameFragment": None},
        ICECandidate.from_init(ICECandidateInit(HOST, "0", 0)),
    ],
)
def test_every_shape_of_a_candidate_at_every_time(candidate: Any, when: str) -> None:
    async def body(pc: PeerConnection) -> None:
        if when == "before":
            await pc.add_ice_candidate(candidate)
        await pc.set_remote_description(REMOTE_OFFER)
        if when == "offered":
            await pc.add_ice_candidate(candidate)
        await pc.set_local_description()
        if when == "answered":
            await pc.add_ice_candidate(candidate)
        assert pc.sctp is not None
        await pc.add_ice_candidate(None)
        assert pc.remote_description is not None
        media = parse(pc.remote_description.sdp).media[0]
        assert media.candidates == (HOST,)
        assert media.end_of_candidates
        report = await pc.get_stats()
        assert [entry.port for entry in report.of(ICECandidateStats) if entry.type == "remote-candidate"] == [5000]

    in_connection(body)


@pytest.mark.parametrize(
    "end", [None, "", ICECandidateInit(), ICECandidateInit("", "0"), {"candidate": "", "sdpMid": "0"}]
)
def test_every_shape_of_the_end_of_candidates(end: Any) -> None:
    async def body(pc: PeerConnection) -> None:
        await pc.set_remote_description(REMOTE_OFFER)
        await pc.add_ice_candidate(end)
        assert pc.remote_description is not None
        assert "a=end-of-candidates" in pc.remote_description.sdp

    in_connection(body)


# Waiting and the end


def test_waiting_has_an_end() -> None:
    async def body(pc: PeerConnection) -> None:
        before = asyncio.get_running_loop().time()
        with pytest.raises(WaitTimeoutError, match=r"2 s.*stable.*ICE is new"):
            await pc.wait_connected(2)
        assert asyncio.get_running_loop().time() == before + 2
        waiting = [asyncio.ensure_future(pc.wait_connected()), asyncio.ensure_future(pc.gathering_complete())]
        await turns()
        await pc.close()
        for waits in waiting:
            with pytest.raises(ConnectionClosedError):
                await waits
        with pytest.raises(ConnectionClosedError):
            await pc.wait_connected()

    in_connection(body)


@pytest.mark.row("WPC-14", "WPC-01")
def test_after_close() -> None:
    async def body(pc: PeerConnection) -> None:
        log = Log(pc)
        channel = pc.create_data_channel("x")
        await pc.set_local_description()
        await turns()
        log.entries.clear()
        await pc.close()
        await pc.close()
        assert {str(pc.signaling_state), str(pc.connection_state), str(pc.ice_connection_state)} == {"closed"}
        assert channel.ready_state == "closed"
        for call in (
            pc.create_offer,
            pc.create_answer,
            pc.set_local_description,
            lambda: pc.set_remote_description(REMOTE_OFFER),
            lambda: pc.add_ice_candidate(None),
        ):
            with pytest.raises(InvalidStateError, match="closed"):
                await call()
        pc.restart_ice()
        for plain in (
            lambda: pc.create_data_channel("y"),
            lambda: pc.set_configuration(Configuration()),
        ):
            with pytest.raises(InvalidStateError, match="closed"):
                plain()
        assert pc.local_description is not None
        assert pc.get_configuration() == Configuration().checked()
        await pc.get_stats()
        await asyncio.sleep(60)
        # No event of its own tells of it.
        assert log.entries == []

    in_connection(body)


@pytest.mark.row("WPC-14")
def test_close_waits_for_a_running_handler_but_not_for_ever() -> None:
    async def main() -> None:
        for lasts, done in ((0.5, True), (100.0, False)):
            pc = connection()
            finished: list[bool] = []

            async def handler(lasts: float = lasts, finished: list[bool] = finished) -> None:
                await asyncio.sleep(lasts)
                finished.append(True)

            pc.on_negotiation_needed(handler)
            pc.create_data_channel("x")
            await turns()
            before = asyncio.get_running_loop().time()
            await pc.close()
            assert asyncio.get_running_loop().time() - before <= 1.0
            assert bool(finished) is done
            await asyncio.sleep(100)

    run(main())


@pytest.mark.row("WPC-14")
def test_two_callers_of_close() -> None:
    async def main() -> None:
        pc = connection()
        inside = asyncio.Event()

        async def handler() -> None:
            inside.set()
            await pc.close()

        pc.on_negotiation_needed(handler)
        pc.create_data_channel("x")
        await inside.wait()
        await asyncio.gather(pc.close(), pc.close())
        assert pc.connection_state == "closed"

    run(main())


def test_a_cancelled_close_still_closes() -> None:
    async def main() -> None:
        pc = connection()
        pc.create_data_channel("x")
        await pc.set_local_description()
        closing = asyncio.ensure_future(pc.close())
        await asyncio.sleep(0)
        closing.cancel()
        await turns()
        assert closing.cancelled()
        assert pc.connection_state == "closed"

    run(main())


@pytest.mark.row("WPC-17")
def test_a_closed_connection_is_freed() -> None:
    async def use() -> weakref.ref[PeerConnection]:
        pc = connection()
        pc.on_ice_candidate(lambda candidate: pc.local_description and None)
        pc.create_data_channel("x")
        await pc.set_local_description()
        await pc.gathering_complete()
        await pc.close()
        return weakref.ref(pc)

    async def main() -> None:
        left = await use()
        await turns()
        gc.collect()
        assert left() is None

    run(main())


def test_a_logger_of_the_applications(caplog: pytest.LogCaptureFixture) -> None:
    settings = SettingEngine()
    settings.set_logger(logging.getLogger("application"))

    async def main() -> None:
        async with connection(settings=settings) as pc:
            pc.create_data_channel("x")
            await pc.set_local_description()
            offers.append(parse(pc.local_description.sdp))  # type: ignore[union-attr]

    offers: list[Session] = []
    with caplog.at_level(logging.INFO, "application"):
        run(main())
    messages = [record.message for record in caplog.records if record.name == "application"]
    # The name tells connections apart, and finds their lines by what a description or a capture shows.
    name = offers[0].media[0].ice_ufrag
    assert messages[0] == f"{name}: signaling state: stable -> have-local-offer"
    assert messages[-1] == f"{name}: connection state: new -> closed"


def test_our_fingerprint_is_the_certificates() -> None:
    async def body(pc: PeerConnection) -> None:
        pc.create_data_channel("x")
        offer = await pc.create_offer()
        assert parse(offer.sdp).media[0].fingerprints != ((FINGERPRINT.algorithm, FINGERPRINT.value),)
        report = await pc.get_stats()
        certificate = report["local-certificate"]
        assert parse(offer.sdp).media[0].fingerprints == (("sha-256", certificate.fingerprint),)  # type: ignore[attr-defined]

    in_connection(body)
