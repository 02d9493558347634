"""The trace: the story of a connection in a screenful."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.virtual_loop import run
from tests.support.virtual_network import VirtualNetwork
from webrtc_py.ice.agent import Agent
from webrtc_py.ice.agent_options import AgentOptions
from webrtc_py.ice.candidate import unmarshal_candidate
from webrtc_py.ice.trace import Trace
from webrtc_py.ice.url import ServerURL

TURN = ServerURL("turn", "turn.example", 3478, "udp", "user", "secret")
LINE = re.compile(r"ICE (?P<name>\S+) +(?P<time>\d+\.\d{3}) s  (?P<text>.+)")


def story(
    caplog: pytest.LogCaptureFixture, act: Callable[[Agent, Agent], Any], level: int = logging.DEBUG, **options: Any
) -> list[str]:
    """The lines of the first of two agents behind NATs, with a STUN and a TURN server, and what ``act`` does."""

    async def main() -> str:
        network = VirtualNetwork(delay=0.01)
        network.stun_server("stun.example", "203.0.113.1")
        network.turn_server("turn.example", "203.0.113.9")
        alice = network.nat("one", "198.51.100.1").host("alice", "10.0.0.2")
        bob = network.nat("other", "198.51.100.2").host("bob", "10.0.1.2")
        urls = ["stun:stun.example", TURN]
        bobs = AgentOptions(net=bob, urls=["stun:stun.example"], logger=logging.getLogger("bob"))
        async with Agent(AgentOptions(net=alice, urls=urls, **options)) as one, Agent(bobs) as other:
            one.on_candidate(other.add_remote_candidate)
            other.on_candidate(one.add_remote_candidate)
            await act(one, other)
            return one.get_local_user_credentials()[0]

    with caplog.at_level(level, "webrtc_py.ice"):
        name = run(main())
    records = [record for record in caplog.records if record.name.startswith("webrtc_py.ice")]
    return [record.message for record in records if f" {name} " in record.message]


async def connect(one: Agent, other: Agent) -> None:
    await one.gather_candidates()
    await other.gather_candidates()
    dialing = asyncio.ensure_future(one.dial(*other.get_local_user_credentials()))
    await asyncio.sleep(0.1)
    await other.accept(*one.get_local_user_credentials())
    await dialing
    # Consent is checked a hundred times meanwhile, and none of it is told.
    await asyncio.sleep(100)


def in_order(lines: list[str], *patterns: str) -> None:
    rest = iter(lines)
    for pattern in patterns:
        assert any(re.search(pattern, line) for line in rest), f"no {pattern!r} where it belongs in:\n" + "\n".join(
            lines
        )


def test_a_typical_connection_is_a_screenful_in_order(caplog: pytest.LogCaptureFixture) -> None:
    lines = story(caplog, connect)
    assert 10 < len(lines) < 40
    assert all(LINE.fullmatch(line) for line in lines)
    times = [float(LINE.fullmatch(line)["time"]) for line in lines]  # type: ignore[index]
    assert times[0] == 0.0
    assert times == sorted(times)
    in_order(
        lines,
        r"gathers host, srflx, relay on 1 address, asks stun:stun\.example:3478, turn:turn\.example:3478",
        r"finds host udp 10\.0\.0\.2:\d+",
        r"starts as the controlling agent; the peer is \S{8}",
        r"is checking",
        r"0\.020 s  finds srflx udp 198\.51\.100\.1:\d+",
        r"0\.040 s  finds relay udp 203\.0\.113\.9:\d+",
        r"has gathered \d candidates",
        r"checks .* -> srflx udp 198\.51\.100\.2",
        r"works, 20 ms: .* -> srflx udp 198\.51\.100\.2",
        r"nominates",
        r"selects",
        r"is connected: .* -> srflx",
    )


def test_at_info_there_is_a_line_for_each_change_of_state(caplog: pytest.LogCaptureFixture) -> None:
    lines = story(caplog, connect, logging.INFO)
    texts = [LINE.fullmatch(line)["text"] for line in lines]  # type: ignore[index]
    assert [text.split(":")[0] for text in texts] == ["is checking", "is connected", "is completed"]


def test_neither_passwords_nor_servers_credentials_are_told(caplog: pytest.LogCaptureFixture) -> None:
    pwds: list[str] = []

    async def act(one: Agent, other: Agent) -> None:
        pwds.extend((one.get_local_user_credentials()[1], other.get_local_user_credentials()[1]))
        await connect(one, other)

    story(caplog, act)
    for word in (*pwds, "secret"):
        assert word not in caplog.text


def test_a_restart_and_what_fails_are_part_of_the_story(caplog: pytest.LogCaptureFixture) -> None:
    async def act(one: Agent, other: Agent) -> None:
        await connect(one, other)
        old.append(one.get_local_user_credentials()[0])
        await one.restart()
        await other.restart()
        await connect_again(one, other)

    async def connect_again(one: Agent, other: Agent) -> None:
        await one.gather_candidates()
        await other.gather_candidates()
        one.set_remote_credentials(*other.get_local_user_credentials())
        other.set_remote_credentials(*one.get_local_user_credentials())
        await asyncio.sleep(20)

    old: list[str] = []
    newer = story(caplog, act)
    older = [record.message for record in caplog.records if f" {old[0]} " in record.message]
    in_order(older, "is connected", r"restarts as \S+")
    in_order(newer, "starts as the controlling agent", "selects", f"takes over from {old[0]}")


def test_a_server_that_fails_is_told_at_info(caplog: pytest.LogCaptureFixture) -> None:
    async def act(one: Agent, other: Agent) -> None:
        await one.gather_candidates()
        await one.gathering_complete()

    urls = {"urls": ["stun:nowhere.example"]}

    async def main() -> None:
        network = VirtualNetwork()
        async with Agent(AgentOptions(net=network.host("alice", "192.0.2.1"), **urls)) as one:
            await act(one, one)

    with caplog.at_level(logging.INFO, "webrtc_py.ice"):
        run(main())
    assert "stun:nowhere.example:3478 gave no candidate: 701 nowhere.example" in caplog.text


def test_the_application_may_have_its_own_logger(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("application.ice")
    with caplog.at_level(logging.DEBUG, "application.ice"):
        lines = story(caplog, connect, logger=logger)
    assert lines == []
    told = [record for record in caplog.records if record.name == "application.ice"]
    assert {record.levelno for record in told} == {logging.DEBUG, logging.INFO}
    assert any("is connected" in record.message for record in told)


def test_what_is_ignored_is_told_and_floods_end(caplog: pytest.LogCaptureFixture) -> None:
    async def act(one: Agent, other: Agent) -> None:
        one.start(True, *other.get_local_user_credentials())
        for number in range(5000):
            text = f"candidate:1 1 udp 2130706431 192.0.2.{number % 250 + 1} {1000 + number} typ host"
            one.add_remote_candidate(unmarshal_candidate(text))

    lines = story(caplog, act)
    assert any("ignores host udp 192.0.2.101:1100: it is one too many" in line for line in lines)
    assert 1001 <= len(lines) <= 1003  # and the changes of state
    assert lines[-1].endswith("1000 lines are enough: only changes of state are told from now on")


def test_a_logger_that_is_not_enabled_costs_no_text() -> None:
    class Costly:
        def __str__(self) -> str:
            raise AssertionError("nobody reads it")

    logger = logging.Logger("silent", logging.WARNING)
    trace = Trace("name", logger)
    trace(1.0, "%s", Costly())
    trace.tell(2.0, "%s", Costly())
