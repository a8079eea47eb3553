"""What the whole suite shares: how long hypothesis looks for counterexamples."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

#: For `make soak`: what is fuzzed there takes minutes. Chosen with ``--hypothesis-profile=soak``.
settings.register_profile("soak", max_examples=20_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
