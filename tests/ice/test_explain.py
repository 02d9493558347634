"""``Agent.explain()``: a table of situations, and agents that get into them on the virtual network."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.virtual_loop import run
from tests.support.virtual_network import DROP, Packet, Verdict, VirtualNetwork
from webrtc_py.errors import ConnectionFailedError
from webrtc_py.ice.agent import Agent
from webrtc_py.ice.agent_options import AgentOptions
from webrtc_py.ice.candidate import Candidate, unmarshal_candidate
from webrtc_py.ice.dropped import Dropped
from webrtc_py.ice.explain import History, ServerProblem, Situation, explain, why_no_path
from webrtc_py.ice.options import AgentTimings
from webrtc_py.ice.pair import CandidatePair
from webrtc_py.ice.pairing import LocalCandidate
from webrtc_py.ice.url import ServerURL
from webrtc_py.states import CandidatePairState, CandidateType, ICEGathererState, ICETransportState

TURN = ServerURL("turn", "turn.example", 3478, "udp", "user", "secret")
NOW = 1000.0
NEW, CHECKING, FAILED = ICETransportState.NEW, ICETransportState.CHECKING, ICETransportState.FAILED
CONNECTED, DISCONNECTED = ICETransportState.CONNECTED, ICETransportState.DISCONNECTED
COMPLETE = ICEGathererState.COMPLETE


def candidate(kind: str = "host", address: str = "192.0.2.1", port: int = 5000, **more: Any) -> Candidate:
    return Candidate("f", 1, "udp", 1000, address, port, CandidateType(kind), **more)


def pair(
    local: Candidate | None = None,
    remote: Candidate | None = None,
    *,
    state: CandidatePairState = CandidatePairState.IN_PROGRESS,
    sent: int = 3,
    **fields: Any,
) -> CandidatePair:
    remote = remote or candidate(address="192.0.2.2")
    destination = (fields.pop("destination", remote.address), remote.port)
    made = CandidatePair(1, local or candidate(), 1, remote, destination, True)
    made.state, made.requests_sent = state, sent
    made.first_request_sent = NOW - 12 if sent else None
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def situation(**fields: Any) -> Situation:
    """One that has been checking for a while, with a candidate on each side and a pair that nobody answers."""
    history = History(since=NOW - 12, started=NOW - 12, addresses=1)
    for name in ("since", "reason", "started", "role_changes", "addresses", "problems", "unresolved"):
        if name in fields:
            setattr(history, name, fields.pop(name))
    defaults: dict[str, Any] = {
        "state": CHECKING,
        "controlling": True,
        "remote_name": "them",
        "gathering_state": COMPLETE,
        "candidate_types": tuple(CandidateType),
        "local": [LocalCandidate(candidate(), 1, "192.0.2.1")],
        "remote": [candidate(address="192.0.2.2")],
        "pairs": [pair()],
    }
    return Situation(NOW, "us", history, **(defaults | fields))


WORKING: dict[str, Any] = {"state": CandidatePairState.SUCCEEDED, "last_received": NOW - 1, "responses_received": 4}
SELECTED = pair(
    **WORKING,
    current_round_trip_time=0.023,
    last_response_received=NOW - 1.4,
    consent_expires=NOW + 28.6,
    nominated=True,
)
SILENT = pair(**{**WORKING, "last_received": NOW - 9}, consent_expires=NOW + 21)
EXPIRED = pair(**{**WORKING, "last_received": NOW - 45}, consent_expires=NOW - 15)
RELAYED = pair(
    candidate("relay", "203.0.113.9", url="turn:turn.example:3478?transport=udp"), **WORKING, consent_expires=NOW + 29
)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"state": NEW, "gathering_state": ICEGathererState.NEW, "remote_name": None, "started": None},
            ["ICE us is new, for 12 s.", "not been told to gather", "does not know the peer's user fragment"],
        ),
        ({"state": NEW, "started": None}, ["knows the peer's user fragment and password, and has not been started"]),
        (
            {"state": NEW, "started": None, "local": (), "candidate_types": (CandidateType.RELAY,)},
            ["No local candidates were gathered. Only relays are allowed, and no TURN server is configured, or none"],
        ),
        (
            {"state": NEW, "started": None, "remote_name": None, "dropped": Dropped(wrong_username=2)},
            ["2 checks came under another user name"],
        ),
        (
            {"remote": (), "pairs": ()},
            ["no remote candidates arrived", "For 12 s none has been given to add_remote_candidate"],
        ),
        (
            {"remote": (), "pairs": (), "ahead": [candidate(extensions=(("ufrag", "others"),))] * 2},
            ["2 remote candidates cannot be used yet, being of user fragment others and not them"],
        ),
        ({"remote": (), "pairs": (), "remote_ended": True}, ["The peer said that it has no candidates"]),
        (
            {
                "remote": (),
                "pairs": (),
                "remote_ended": True,
                "dropped": Dropped(ignored=Counter({"its address is filtered out": 1})),
            },
            ["The peer said that it has no candidates but those that are ignored", "1 remote candidate ignored"],
        ),
        ({"remote": (), "pairs": (), "looking_up": 1}, ["1 .local name of the peer's is being looked up"]),
        (
            {"remote": (), "pairs": (), "unresolved": ["a.local", "b.local", "c.local", "d.local"]},
            ["a.local, b.local, c.local and 1 more could not be resolved"],
        ),
        (
            {"remote": (), "pairs": (), "dropped": Dropped(ignored=Counter({"it belongs to another generation": 3}))},
            ["3 remote candidates ignored: 3 because it belongs to another generation"],
        ),
        (
            {"local": (), "pairs": (), "gathering_state": ICEGathererState.GATHERING},
            ["no local candidates were gathered", "still being gathered"],
        ),
        ({"local": (), "pairs": (), "addresses": 0}, ["No interface has an address that may be used"]),
        (
            {"local": (), "pairs": (), "candidate_types": [CandidateType.RELAY]},
            ["Only relays are allowed, and no TURN server is configured"],
        ),
        (
            {
                "local": (),
                "pairs": (),
                "candidate_types": [CandidateType.RELAY],
                "problems": Counter([ServerProblem("turn:t", 401, "Unauthorized")]),
            },
            [
                "Only relays are allowed, and no TURN server gave one",
                "turn:t gave no candidate: the server refuses the user",
            ],
        ),
        ({"local": (), "pairs": ()}, ["No socket could be opened on any address"]),
        (
            {"pairs": (), "remote": [candidate(address="2001:db8::2")]},
            ["1 local candidate (udp4) and 1 remote candidate (udp6)", "no address family and transport in common"],
        ),
        (
            {"pairs": [pair(), pair(remote=candidate("srflx", "198.51.100.2"), sent=4)]},
            [
                "checks were sent to 2 addresses, and none was answered",
                "7 requests went out in 12 s, to 1 host, 1 srflx",
                "it has not started, or a firewall or a NAT drops the checks, and no relay was there to help",
            ],
        ),
        ({"pairs": [pair(candidate("relay"))]}, ["drops the checks, a relay's too"]),
        (
            {"pairs": [pair(requests_received=3)]},
            [
                "though the peer's checks came through",
                "Packets pass in one direction only",
                "its password is not the one that we were given",
            ],
        ),
        ({"pairs": [pair(failure="refused with 400")]}, ["none was answered well: refused with 400"]),
        ({"pairs": [pair(sent=0)]}, ["none of 1 pair was checked"]),
        (
            {"pairs": [pair(failure="the relay is lost: 437 Allocation Mismatch"), pair(failure="no answer")]},
            ["1 pair failed: the relay is lost: 437 Allocation Mismatch."],
        ),
        ({"dropped": Dropped(wrong_password=5)}, ["5 messages came with a wrong password"]),
        ({"dropped": Dropped(unexpected=2, from_elsewhere=2)}, ["2 answers came from another address than was asked"]),
        ({"dropped": Dropped(refused=1)}, ["1 check of the peer's came from an address that is filtered out"]),
        ({"lite": True, "pairs": ()}, ["a lite agent makes no checks, and none of the peer's checks has come"]),
        ({"lite": True, "pairs": [pair(sent=0)]}, ["its checks came, but it nominated no pair"]),
        (
            {"lite": True, "state": DISCONNECTED, "selected": SILENT, "pairs": [SILENT]},
            ["last heard 9 s ago; a lite agent can only wait."],
        ),
        ({"role_changes": 1}, ["The role changed once, because both ends claimed the same"]),
        ({"role_changes": 3}, ["The role changed 3 times"]),
        ({"pairs": [pair(**WORKING)]}, ["1 pair works already, and carries data; it will be nominated"]),
        ({"pairs": [pair(**WORKING)], "controlling": False}, ["controlled", "the peer is to choose"]),
        ({"pairs": [pair(**WORKING), pair(**WORKING)]}, ["2 pairs work already, and carry data; it will be"]),
        (
            {"state": FAILED, "reason": "checks were sent to 1 address, and none was answered"},
            [
                "is failed, for 12 s, controlling; the peer is them: checks were sent",
                "only a restart can connect again",
            ],
        ),
        (
            {"state": CONNECTED, "selected": SELECTED, "pairs": [SELECTED], "reason": "the pair"},
            [
                "ICE us is connected, for 12 s, controlling; the peer is them.",
                "The path is host udp 192.0.2.1:5000 to host udp 192.0.2.2:5000, round trip 23 ms.",
                "The peer last consented 1 s ago; 30 s is the limit.",
            ],
        ),
        (
            {"state": CONNECTED, "selected": RELAYED, "pairs": [RELAYED, pair(failure="no answer")]},
            [
                "relay udp 203.0.113.9:5000 of turn:turn.example:3478?transport=udp to host",
                "Only a relay worked: of 1 direct pair none did (no answer)",
            ],
        ),
        (
            {
                "state": DISCONNECTED,
                "selected": SILENT,
                "pairs": [SILENT],
                "reason": "the pair: nothing was heard for 5 s",
                "since": NOW - 4,
            },
            [
                "is disconnected, for 4 s",
                "nothing was heard for 5 s",
                "last heard 9 s ago",
                "fails in 21 s at the latest",
            ],
        ),
        (
            {"state": DISCONNECTED, "selected": SILENT, "pairs": [SILENT], "timings": AgentTimings.mobile()},
            ["fails in 111 s at the latest"],
        ),
        (
            {
                "state": DISCONNECTED,
                "selected": EXPIRED,
                "pairs": [EXPIRED],
                "timings": AgentTimings.mobile(),
                "reason": "nothing was heard for 8 s",
            },
            ["last heard 45 s ago", "Its consent expired 15 s ago: no data is sent until it answers a check."],
        ),
        (
            {"state": DISCONNECTED, "selected": SILENT, "pairs": [SILENT], "timings": AgentTimings(failed_timeout=0)},
            ["recovers by itself when an answer comes, and is not given up before"],
        ),
        (
            {"state": ICETransportState.CLOSED, "reason": "closed by the application", "since": NOW - 7500},
            ["ICE us is closed, for 2 h, controlling; the peer is them: closed by the application."],
        ),
    ],
)
def test_each_situation_has_its_words(fields: dict[str, Any], said: list[str]) -> None:
    lines = explain(situation(**fields))
    text = "\n".join(lines)
    for phrase in said:
        assert phrase in text
    assert len(lines) <= 8
    assert all(line.endswith(".") for line in lines)


@pytest.mark.parametrize(
    "dropped", [Dropped(wrong_password=3), Dropped(wrong_username=3), Dropped(unexpected=3, from_elsewhere=3)]
)
def test_a_peer_that_sends_the_wrong_things_is_not_said_to_be_silent(dropped: Dropped) -> None:
    text = "\n".join(explain(situation(dropped=dropped)))
    assert "none was answered" in text
    assert "Nothing came from the peer" not in text


def test_names_stay_in_front_of_the_addresses_that_they_hide() -> None:
    ours, theirs = candidate(address="ours.local"), candidate(address="theirs.local")
    one = pair(ours, theirs, **WORKING, destination="192.0.2.2", consent_expires=NOW + 20)
    local = [LocalCandidate(ours, 1, "192.0.2.1")]
    text = "\n".join(explain(situation(state=CONNECTED, selected=one, pairs=[one], local=local)))
    assert "host udp ours.local:5000 to host udp theirs.local:5000" in text
    assert "192.0.2" not in text


def test_a_connection_that_works_is_not_bothered_with_what_did_not() -> None:
    problems = Counter([ServerProblem("stun:s", 701, "the server does not answer")])
    done = situation(state=ICETransportState.COMPLETED, selected=SELECTED, pairs=[SELECTED], problems=problems)
    assert not any("stun:s" in line for line in explain(done))
    still = situation(state=DISCONNECTED, selected=SILENT, pairs=[SILENT], problems=problems)
    assert any("stun:s gave no candidate: the server does not answer." in line for line in explain(still))


def test_many_servers_are_cut_short() -> None:
    problems = Counter(ServerProblem(f"stun:s{number}", 701, "silence") for number in range(9))
    lines = explain(situation(problems=problems))
    assert sum("gave no candidate" in line for line in lines) == 5
    assert "4 more such problems with servers are not listed." in lines


def test_what_is_remembered_to_be_told_is_bounded() -> None:
    history = History()
    for number in range(10_000):
        history.server_failed(ServerProblem(f"stun:s{number}", 701, "silence"))
        history.name_failed(f"{number}.local")
    assert len(history.problems) == len(history.unresolved) == 100
    history.server_failed(ServerProblem("stun:s1", 701, "silence"))
    assert history.problems[ServerProblem("stun:s1", 701, "silence")] == 2


def test_the_reason_of_failed_tells_of_candidates_that_were_all_ignored() -> None:
    dropped = Dropped(ignored=Counter({"its address is filtered out": 2}))
    assert why_no_path([candidate()], [], [], dropped, True) == (
        "no remote candidates arrived; 2 remote candidates ignored: 2 because its address is filtered out"
    )


def test_the_reason_of_failed_tells_of_answers_from_elsewhere() -> None:
    dropped = Dropped(unexpected=2, from_elsewhere=2)
    assert why_no_path([candidate()], [candidate()], [pair()], dropped, True) == (
        "checks were sent to 1 address, and none was answered; 2 answers came from another address than was asked"
    )


# Agents that get there


class Two:
    """Two agents on a virtual network, whose candidates trickle."""

    def __init__(self, network: VirtualNetwork, one: dict[str, Any] | None = None, other: dict[str, Any] | None = None):
        hosts = network.hosts
        self.network = network
        self.alice = hosts.get("alice") or network.host("alice", "192.0.2.1")
        self.bob = hosts.get("bob") or network.host("bob", "192.0.2.2")
        self.one = Agent(AgentOptions(net=self.alice, **(one or {})))
        self.other = Agent(AgentOptions(net=self.bob, **(other or {})))
        self.one.on_candidate(self.other.add_remote_candidate)
        self.other.on_candidate(self.one.add_remote_candidate)

    async def start(self, *, ufrag: str = "", pwd: str = "", start_other: bool = True) -> None:
        await self.one.gather_candidates()
        await self.other.gather_candidates()
        right_ufrag, right_pwd = self.other.get_local_user_credentials()
        self.one.start(True, ufrag or right_ufrag, pwd or right_pwd)
        if start_other:
            self.other.start(False, *self.one.get_local_user_credentials())

    async def __aenter__(self) -> Two:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(self.one.close(), self.other.close())


def told(act: Callable[[Two], Any], network: VirtualNetwork | None = None, **options: Any) -> str:
    """What the first agent says after ``act``."""

    async def main() -> str:
        async with Two(network or VirtualNetwork(delay=0.01), **options) as two:
            await act(two)
            return two.one.explain()

    return run(main())


def test_a_new_agent_says_what_is_missing() -> None:
    async def act(two: Two) -> None:
        pass

    text = told(act)
    assert "has not been told to gather" in text
    assert "does not know the peer's user fragment" in text


def test_a_wrong_password_is_counted_on_both_ends() -> None:
    async def act(two: Two) -> None:
        await two.start(pwd="x" * 22)
        await asyncio.sleep(2)
        texts.append(two.other.explain())

    texts: list[str] = []
    told(act)
    assert "came with a wrong password" in texts[0]
    assert "x" * 22 not in texts[0]


def test_a_firewall_is_suspected_when_nothing_is_answered() -> None:
    def firewall(packet: Packet) -> Verdict:
        return DROP

    async def act(two: Two) -> None:
        two.network.tap(firewall)
        await two.start()
        await asyncio.sleep(5)

    text = told(act)
    assert "checks were sent to 1 address, and none was answered" in text
    assert "a firewall or a NAT drops the checks, and no relay was there to help" in text


def test_a_firewall_in_one_direction_is_told_from_one_in_both() -> None:
    async def act(two: Two) -> None:
        two.network.cut(two.alice, two.bob, one_way=True)
        await two.start()
        await asyncio.sleep(5)

    assert "Packets pass in one direction only" in told(act)


def test_a_peer_that_has_not_started_does_not_answer() -> None:
    async def act(two: Two) -> None:
        two.network.cut(two.alice, two.bob)
        await two.start(start_other=False)
        await asyncio.sleep(1)

    assert "it has not started" in told(act)


def test_no_candidates_of_the_peers_are_missed() -> None:
    async def act(two: Two) -> None:
        two.other.on_candidate(None)
        await two.start(start_other=False)
        await asyncio.sleep(7)

    assert "For 7 s none has been given to add_remote_candidate" in told(act)


def test_candidates_of_another_description_than_the_credentials_are_told() -> None:
    async def act(two: Two) -> None:
        await two.start(start_other=False, ufrag="wxyz")
        await asyncio.sleep(1)

    text = told(act)
    assert "1 remote candidate cannot be used yet, being of user fragment" in text
    assert "and not wxyz" in text


def test_no_candidates_of_our_own_are_explained() -> None:
    async def act(two: Two) -> None:
        await two.start()
        await asyncio.sleep(1)

    assert "filters and network types leave none" in told(act, one={"interface_filter": lambda name: False})


def test_filtered_addresses_of_the_peers_are_counted() -> None:
    async def act(two: Two) -> None:
        await two.start()
        await asyncio.sleep(1)

    text = told(act, one={"remote_ip_filter": lambda host: False})
    assert "1 remote candidate ignored: 1 because its address is filtered out" in text
    assert "came from an address that is filtered out" in text


def test_only_a_relay_that_works_is_told() -> None:
    async def act(two: Two) -> None:
        await two.start()
        await asyncio.sleep(10)

    network = VirtualNetwork(delay=0.01)
    network.turn_server("turn.example", "203.0.113.9")
    network.nat("one", "198.51.100.1", kind="symmetric").host("alice", "10.0.0.2")
    network.nat("other", "198.51.100.2", kind="symmetric").host("bob", "10.0.1.2")
    text = told(act, network, one={"urls": [TURN]}, other={"urls": [TURN]})
    assert "is connected" in text or "is completed" in text
    assert "Only a relay worked" in text
    assert "of turn:turn.example:3478?transport=udp" in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("password", "silent", "said"),
    [
        ("wrong", False, "gave no candidate: the server refuses the user name or the password"),
        ("secret", True, "gave no candidate: the server does not answer"),
    ],
)
def test_servers_that_fail_are_told_with_the_reason(password: str, silent: bool, said: str) -> None:
    async def act(two: Two) -> None:
        await two.start(start_other=False)
        await asyncio.sleep(10)

    network = VirtualNetwork(delay=0.01)
    network.turn_server("turn.example", "203.0.113.9").silent = silent
    url = ServerURL("turn", "turn.example", 3478, "udp", "user", password)
    text = told(act, network, one={"urls": [url], "candidate_types": ["relay"]})
    assert f"turn:turn.example:3478?transport=udp {said}" in text
    assert "Only relays are allowed, and no TURN server gave one" in text
    assert password not in text


def test_a_name_that_is_not_resolved_is_told() -> None:
    async def act(two: Two) -> None:
        two.other.on_candidate(None)
        await two.start(start_other=False)
        text = "candidate:1 1 udp 2130706431 11111111-2222-4333-8444-555555555555.local 5000 typ host"
        two.one.add_remote_candidate(unmarshal_candidate(text))
        await asyncio.sleep(1)
        texts.append(two.one.explain())
        await asyncio.sleep(9)

    texts: list[str] = []
    text = told(act)
    assert "1 .local name of the peer's is being looked up" in texts[0]
    assert "11111111-2222-4333-8444-555555555555.local could not be resolved" in text


def test_a_path_that_falls_silent_and_dies_is_told_step_by_step() -> None:
    async def act(two: Two) -> None:
        await two.start()
        await asyncio.sleep(5)
        texts.append(two.one.explain())
        two.network.cut(two.alice, two.bob)
        await asyncio.sleep(12)
        texts.append(two.one.explain())
        await asyncio.sleep(30)

    texts: list[str] = []
    text = told(act)
    assert "The path is host udp 192.0.2.1:32768 to host udp 192.0.2.2:32768, round trip 20 ms." in texts[0]
    assert "last heard 1" in texts[1]
    assert "It recovers by itself when an answer comes" in texts[1]
    assert "is failed" in text
    assert "host udp 192.0.2.1:32768 -> host udp 192.0.2.2:32768: the peer has not answered a check for 30 s" in text
    assert "only a restart can connect again" in text


def test_consent_that_is_lost_though_the_peer_is_heard_names_the_pair() -> None:
    def no_answers(packet: Packet) -> Verdict | None:
        return DROP if packet.sender is two_hosts[1] and packet.data[:2] == b"\x01\x01" else None

    async def act(two: Two) -> None:
        await two.start()
        await asyncio.sleep(5)
        two_hosts.extend((two.alice, two.bob))
        two.network.tap(no_answers)
        await asyncio.sleep(40)

    two_hosts: list[Any] = []
    text = told(act)
    assert "192.0.2.1:32768 -> host udp 192.0.2.2:32768: the peer has not answered a check for 30 s" in text
    assert "consent has expired" in text


def test_a_restart_is_told_with_what_carries_the_data() -> None:
    async def act(two: Two) -> None:
        await two.start()
        await asyncio.sleep(3)
        old.append(two.one.get_local_user_credentials()[0])
        await two.one.restart()

    old: list[str] = []
    text = told(act)
    assert f"A restart is in progress: {old[0]} carries the data until" in text
    assert f"ICE {old[0]} is " in text
    assert "is new, for 0.0 s" in text


def test_a_role_conflict_is_told() -> None:
    async def main() -> str:
        async with Two(VirtualNetwork(delay=0.01)) as two:
            await two.one.gather_candidates()
            await two.other.gather_candidates()
            two.one.start(True, *two.other.get_local_user_credentials())
            two.other.start(True, *two.one.get_local_user_credentials())
            await asyncio.sleep(3)
            return two.one.explain() + two.other.explain()

    assert run(main()).count("The role changed once") == 1


def test_what_a_closed_agent_says() -> None:
    async def main() -> str:
        two = Two(VirtualNetwork())
        async with two:
            pass
        return two.one.explain()

    assert "is closed, for 0.0 s: closed by the application." in run(main())


def test_a_lite_agent_waits_for_the_peers_checks() -> None:
    async def act(two: Two) -> None:
        two.network.cut(two.alice, two.bob)
        await two.start(start_other=False)
        await asyncio.sleep(3)

    text = told(act, one={"lite": True, "candidate_types": ["host"]})
    assert "a lite agent makes no checks, and none of the peer's checks has come" in text


def test_what_failed_says_is_what_the_error_says() -> None:
    async def act(two: Two) -> None:
        two.other.on_candidate(None)
        with contextlib.suppress(ConnectionFailedError):
            await two.one.gather_candidates()
            await two.one.dial(*two.other.get_local_user_credentials())
        failures.append(two.one.failure)

    failures: list[str] = []
    text = told(act)
    assert failures == ["no remote candidates arrived"]
    assert failures[0] in text
