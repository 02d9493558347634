"""What all tests share: Hypothesis' profiles."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# A slow machine that runs two things at once must not fail a property by its clock: pytest-timeout bounds each test.
settings.register_profile("test", max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "test"))
