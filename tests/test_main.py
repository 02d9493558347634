"""``python -m webrtc_py``: gather and doctor, on the system's network and on a virtual one."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest

from tests.support.virtual_behaviour import BehaviourServer
from tests.support.virtual_host import VirtualHost
from tests.support.virtual_loop import run
from tests.support.virtual_network import VirtualNetwork
from webrtc_py.__main__ import build_parser, main


def virtually(host: VirtualHost, *arguments: str) -> int:
    """The exit status of a command on a virtual host."""
    options = build_parser().parse_args(arguments)
    status: int = run(options.run(options, host))
    return status


def home(kind: str = "port restricted") -> VirtualHost:
    """A host behind a NAT, in a network with a STUN server and a TURN server."""
    network = VirtualNetwork(delay=0.01)
    BehaviourServer.on(network, "stun.example", "203.0.113.1", "203.0.113.2")
    network.turn_server("turn.example", "203.0.113.9")
    return network.nat("router", "198.51.100.1", kind=kind).host("alice", "10.0.0.2")


CREDENTIALS = ("--username", "user", "--credential", "secret")


# gather


def test_gather_prints_candidates_as_they_are_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gather", "--loopback"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r" +\d+\.\d ms  host    udp  \S+:\d+ +priority \d+", lines[0])
    assert re.match(r" +\d+\.\d ms  done: \d+ candidates? \(\d+ host\)$", lines[-1])
    assert any("127.0.0.1:" in line for line in lines)


@pytest.mark.parametrize("arguments", [("gather", "--loopback"), ("gather", "--json", "--loopback"), ("doctor",)])
def test_a_reader_that_has_seen_enough_ends_nothing_badly(arguments: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "webrtc_py", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(100) in (0, 1)


def test_gather_tells_servers_times_and_related_addresses(capsys: pytest.CaptureFixture[str]) -> None:
    assert virtually(home(), "gather", "stun:stun.example", "turn:turn.example?transport=tcp", *CREDENTIALS) == 0
    out = capsys.readouterr().out
    assert re.search(r" 0\.0 ms  host    udp  10\.0\.0\.2:\d+", out)
    assert re.search(
        r" 20\.0 ms  srflx   udp  198\.51\.100\.1:\d+ .* from 10\.0\.0\.2:\d+  stun:stun\.example:3478", out
    )
    assert re.search(
        r" 60\.0 ms  relay   udp  203\.0\.113\.9:\d+ .* turn:turn\.example:3478\?transport=tcp  over tcp", out
    )
    assert re.search(r" \d+\.0 ms  done: 3 candidates \(1 host, 1 srflx, 1 relay\)$", out.strip())
    assert "secret" not in out


def test_gather_says_why_a_server_gave_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent, socket.socket() as closed:
        silent.bind(("127.0.0.1", 0))
        closed.bind(("127.0.0.1", 0))
        stun, tcp = silent.getsockname()[1], closed.getsockname()[1]
        urls = [f"stun:127.0.0.1:{stun}", f"turn:127.0.0.1:{tcp}?transport=tcp"]
        arguments = ["--loopback", "--timeout", "2", "--username", "me", "--credential", "hunter2"]
        assert main(["gather", *urls, *arguments]) == 0
    out = capsys.readouterr().out
    assert f"error  701 the server does not answer  stun:127.0.0.1:{stun} from 127.0.0.1" in out
    assert re.search(rf"error  701 .*refused.*  turn:127\.0\.0\.1:{tcp}", out)
    assert re.search(r"; \d errors$", out.strip())
    assert "hunter2" not in out


def test_gather_prints_an_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    urls = ("stun:stun.example", "turn:turn.example", "stun:dead.example")
    assert virtually(home(), "gather", *urls, *CREDENTIALS, "--json", "--timeout", "1") == 0
    out = capsys.readouterr().out
    lines: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    by_type = {line["type"]: line for line in lines if "type" in line}
    assert by_type["srflx"]["related_address"] == "10.0.0.2"
    assert by_type["relay"]["relay_protocol"] == "udp"
    assert by_type["host"]["candidate"].startswith("candidate:")
    assert [line["error_code"] for line in lines if "error" in line] == [701]
    assert {**lines[-1], "ms": 1000.0} == {
        "ms": 1000.0,
        "summary": "done",
        "candidates": {"host": 1, "srflx": 1, "relay": 1},
        "errors": 1,
    }
    assert "secret" not in out


def test_gather_takes_the_networks_and_interfaces_that_it_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    host = VirtualNetwork().host("alice", "192.0.2.1", "2001:db8::1")
    host.add_interface("wlan0", "192.0.2.77")
    assert virtually(host, "gather", "--network", "udp4", "--interface", "wlan0") == 0
    out = capsys.readouterr().out
    assert "192.0.2.77:" in out
    assert "192.0.2.1:" not in out
    assert "2001:db8" not in out


def test_gather_takes_tcp(capsys: pytest.CaptureFixture[str]) -> None:
    host = VirtualNetwork().host("alice", "192.0.2.1")
    assert virtually(host, "gather", "--network", "udp4", "tcp4") == 0
    assert "host    tcp active  192.0.2.1:9" in capsys.readouterr().out


def test_gather_hides_addresses_behind_names(capsys: pytest.CaptureFixture[str]) -> None:
    host = VirtualNetwork().host("alice", "192.0.2.1")
    assert virtually(host, "gather", "--mdns") == 0
    out = capsys.readouterr().out
    assert re.search(r"host    udp  [0-9a-f-]{36}\.local:\d+", out)
    assert "192.0.2.1" not in out


def test_nothing_found_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gather", "--policy", "relay"]) == 1
    assert "done: 0 candidates" in capsys.readouterr().out


def test_an_interruption_is_told_and_leaves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    async def interrupted() -> None:
        options = build_parser().parse_args(["gather", "stun:silent.example"])
        network = VirtualNetwork()
        network.stun_server("silent.example", "203.0.113.1").silent = True
        task = asyncio.ensure_future(options.run(options, network.host("alice", "192.0.2.1")))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(interrupted())
    assert "1000.0 ms  interrupted: 1 candidate (1 host)" in capsys.readouterr().out


@pytest.mark.usefixtures("interruptible")
def test_control_c_ends_it_without_a_traceback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"stun:127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, "-m", "webrtc_py", "gather", "--loopback", "--timeout", "60", url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=100)
    assert " host " in first
    assert process.returncode == 130
    assert "interrupted: " in out
    assert err == ""


# doctor


def test_doctor_says_what_connects(capsys: pytest.CaptureFixture[str]) -> None:
    assert virtually(home(), "doctor", "stun:stun.example", "turn:turn.example", *CREDENTIALS) == 0
    out = capsys.readouterr().out
    assert "a port-restricted cone NAT, seen as 198.51.100.1 (by RFC 5780)" in out
    assert re.search(r"ok +peers behind a symmetric NAT +through the relay, over UDP or TCP", out)
    assert re.search(r"ok +peers behind a port-restricted NAT or a firewall +directly", out)
    assert "secret" not in out


def test_doctor_fails_when_nothing_beyond_connects(capsys: pytest.CaptureFixture[str]) -> None:
    host = VirtualNetwork().host("alice", "192.0.2.1")
    assert virtually(host, "doctor", "stun:nowhere.example", "--timeout", "1") == 1
    assert "nowhere.example was not resolved within 1 s" in capsys.readouterr().out


def test_doctor_without_servers_looks_at_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert virtually(VirtualNetwork().host("alice", "192.0.2.1"), "doctor") == 0
    out = capsys.readouterr().out
    assert re.search(r"ok +ipv4 +192\.0\.2\.1", out)
    assert "doctor stun:HOST turn:HOST" in out
    assert virtually(VirtualNetwork().host("alone"), "doctor") == 1


def test_doctor_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert virtually(home("symmetric"), "doctor", "stun:stun.example", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["nat"][0]["mapping"] == "address-and-port-dependent"
    assert report["servers"][0]["ways"][0]["mapped"][0] == "198.51.100.1"
    assert report["can_connect"] is True


def test_doctor_makes_time_limited_credentials(capsys: pytest.CaptureFixture[str]) -> None:
    assert virtually(home(), "doctor", "turn:turn.example", "--secret", "hush", "--username", "me") == 0
    out = capsys.readouterr().out
    assert "the server refuses the user name or the password; a time-limited one may be over (401)" in out
    assert "hush" not in out


def test_doctor_runs_on_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) in (0, 1)
    out = capsys.readouterr().out
    assert out.startswith("this machine\n")
    assert re.search(r"ok +loopback +works", out)


# Both


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gather", "example.org"], "is not a server URL"),
        (["doctor", "example.org"], "is not a server URL"),
        (["gather", "turn:example.org"], "needs a username and a credential"),
        (["gather", "--timeout", "0"], "more than 0"),
        (["doctor", "--timeout", "0"], "more than 0"),
        (["gather", "--interface", "nosuch0"], "there is no interface nosuch0; there are "),
        (["doctor", "turn:example.org", "--secret", "x", "--credential", "y"], "give one of them"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_it_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "webrtc_py", "gather", "--loopback"], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert "host" in done.stdout
    assert done.stderr == ""
