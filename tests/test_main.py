"""``python -m webrtc_py gather``."""

from __future__ import annotations

import re
import socket
import subprocess
import sys

import pytest

from webrtc_py.__main__ import main


def test_gather_prints_candidates_as_they_are_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gather", "--loopback"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r" +0\.\d+ s  host    udp  \S+:\d+ +priority \d+", lines[0])
    assert re.match(r" +0\.\d+ s  done: \d+ candidates?$", lines[-1])
    assert any("127.0.0.1:" in line for line in lines)


def test_gather_says_why_a_server_gave_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent, socket.socket() as closed:
        silent.bind(("127.0.0.1", 0))
        closed.bind(("127.0.0.1", 0))
        stun, tcp = silent.getsockname()[1], closed.getsockname()[1]
        urls = [f"stun:127.0.0.1:{stun}", f"turn:127.0.0.1:{tcp}?transport=tcp"]
        arguments = ["--loopback", "--timeout", "0.3", "--username", "me", "--credential", "hunter2"]
        assert main(["gather", *urls, *arguments]) == 0
    out = capsys.readouterr().out
    assert f"error  701 the server does not answer  stun:127.0.0.1:{stun} from 127.0.0.1" in out
    assert re.search(rf"error  701 the server cannot be reached: .*refused.*  turn:127\.0\.0\.1:{tcp}", out)
    assert "hunter2" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gather", "example.org"], "is not a server URL"),
        (["gather", "turn:example.org"], "needs a username and a credential"),
        (["gather", "--timeout", "0"], "more than 0"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_nothing_found_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gather", "--policy", "relay"]) == 1
    assert "done: 0 candidates" in capsys.readouterr().out


def test_it_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "webrtc_py", "gather", "--loopback"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "host" in done.stdout
    assert done.stderr == ""
