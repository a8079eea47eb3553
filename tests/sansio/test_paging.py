from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.strategies import texts
from trio_norman._sansio.limits import DEFAULT_LIMITS
from trio_norman._sansio.paging import PageFacts, PageWalk


def key_lists() -> st.SearchStrategy[list[str]]:
    """Identities of a list's items, each once."""
    return st.lists(texts(max_size=3), unique=True, max_size=40)


def walk_through(keys: list[str], walk: PageWalk, *, largest: int, says_more: bool, says_limit: bool) -> list[str]:
    """Serve `keys` page by page, as a truthful server whose pages hold `largest` items at most, until the walk ends."""
    got: list[str] = []
    applied = min(walk.limit, largest)
    while not walk.is_over:
        start = (walk.position - 1) * applied if walk.numbered else walk.position
        page = keys[start : start + applied]
        facts = PageFacts(
            page,
            has_more=start + applied < len(keys) if says_more else None,
            limit=applied if says_limit else None,
            position=walk.position,
        )
        got += [page[index] for index in walk.accept(facts)]
    return got


@given(keys=key_lists(), limit=st.integers(1, 12), largest=st.integers(1, 12), numbered=st.booleans(), data=st.data())
def test_every_item_of_a_truthful_server_comes_once_and_in_order(
    keys: list[str], limit: int, largest: int, numbered: bool, data: st.DataObject
) -> None:
    says_more = data.draw(st.booleans())
    says_limit = largest < limit or data.draw(st.booleans())
    walk = PageWalk(limit, position=1 if numbered else 0, numbered=numbered)
    got = walk_through(keys, walk, largest=largest, says_more=says_more, says_limit=says_limit or not says_more)
    assert got == keys
    assert walk.pages <= len(keys) // min(limit, largest) + 1


def test_items_whose_names_join_alike_are_not_taken_for_repeats() -> None:
    walk = PageWalk(2)
    assert walk.accept(PageFacts(["a", "b"], has_more=True)) == [0, 1]
    assert walk.accept(PageFacts(["a\nb"], has_more=False)) == [0]


def test_an_item_inserted_between_two_requests_repeats_nothing() -> None:
    walk = PageWalk(3)
    walk.accept(PageFacts(["c", "b", "a"], has_more=True))
    assert walk.accept(PageFacts(["a", "z", "y"], has_more=False)) == [1, 2]


def test_a_short_page_without_a_flag_is_the_last() -> None:
    walk = PageWalk(3)
    walk.accept(PageFacts(["a", "b", "c"]))
    assert not walk.is_over
    walk.accept(PageFacts(["d"]))
    assert walk.is_over


def test_an_empty_list_is_over_at_once() -> None:
    walk = PageWalk(20)
    assert walk.accept(PageFacts([])) == []
    assert walk.is_over


@given(total=st.integers(-(10**18), 10**18))
def test_the_total_decides_nothing(total: int) -> None:
    walk = PageWalk(2)
    walk.accept(PageFacts(["a", "b"], has_more=True, total=total))
    assert (walk.is_over, walk.discrepancy) == (False, "")
    walk.accept(PageFacts(["c", "d"], has_more=False, total=total))
    assert (walk.is_over, not walk.discrepancy) == (True, total == 4)


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        (PageFacts(["c"], has_more=True, position=0), "asked for position 2, the answer is for 0"),
        (PageFacts(["c", "c"], has_more=True), "same item twice"),
        (PageFacts(["a", "b"], has_more=True), "repeats items"),
        (PageFacts(["b", "a"], has_more=True), "repeats items"),
        (PageFacts(["b"], has_more=False), "repeats items"),
        (PageFacts([], has_more=True), "empty and says that more follows"),
        (PageFacts(["c"], has_more=True, limit=0), "limit of 0"),
        (PageFacts(["c"], has_more=True, limit=-1), "limit of -1"),
    ],
)
def test_a_page_that_contradicts_ends_the_walk_with_what_is_wrong(page: PageFacts, problem: str) -> None:
    walk = PageWalk(2)
    walk.accept(PageFacts(["a", "b"], has_more=True))
    with pytest.raises(ValueError, match=problem):
        walk.accept(page)


def test_a_limit_of_nothing_on_the_last_page_does_no_harm() -> None:
    walk = PageWalk(2)
    walk.accept(PageFacts(["a"], limit=0))
    assert walk.is_over


def test_a_cycle_of_pages_is_noticed_where_it_closes() -> None:
    walk = PageWalk(2)
    for page in (["a", "b"], ["c", "d"], ["e", "f"]):
        walk.accept(PageFacts(page, has_more=True))
    with pytest.raises(ValueError, match="page 4 repeats"):
        walk.accept(PageFacts(["a", "b"], has_more=True))


def test_a_list_that_begins_again_is_noticed_although_its_pages_changed() -> None:
    walk = PageWalk(2)
    walk.accept(PageFacts(["a", "b"], has_more=True))
    walk.accept(PageFacts(["c", "d"], has_more=True))
    with pytest.raises(ValueError, match="the list begins again"):
        walk.accept(PageFacts(["new", "a"], has_more=True))


