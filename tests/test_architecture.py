"""The import contracts of pyproject.toml hold, and each of them can fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def lint(directory: Path) -> tuple[int, str]:
    """import-linter's verdict over the package in ``directory``."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache"]
    result = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=200)
    return result.returncode, result.stdout + result.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "webrtc_py", tmp_path / "webrtc_py", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_contracts_hold(copy: Path) -> None:
    code, output = lint(copy)
    assert code == 0, output


def test_all_of_ice_that_is_below_is_sans_io() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [rooms] = [contract for contract in contracts if contract.get("containers") == ["webrtc_py.ice"]]
    [sans_io] = [contract for contract in contracts if contract["name"].startswith("sans-IO")]
    below = {f"webrtc_py.ice.{module.strip(' ()')}" for module in rooms["layers"][-1].split(":")}
    assert below == {module for module in sans_io["source_modules"] if module.startswith("webrtc_py.ice.")}


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("errors.py", "from .runtime import driver", "layers BROKEN"),
        ("data_channel.py", "from . import sctp_transport", "layers BROKEN"),
        ("newcomer.py", "", "newcomer"),
        ("ice/newcomer.py", "", "newcomer"),
        ("ice/pair.py", "from . import relay", "below BROKEN"),
        ("sctp/newcomer.py", "import asyncio", "event loop BROKEN"),
        ("ice/candidate.py", "import random", "event loop BROKEN"),
        ("sctp/newcomer.py", "from aioice import stun", "aioice stays in ice BROKEN"),
        ("runtime/newcomer.py", "from OpenSSL import SSL", "certificate BROKEN"),
        ("ice/url.py", "import ifaddr", "rooms BROKEN"),
    ],
)
def test_a_violation_is_found(copy: Path, module: str, line: str, contract: str) -> None:
    path = copy / "webrtc_py" / module
    path.write_text((path.read_text() if path.exists() else "") + f"\n{line}\n")
    code, output = lint(copy)
    assert code != 0
    assert contract in output
