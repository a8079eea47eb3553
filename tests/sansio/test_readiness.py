from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_norman._sansio.readiness import next_question


@given(within=st.floats(0, 1e5), luck=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=10))
def test_questions_become_rarer_and_the_last_one_is_at_the_end(within: float, luck: list[float]) -> None:
    waited, pauses = 0.0, list[float]()
    while (
        pause := next_question(len(pauses) + 1, waited=waited, within=within, jitter=luck[len(pauses) % len(luck)])
    ) is not None:
        assert 0 < pause <= 33
        waited += pause
        pauses.append(pause)
    assert len(pauses) <= 7 + within / 30
    assert abs(waited - within) < 1e-6 * max(1.0, within)
    assert pauses[:-1] == sorted(pauses[:-1]) or max(pauses) >= 30


def test_the_first_pauses_double_from_a_second_to_half_a_minute() -> None:
    asked = [next_question(n, waited=0, within=1e6, jitter=0) for n in (1, 2, 3, 4, 5, 6, 7, 10_000)]
    assert asked == [1, 2, 4, 8, 16, 30, 30, 30]
    assert next_question(1, waited=60, within=60, jitter=0.5) is None
