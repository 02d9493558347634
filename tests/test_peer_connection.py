"""One connection by itself: its methods, states and events, up to where a peer would answer."""

from __future__ import annotations

import asyncio
import datetime
import gc
import logging
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.jsep.ends import FINGERPRINT, HOST, data_section, offer_of
from tests.support.virtual_loop import run
from tests.support.virtual_network import VirtualNetwork
from webrtc_py import (
    API,
    Certificate,
    Configuration,
    ConnectionClosedError,
    ICECandidate,
    ICECandidateError,
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

REMOTE_OFFER = SessionDescription("offer", offer_of(data_section(), group="0"))


def connection(
    network: VirtualNetwork | None = None,
    configuration: Configuration | None = None,
    settings: SettingEngine | None = None,
) -> PeerConnection:
    network = network or VirtualNetwork()
    host = network.hosts.get("alice") or network.host("alice", "192.0.2.101", "2001:db8::101")
    settings = settings or SettingEngine()
    settings.set_net(host)
    return API(setting_engine=settings).new_peer_connection(configuration)


def in_connection(
    body: Callable[[PeerConnection], Coroutine[Any, Any, None]],
    configuration: Configuration | None = None,
) -> None:
    """Run ``body`` with a connection that is closed afterwards."""

    async def main() -> None:
        async with connection(configuration=configuration) as pc:
            await body(pc)

    run(main())


def ufrag_line(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("a=ice-ufrag"))


def description_of(pc: PeerConnection) -> SessionDescription:
    description = pc.local_description
    assert description is not None
    return description


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Log:
    """What a connection's events told, in order."""

    def __init__(self, pc: PeerConnection) -> None:
        self.entries: list[str] = []
        self.candidates: list[ICECandidate | None] = []
        pc.on_signaling_state_change(lambda state: self.entries.append(f"signaling {state}"))
        pc.on_ice_gathering_state_change(lambda state: self.entries.append(f"gathering {state}"))
        pc.on_ice_connection_state_change(lambda state: self.entries.append(f"ice {state}"))
        pc.on_connection_state_change(lambda state: self.entries.append(f"connection {state}"))
        pc.on_negotiation_needed(lambda: self.entries.append("negotiation needed"))
        pc.on_ice_candidate(self._candidate)

    def _candidate(self, candidate: ICECandidate | None) -> None:
        self.candidates.append(candidate)
        self.entries.append("candidate" if candidate else "no more candidates")


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


# Offers, gathering, candidates


@pytest.mark.row("WPC-08", "WPC-07", "TRI-03", "TRI-08", "JSE-11")
def test_the_order_of_events_while_gathering() -> None:
    async def body(pc: PeerConnection) -> None:
        log = Log(pc)
        pc.create_data_channel("x")
        await turns()
        await pc.set_local_description()
        await pc.gathering_complete()
        await turns()
        assert log.entries == [
            "negotiation needed",
            "signaling have-local-offer",
            "gathering gathering",
            "candidate",
            "candidate",
            "gathering complete",
            "no more candidates",
        ]
        description = pc.local_description
        assert description is not None
        media = parse(description.sdp).media[0]
        found = [candidate for candidate in log.candidates if candidate is not None]
        assert list(media.candidates) == [candidate.candidate for candidate in found]
        assert media.end_of_candidates
        for candidate in found:
            assert (candidate.sdp_mid, candidate.sdp_mline_index) == ("0", 0)
            assert candidate.username_fragment == media.ice_ufrag
            assert candidate.to_json() == {
                "candidate": candidate.candidate,
                "sdpMid": "0",
                "sdpMLineIndex": 0,
                "usernameFragment": media.ice_ufrag,
            }
        assert {candidate.address for candidate in found} == {"192.0.2.101", "2001:db8::101"}
        assert media.port in {candidate.port for candidate in found}
        # Nothing else comes.
        await asyncio.sleep(60)
        assert log.entries[-1] == "no more candidates"

    in_connection(body)


@pytest.mark.row("WPC-08")
def test_handlers_see_the_state_of_their_event_or_a_later_one() -> None:
    async def body(pc: PeerConnection) -> None:
        seen: list[tuple[object, object]] = []
        pc.on_ice_candidate(lambda candidate: seen.append((candidate and candidate.sdp_mid, pc.ice_gathering_state)))
        pc.on_signaling_state_change(lambda state: seen.append((state, pc.signaling_state)))
        pc.create_data_channel("x")
        await pc.set_local_description()
        assert seen == []  # never from inside the call
        await pc.gathering_complete()
        await turns()
        assert seen[0] == ("have-local-offer", "have-local-offer")
        assert seen[-1] == (None, "complete")

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


@pytest.mark.row("JSE-13")
def test_a_pool_is_gathered_early_and_surfaced_with_the_description() -> None:
    async def body(pc: PeerConnection) -> None:
        log = Log(pc)
        await asyncio.sleep(10)
        assert pc.ice_gathering_state == "new"
        assert log.entries == []
        pc.create_data_channel("x")
        offer = await pc.create_offer()
        assert "a=candidate" not in offer.sdp
        await pc.set_local_description(offer)
        assert pc.ice_gathering_state == "complete"
        await turns()
        assert log.entries == [
            "signaling have-local-offer",
            "gathering gathering",
            "candidate",
            "candidate",
            "gathering complete",
            "no more candidates",
        ]

    in_connection(body, Configuration(ice_candidate_pool_size=1))


@pytest.mark.row("WPC-16", "WPC-08")
def test_a_dead_server_is_reported_and_holds_up_nothing() -> None:
    async def main() -> None:
        network = VirtualNetwork(seed=1, delay=0.01)
        network.stun_server("dead.example", "192.0.2.5").silent = True
        async with connection(network, Configuration([ICEServer("stun:dead.example")])) as pc:
            log = Log(pc)
            errors: list[ICECandidateError] = []
            pc.on_ice_candidate_error(errors.append)
            pc.create_data_channel("x")
            await pc.set_local_description()
            await asyncio.sleep(0.1)
            assert "candidate" in log.entries
            await pc.gathering_complete()
            await turns()
            assert errors
            assert all(error.error_code == 701 for error in errors)
            assert errors[0].url == "stun:dead.example:3478"
            assert log.entries[-2:] == ["gathering complete", "no more candidates"]

    run(main())


# Rollback and configuration


@pytest.mark.row("JSE-03")
def test_rolling_back_the_first_offer_pools_its_candidates() -> None:
    async def body(pc: PeerConnection) -> None:
        log = Log(pc)
        pc.create_data_channel("x")
        await pc.set_local_description()
        await pc.gathering_complete()
        await turns()
        await pc.set_local_description(SessionDescription("rollback"))
        assert pc.local_description is None
        assert pc.ice_gathering_state == "new"
        assert pc.signaling_state == "stable"
        await turns()
        # Still needed, and told again: the flag was cleared when the offer was made.
        assert log.entries[-3:] == ["signaling stable", "gathering new", "negotiation needed"]
        first = len(log.candidates)
        await pc.set_local_description()
        await turns()
        assert log.candidates[:first] == log.candidates[first:]
        assert log.entries[-2:] == ["gathering complete", "no more candidates"]

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


@pytest.mark.row("TRI-01")
def test_a_peer_that_does_not_trickle() -> None:
    async def body(pc: PeerConnection) -> None:
        await pc.set_remote_description(SessionDescription("offer", offer_of(data_section(), options="")))
        assert pc.can_trickle_ice_candidates is False
        await pc.set_local_description()
        await pc.gathering_complete()
        description = pc.local_description
        assert description is not None
        assert "a=candidate" in description.sdp
        assert "a=end-of-candidates" in description.sdp
        assert "trickle" not in description.sdp

    in_connection(body)


@pytest.mark.row("WPC-09")
def test_get_and_set_configuration() -> None:
    async def main() -> None:
        network = VirtualNetwork(seed=1, delay=0.01)
        server = network.stun_server("stun.example", "192.0.2.3")
        async with connection(network) as pc:
            configuration = pc.get_configuration()
            configuration.ice_servers = [ICEServer("stun:stun.example")]
            assert pc.get_configuration().ice_servers == []
            # A channel is there already: its transport takes the servers all the same.
            pc.create_data_channel("x")
            pc.set_configuration(configuration)
            assert [server.urls for server in pc.get_configuration().ice_servers] == ["stun:stun.example"]
            await pc.set_local_description()
            await pc.gathering_complete()
            assert server.requests == 1
            # A server that is another in place is noticed too: it needs a restart, before which nothing is changed.
            configuration = pc.get_configuration()
            configuration.ice_servers[0].urls = "stun:other.example"
            assert pc.get_configuration().ice_servers[0].urls == "stun:stun.example"
            configuration.ice_candidate_pool_size = 2
            with pytest.raises(InvalidModificationError):
                pc.set_configuration(configuration)
            with pytest.raises(InvalidModificationError):
                pc.set_configuration(Configuration(bundle_policy="max-bundle"))
            with pytest.raises(URLSyntaxError):
                pc.set_configuration(Configuration([ICEServer("nothing")]))
            with pytest.raises(TypeError, match="is a Configuration"):
                pc.set_configuration({"iceServers": []})  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="is a Configuration"):
                PeerConnection({"iceServers": []})  # type: ignore[arg-type]

    run(main())


