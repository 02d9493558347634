"""A test that is skipped is no fault at a desk, and a failure in CI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SKIPPING = """
import pytest

def test_missing():
    pytest.skip("the part is missing")

@pytest.mark.skipif(True, reason="not applicable: another system")
def test_not_applicable():
    pass

@pytest.mark.xfail(reason="known", strict=True)
def test_expected_to_fail():
    assert False
"""


@pytest.mark.parametrize(("ci", "outcome"), [("", "2 skipped, 1 xfailed"), ("true", "1 failed, 1 skipped, 1 xfailed")])
def test_a_skip_is_a_failure_in_ci(tmp_path: Path, ci: str, outcome: str) -> None:
    (tmp_path / "conftest.py").write_text((Path(__file__).parent / "conftest.py").read_text())
    (tmp_path / "test_skipping.py").write_text(SKIPPING)
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "WEBRTC_PY_REQUIRE_ALL")}
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        capture_output=True,
        text=True,
        env={**environment, "CI": ci},
        cwd=tmp_path,
        check=False,
    )
    assert outcome in result.stdout
    assert result.returncode == (1 if ci else 0)
