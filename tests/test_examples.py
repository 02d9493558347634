"""The examples and the README's first program run as they stand."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.async_api import async_playwright

from tests.interop import chromium

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"

pytestmark = pytest.mark.realtime


def run(*command: str | Path) -> str:
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
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
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert "not even loopback" in result.stdout


def test_data_channels() -> None:
    assert run(sys.executable, EXAMPLES / "data_channels.py") == "you said 'hello'\n"


def test_the_first_program_of_the_readme(tmp_path: Path) -> None:
    programs = re.findall(r"```python\n(import asyncio\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(programs) == 1
    path = tmp_path / "first.py"
    path.write_text(programs[0])
    assert run(sys.executable, path) == "you said 'hello'\n"


@pytest.mark.interop
@pytest.mark.needs("chromium")
def test_browser() -> None:
    async def chat(address: str) -> None:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=chromium.FLAGS)
            page = await browser.new_page()
            await page.goto(address)
            await page.wait_for_selector("#state.open", timeout=20_000)
            await page.wait_for_selector("text=Hello, I am Python")
            await page.fill("#text", "Grüße")
            await page.click("#send")
            await page.wait_for_selector("text=You said: Grüße")
            await page.click("#connect")
            await page.wait_for_selector("text=Connect")
            await browser.close()

    command = [sys.executable, "-u", str(EXAMPLES / "browser.py"), "--port", "0", "--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            address = re.search(r"http://\S+", server.stdout.readline())
            assert address is not None
            asyncio.run(chat(address[0]))
        finally:
            server.terminate()