@pytest.mark.row("JSE-13", "SEC-11")
@pytest.mark.parametrize("when", ["before", "rolled back"])
def test_a_pool_is_gathered_again_when_the_policy_changes(when: str) -> None:
    """What the policy hides now must not come to light with the first description."""

    async def body(pc: PeerConnection) -> None:
        log = Log(pc)
        pc.create_data_channel("x")
        if when == "rolled back":
            await pc.set_local_description()
            await pc.gathering_complete()
            await pc.set_local_description(SessionDescription("rollback"))
        await asyncio.sleep(10)
        await turns()
        log.candidates.clear()
        pc.set_configuration(Configuration(ice_transport_policy="relay", ice_candidate_pool_size=1))
        await asyncio.sleep(10)
        offer = await pc.create_offer()
        await pc.set_local_description(offer)
        await pc.gathering_complete()
        await turns()
        assert log.candidates == [None]
        assert "a=candidate" not in description_of(pc).sdp
        assert ufrag_line(description_of(pc).sdp) == ufrag_line(offer.sdp)

    in_connection(body, Configuration(ice_candidate_pool_size=1))


@pytest.mark.row("JSE-13")
def test_a_pool_is_gathered_from_the_servers_there_are_now() -> None:
    async def main() -> None:
        network = VirtualNetwork(seed=1, delay=0.01)
        network.stun_server("stun.example", "192.0.2.3")
        settings = SettingEngine()
        settings.set_net(network.nat("router", "198.51.100.1").host("alice", "10.0.0.2"))
        async with API(setting_engine=settings).new_peer_connection(Configuration(ice_candidate_pool_size=1)) as pc:
            await asyncio.sleep(1)
            pc.create_data_channel("x")
            servers = [ICEServer("stun:stun.example")]
            pc.set_configuration(Configuration(ice_servers=servers, ice_candidate_pool_size=1))
            await asyncio.sleep(1)
            await pc.set_local_description()
            assert pc.ice_gathering_state == "complete"
            assert " typ srflx" in description_of(pc).sdp

    run(main())


