"""What the whole suite shares: how long hypothesis looks for counterexamples, and who watches for deeds."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.audited.sitecustomize import deeds

#: For `make soak`: what is fuzzed there takes minutes. Chosen with ``--hypothesis-profile=soak``.
settings.register_profile("soak", max_examples=20_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell's job in the background, whose commands inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Fail the test in which the package executed, unpickled or imported what it should not (SEC-14)."""
    deeds.clear()
    yield
    assert deeds == []