@given(most=st.integers(1, 30), pages=st.integers(1, 40))
def test_a_list_may_have_as_many_pages_as_the_limit_and_not_one_more(most: int, pages: int) -> None:
    walk = PageWalk(1, most_pages=most)
    for number in range(1, pages + 1):
        page = PageFacts([str(number)], has_more=number < pages)
        if number > most:
            with pytest.raises(ValueError, match=f"after {most} pages"):
                walk.accept(page)
            return
        walk.accept(page)
    assert walk.is_over


def test_a_list_has_ten_thousand_pages_at_most_unless_told_otherwise() -> None:
    assert PageWalk(1).most_pages == DEFAULT_LIMITS.pages == 10_000


class Server(RuleBasedStateMachine):
    """A walk through a list whose server may say anything at all, page after page."""

    @initialize(limit=st.integers(1, 4), numbered=st.booleans(), most=st.integers(1, 12))
    def begin(self, limit: int, numbered: bool, most: int) -> None:
        self.walk = PageWalk(limit, position=1 if numbered else 0, numbered=numbered, most_pages=most)
        self.most, self.has_failed = most, False
        self.before: list[str] = []
        self.pages: list[list[str]] = []

    @precondition(lambda self: not self.walk.is_over and not self.has_failed)
    @rule(
        keys=st.lists(st.sampled_from("abcdefgh"), max_size=5),
        has_more=st.sampled_from([None, True, True, False]),
        total=st.none() | st.integers(),
        limit=st.none() | st.integers(-1, 6),
        shift=st.sampled_from([None, 0, 0, 0, 1, -1]),
    )
    def answer(
        self, keys: list[str], has_more: bool | None, total: int | None, limit: int | None, shift: int | None
    ) -> None:
        asked = self.walk.position
        position = None if shift is None else asked + shift
        try:
            fresh = self.walk.accept(PageFacts(keys, has_more, total, limit, position))
        except ValueError:
            self.has_failed = True
            return
        got = [keys[index] for index in fresh]
        assert len(set(self.before + got)) == len(self.before) + len(got)  # nothing of this page and the last one twice
        assert got == [key for key in keys if key in got]
        assert keys not in self.pages or not keys
        assert got or not keys
        assert self.walk.position == asked + (1 if self.walk.numbered else len(keys))
        assert self.walk.is_over == (not has_more) or has_more is None
        self.before = keys
        self.pages.append(keys)

    @rule()
    def count(self) -> None:
        assert self.has_failed or self.walk.pages <= self.most


Server.TestCase.settings = settings(max_examples=100, stateful_step_count=14, deadline=None)
TestServer = Server.TestCase


@given(data=st.data(), most=st.integers(1, 8))
def test_no_server_whatsoever_keeps_the_walk_going(data: st.DataObject, most: int) -> None:
    walk = PageWalk(2, most_pages=most)
    page = PageFacts([], has_more=None)
    for _ in range(most):
        page = PageFacts(data.draw(st.lists(st.sampled_from("abcdefgh"), max_size=3)), has_more=True)
        try:
            walk.accept(page)
        except ValueError:
            break
        assert not walk.is_over
    with pytest.raises(ValueError, match=r"page|list|item"):  # and it does not go on if it is driven on
        walk.accept(page)


# ---- pages that are asked for before their turn


@given(keys=key_lists(), limit=st.integers(1, 12), largest=st.integers(1, 12), lanes=st.integers(2, 5))
def test_what_is_asked_for_ahead_is_what_comes_next_and_never_behind_the_end(
    keys: list[str], limit: int, largest: int, lanes: int
) -> None:
    walk = PageWalk(limit, lanes=lanes)
    applied, asked, got = min(limit, largest), {0}, []
    while not walk.is_over:
        assert walk.position in asked
        page = keys[walk.position : walk.position + applied]
        more = walk.position + len(page) < len(keys)
        facts = PageFacts(page, more, len(keys), applied, walk.position)
        got += [page[index] for index in walk.accept(facts)]
        ahead = walk.ahead(facts)
        assert len(ahead) <= lanes
        assert list(ahead) == sorted(set(ahead))
        assert walk.is_over == (not ahead)
        asked |= set(ahead)
    assert got == keys
    assert asked == set(range(0, max(len(keys), 1), applied))


@given(total=st.integers(), limit=st.none() | st.integers(), count=st.integers(0, 5), lanes=st.integers(1, 5))
def test_no_total_and_no_limit_lets_more_be_asked_for_than_there_are_lanes(
    total: int, limit: int | None, count: int, lanes: int
) -> None:
    walk = PageWalk(3, lanes=lanes)
    facts = PageFacts([str(number) for number in range(count)], True, total, limit, 0)
    try:
        walk.accept(facts)
    except ValueError:
        return
    ahead = list(walk.ahead(facts))
    assert 1 <= len(ahead) <= lanes
    assert ahead[0] == walk.position


def test_a_list_that_goes_beyond_its_total_is_a_contradiction_only_where_the_total_is_its_end() -> None:
    page = PageFacts(["a", "b", "c"], False, 2, 5, 0)
    assert PageWalk(5).accept(page) == [0, 1, 2]
    with pytest.raises(ValueError, match="said to have 2 items, and page 1 goes beyond them"):
        PageWalk(5, lanes=4).accept(page)