@pytest.mark.row("ICE-52")
def test_a_candidate_that_is_withdrawn_stands_in_no_description() -> None:
    async def main() -> None:
        network = VirtualNetwork(seed=1, delay=0.01)
        host = network.host("alice", "192.0.2.1")
        settings = SettingEngine()
        settings.set_net(host)
        settings.set_ice_continual_gathering("continually")
        async with API(setting_engine=settings).new_peer_connection() as pc:
            log = Log(pc)
            pc.create_data_channel("x")
            await pc.set_local_description()
            await pc.gathering_complete()
            assert pc.ice_gathering_state == "gathering"
            host.add_interface("eth1", "192.0.2.77")
            await asyncio.sleep(5)
            assert "192.0.2.77" in description_of(pc).sdp
            host.remove_interface("eth1")
            await asyncio.sleep(5)
            assert "192.0.2.77" not in description_of(pc).sdp
            assert "192.0.2.1 " in description_of(pc).sdp
            assert None not in log.candidates
            assert len(log.candidates) == 2

    run(main())


@pytest.mark.row("WPC-09")
def test_a_configuration_that_is_refused_changes_nothing() -> None:
    async def main() -> None:
        settings = SettingEngine()
        settings.set_net(VirtualNetwork(seed=1).host("alice", "192.0.2.1"))
        settings.set_lite(True)
        async with API(setting_engine=settings).new_peer_connection() as pc:
            with pytest.raises(InvalidAccessError, match="lite"):
                pc.set_configuration(Configuration(ice_transport_policy="relay"))
            assert pc.get_configuration().ice_transport_policy == "all"

    run(main())


