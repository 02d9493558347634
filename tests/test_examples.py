"""The examples and the README's first program run as they stand."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright

from tests.interop import chromium
from tests.netns.namespaces import Namespace
from webrtc_py import API, DataChannel, ICETransport, PeerConnection, SettingEngine
from webrtc_py.ice import Agent, Conn

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"

pytestmark = pytest.mark.realtime


def run(*command: str | Path) -> str:
    result = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, cwd=ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def check_demo(output: str) -> None:
    for name in ("offerer", "answerer"):
        for line in (
            r"candidate host udp \S+:\d+",
            "ICE checking",
            "ICE (connected|completed)",
            "connection connected",
            "closed",
        ):
            assert re.search(rf"{name} +{line}", output), f"no {line!r} of the {name} in:\n{output}"
    for line in (
        r"path \w+ udp \S+:\d+ <-> \w+ udp \S+:\d+, round trip \d+\.\d+ ms",
        "sent 'Grüße, 世界', got 'I got 9 characters'",
        r"100 % +\d+\.\d MB/s",
        r"received 67 MB in \d+\.\d+ s: \d+ MB/s",
        "All done.",
    ):
        assert re.search(line, output), f"no {line!r} in:\n{output}"


def test_demo() -> None:
    check_demo(run(sys.executable, EXAMPLES / "demo.py"))


@pytest.mark.netns
@pytest.mark.needs("netns")
def test_demo_with_loopback_only() -> None:
    script = f"ip link set lo up && {sys.executable} {EXAMPLES / 'demo.py'}"
    output = run("unshare", "--net", "sh", "-c", script)
    check_demo(output)
    assert "no network but loopback" in output


@pytest.mark.netns
@pytest.mark.needs("netns")
def test_demo_without_any_network_fails_with_the_reason() -> None:
    command = ["unshare", "--net", sys.executable, str(EXAMPLES / "demo.py")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert result.returncode == 1
    assert "not even loopback" in result.stdout


def test_data_channels() -> None:
    assert run(sys.executable, EXAMPLES / "data_channels.py") == "you said 'hello'\n"


def check_lines(output: str, *lines: str) -> None:
    """Each is a regular expression for a whole line, and they come in this order; others may stand between them."""
    rest = iter(output.splitlines())
    for line in lines:
        assert any(re.fullmatch(line, one) for one in rest), f"no {line!r} in its place in:\n{output}"


def check_ice_ping_pong(output: str) -> None:
    pongs = [rf"pong {number}: \d+\.\d\d ms" for number in range(5)]
    check_lines(
        output, r"path \w+ udp \S+:\d+ <-> \w+ udp \S+:\d+", *pongs, r"round trip by ICE's own checks \d+\.\d\d ms"
    )


def check_ice_tcp(output: str) -> None:
    listening = re.search(r"the server listens on TCP port (\d+)\n", output)
    assert listening is not None, output
    check_lines(
        output,
        rf"path \w+ tcp active \S+:\d+.* <-> \w+ tcp passive \S+:{listening[1]}",
        "you said 'hello'",
    )


def check_one_port(output: str) -> None:
    check_lines(
        output,
        r"the server has UDP port \d+ and TCP port \d+",
        "50 clients were served: 45 by UDP, 5 by TCP",
    )


def check_renomination(output: str) -> None:
    check_lines(
        output,
        "at first over udp",
        r"now over tcp: \S+:\d+ to \S+:\d+",
        r"now over udp: \S+:\d+ to \S+:\d+",
        r"\d+ datagrams arrived, 0 are missing",
    )


def check_continual_gathering(output: str) -> None:
    for name in ("alice", "bob"):
        check_lines(output, rf"{name}: candidate host udp \S+:\d+", f"{name}: connected", f"{name}: closed")
    check_lines(output, "100 of 100 datagrams have arrived")


def check_rewrite_rules(output: str) -> None:
    inner, outer = r"host udp 127\.0\.0\.1:500\d\d", r"host udp 203\.0\.113\.7:500\d\d"
    published = re.search(r"port (\d+) is published as (\d+)\n", output)
    assert published is not None, output
    check_lines(
        output,
        rf"no rule: +{inner}",
        rf"replace: +{outer}",
        r"replace, ports: +host udp 203\.0\.113\.7:400\d\d",
        rf"append: +{inner}, {outer}",
        rf"as from a STUN: +{inner}, srflx udp 203\.0\.113\.7:500\d\d \(from .*\)",
        rf"NAT 1:1: +{outer}",
        published[0].rstrip(),
        "you said 'hello'",
        rf"the server is reached by host udp 127\.0\.0\.1:{published[2]}",
    )


def check_custom_logger(output: str) -> None:
    story = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    for call in ("alice", "bob"):
        texts = [entry["text"] for entry in story if entry["call"] == call]
        assert any(re.search(r"connection state: \w+ -> connected", text) for text in texts), output
    assert {entry["level"] for entry in story if entry["call"] == "alice"} == {"INFO"}
    assert {entry["level"] for entry in story if entry["call"] == "bob"} == {"INFO", "DEBUG"}
    check_lines(output, r"The connection is connected: .*", r"The path is host udp \S+ to host udp \S+, .*")


ICE_EXAMPLES: dict[str, Callable[[str], None]] = {
    "ice_ping_pong": check_ice_ping_pong,
    "ice_tcp": check_ice_tcp,
    "one_port": check_one_port,
    "renomination": check_renomination,
    "continual_gathering": check_continual_gathering,
    "rewrite_rules": check_rewrite_rules,
    "custom_logger": check_custom_logger,
}


@pytest.mark.parametrize("name", ICE_EXAMPLES)
def test_ice_examples(name: str) -> None:
    ICE_EXAMPLES[name](run(sys.executable, EXAMPLES / f"{name}.py"))


@pytest.mark.netns
@pytest.mark.needs("netns")
@pytest.mark.parametrize("name", ICE_EXAMPLES)
def test_ice_examples_with_loopback_only(name: str) -> None:
    script = f"ip link set lo up && {sys.executable} {EXAMPLES / name}.py"
    ICE_EXAMPLES[name](run("unshare", "--net", "sh", "-c", script))


@pytest.mark.netns
@pytest.mark.needs("netns")
@pytest.mark.usefixtures("interruptible")
def test_continual_gathering_when_addresses_change() -> None:
    """The path leaves an address that goes for one that has come, and the data goes on."""
    namespace = Namespace("example")
    try:
        namespace.run("ip link add eth0 type veth peer name far; ip link set far up; ip link set eth0 up")
        namespace.run("ip addr add 192.0.2.1/32 dev eth0")
        command = namespace.command(sys.executable, str(EXAMPLES / "continual_gathering.py"), "100")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as example:
            try:
                wait_for_lines(example, "alice: connected", "bob: connected")
                namespace.run("ip addr add 192.0.2.2/32 dev eth0")
                wait_for_lines(example, *(rf"{name}: candidate host udp 192\.0\.2\.2:\d+" for name in ("alice", "bob")))
                namespace.run("ip addr del 192.0.2.1/32 dev eth0")
                wait_for_lines(
                    example,
                    *(rf"{name}: withdraws host udp 192\.0\.2\.1:\d+" for name in ("alice", "bob")),
                    *(rf"{name}: path 192\.0\.2\.2 to 192\.0\.2\.2" for name in ("alice", "bob")),
                )
                wait_for_lines(example, r"(\d+) of \d+ datagrams have arrived")
                example.send_signal(signal.SIGINT)
                assert example.wait(timeout=100) == 0
            finally:
                example.kill()
    finally:
        namespace.delete()


def wait_for_lines(example: subprocess.Popen[str], *lines: str) -> None:
    """Read until each of these was there, in whatever order."""
    assert example.stdout is not None
    missing, output = set(lines), ""
    while missing:
        line = example.stdout.readline()
        output += line
        assert line, f"it ended without {missing}:\n{output}"
        missing = {one for one in missing if not re.fullmatch(one, line.rstrip())}


def test_the_first_program_of_the_readme(tmp_path: Path) -> None:
    programs = re.findall(r"```python\n(import asyncio\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(programs) == 1
    path = tmp_path / "first.py"
    path.write_text(programs[0])
    assert run(sys.executable, path) == "you said 'hello'\n"


def test_what_the_readme_calls_is_there() -> None:
    objects = {
        "settings": SettingEngine,
        "api": API,
        "pc": PeerConnection,
        "channel": DataChannel,
        "transport": ICETransport,
        "agent": Agent,
        "conn": Conn,
    }
    # Events are made in the constructors.
    events = set(re.findall(r"self\.(on_\w+)", "".join(inspect.getsource(kind) for kind in objects.values())))
    text = (ROOT / "README.md").read_text()
    called = set(re.findall(rf"(?<!\.)\b({'|'.join(objects)})\.([a-z]\w*)", text))
    called |= {("settings", name) for name in re.findall(r"`(set_\w+)", text)}
    assert len(called) > 40
    assert {one for one in called if not hasattr(objects[one[0]], one[1]) and one[1] not in events} == set()


@pytest.mark.interop
@pytest.mark.needs("chromium")
def test_browser() -> None:
    async def chat(page: Page, said: list[str]) -> None:
        await page.wait_for_selector("#state.open")
        await page.wait_for_selector("text=Hello, I am Python")
        await page.fill("#text", "Grüße")
        await page.click("#send")
        await page.wait_for_selector("text=You said: Grüße")
        await page.click("#connect")
        await page.wait_for_selector("text=Connect")

    with_page("browser.py", chat)


@pytest.mark.interop
@pytest.mark.needs("chromium")
def test_ice_restart() -> None:
    """Each button makes a new path, for which the program is asked, and the numbers go on."""

    async def press(page: Page, said: list[str]) -> None:
        async def paths(count: int) -> None:
            while len(set(re.findall(r"credentials (\S+)", "".join(said)))) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

        await paths(1)
        for number, button in enumerate(["#here", "#there", "#there", "#here"]):
            await page.click(button)
            await paths(2 + number)
            before = await page.evaluate("next")
            await page.wait_for_function("before => next > before + 10", arg=before)
            await page.fill("#text", f"message {number}")
            await page.click("form button")
            await page.wait_for_selector(f"text=You said: message {number}")
        assert await page.evaluate("[$('missing').value, $('state').value]") == ["0", "connected"]
        assert re.findall("connection (.*)", "".join(said)) == ["connecting", "connected"]

    with_page("ice_restart.py", press)


def with_page(example: str, use: Callable[[Page, list[str]], Awaitable[None]]) -> None:
    """Run a program that serves a page, and use the page; ``use`` gets the lines that the program has said so far."""

    async def visit(address: str) -> None:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=chromium.FLAGS)
            page = await browser.new_page()
            page.set_default_timeout(100_000)
            await page.goto(address)
            await use(page, said)
            await browser.close()

    said: list[str] = []
    command = [sys.executable, "-u", str(EXAMPLES / example), "--port", "0", "--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        address = re.search(r"http://\S+", server.stdout.readline())
        reader = threading.Thread(target=said.extend, args=[server.stdout])
        reader.start()
        try:
            assert address is not None
            asyncio.run(visit(address[0]))
        finally:
            server.terminate()
            reader.join()