@pytest.mark.row("WPC-09")
def test_the_policy_may_change_before_gathering() -> None:
    async def body(pc: PeerConnection) -> None:
        log = Log(pc)
        pc.create_data_channel("x")
        pc.set_configuration(Configuration(ice_transport_policy="relay"))
        await pc.set_local_description()
        await pc.gathering_complete()
        await turns()
        assert log.candidates == [None]

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


# Negotiation needed


@pytest.mark.row("WPC-02")
def test_negotiation_is_needed_once() -> None:
    async def body(pc: PeerConnection) -> None:
        log = Log(pc)
        await turns()
        assert log.entries == []
        pc.create_data_channel("a")
        pc.create_data_channel("b")
        await turns()
        pc.create_data_channel("c")
        await turns()
        assert log.entries == ["negotiation needed"]

    in_connection(body)


@pytest.mark.row("WPC-02")
def test_negotiation_is_needed_only_in_stable() -> None:
    async def body(pc: PeerConnection) -> None:
        log = Log(pc)
        # An offer without data, and a channel while it waits.
        await pc.set_local_description()
        pc.create_data_channel("a")
        await turns()
        assert "negotiation needed" not in log.entries
        await pc.set_local_description(SessionDescription("rollback"))
        await turns()
        assert log.entries.count("negotiation needed") == 1

    in_connection(body)


@pytest.mark.row("WPC-02")
def test_negotiation_is_not_needed_when_the_peers_offer_has_data() -> None:
    async def body(pc: PeerConnection) -> None:
        log = Log(pc)
        await pc.set_remote_description(REMOTE_OFFER)
        pc.create_data_channel("a")
        await pc.set_local_description()
        pc.create_data_channel("b")
        await turns()
        assert "negotiation needed" not in log.entries

    in_connection(body)


@pytest.mark.row("WPC-02")
def test_a_late_handler_finds_what_has_changed_since() -> None:
    """The event's handler before it is slow; by then the offer it would ask for is out."""

    async def body(pc: PeerConnection) -> None:
        log = Log(pc)
        slow = asyncio.Event()

        async def wait(_: object) -> None:
            await slow.wait()

        pc.on_signaling_state_change(wait)
        await pc.set_local_description()
        pc.create_data_channel("a")
        await turns()
        await pc.set_local_description()
        slow.set()
        await turns()
        assert "negotiation needed" not in log.entries

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
