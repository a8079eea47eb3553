"""One token for all tasks: made when it is needed, renewed a little before its end, and once for everybody."""

from __future__ import annotations

import base64
import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.faults.secrecy import everything_about
from tests.norman.norman_opening import answer, asked, echo, open_in_memory
from tests.strategies import texts
from trio_norman import ConnectionSettings, Norman, RetryPolicy
from trio_norman._sansio.tokens import token_age_limit
from trio_norman.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectError,
    MalformedResponseError,
    ServiceBrokenError,
)
from trio_norman.testing import open_memory_emulator

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def jwt(claims: Any) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"e30.{payload}.c2ln"


@given(seconds=st.integers(0, 10**7))
def test_a_token_is_used_until_a_margin_before_its_end(seconds: int) -> None:
    limit = token_age_limit(jwt({"exp": NOW.timestamp() + seconds}), now=NOW)
    assert 0 <= limit <= seconds
    assert limit == pytest.approx(seconds - min(30.0, seconds / 10), abs=1e-3)


@given(text=texts(max_size=60))
def test_a_token_that_tells_no_end_is_used_until_it_is_refused(text: str) -> None:
    assert token_age_limit(text, now=NOW) == math.inf
    several: list[Any] = [{}, {"exp": "soon"}, {"exp": True}, [], {"exp": 1e300}]
    for claims in several:
        assert token_age_limit(jwt(claims), now=NOW) == math.inf


def test_a_token_that_is_over_is_not_used_at_all() -> None:
    assert token_age_limit(jwt({"exp": 5}), now=NOW) == 0


def logins(emulator: Any) -> int:
    return len(asked(emulator, "/login/"))


async def test_nobody_logs_in_before_it_is_needed_and_then_once(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, norman):
        assert logins(emulator) == 0
        await norman.invoke(echo("a"))
        await norman.invoke(echo("b"))
        assert logins(emulator) == 1
        assert (await norman.get_access_token()) == (await norman.get_access_token())


async def test_A_03_a_hundred_calls_at_once_log_in_once_and_once_more_at_the_tokens_end(
    autojump_clock: MockClock,
) -> None:
    """Success: one login for a hundred calls, another one before the token's end, and no 401 at all."""
    async with open_in_memory() as (emulator, norman):

        async def a_hundred() -> None:
            async with trio.open_nursery() as nursery:
                for _ in range(100):
                    nursery.start_soon(norman.persist.models.get_models)

        await a_hundred()
        assert logins(emulator) == 1
        await trio.sleep(emulator.norman.tokens.lifetime)
        await a_hundred()
        assert logins(emulator) == 2
        assert not [request for request in asked(emulator) if request.status == 401]  # it was renewed beforehand


async def test_A_01_a_token_that_is_refused_is_renewed_once_for_all_and_the_calls_are_made_again(
    autojump_clock: MockClock,
) -> None:
    """Success: one login more, and every call is made once more."""
    async with open_in_memory() as (emulator, norman):
        await norman.get_account()
        emulator.norman.tokens.revoke_all()
        done = []

        async def ask() -> None:
            done.append(await norman.persist.models.get_models())

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask)
        assert len(done) == 20
        assert logins(emulator) == 2
        assert sorted(request.status or 0 for request in asked(emulator, "/models/get")) == [200] * 20 + [401] * 20


async def test_A_01_a_token_that_is_refused_during_a_long_wait_is_renewed_within_it(
    autojump_clock: MockClock,
) -> None:
    """Success: the wait goes on with the new token."""
    async with open_in_memory() as (emulator, norman):
        emulator.norman.invocations.seconds = 600.0
        results = []

        async def invoke() -> None:
            results.append(await answer(norman, echo("slow")))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(invoke)
            while not asked(emulator, "/flags/get"):  # noqa: ASYNC110 (a log tells nobody)
                await trio.sleep(1)
            emulator.norman.tokens.revoke_all()
        assert results == [b"slow"]
        assert logins(emulator) == 2


async def test_A_01_a_token_that_is_refused_while_fetching_is_renewed(autojump_clock: MockClock) -> None:
    """Success: the bytes come with the new token."""
    async with open_in_memory() as (emulator, norman):
        async with norman.open_invocation(echo("abc")) as invocation:
            emulator.norman.tokens.revoke_all()
            assert await invocation.read("Output") == b"abc"
        assert logins(emulator) == 2


async def test_A_01_a_second_refusal_is_final(autojump_clock: MockClock) -> None:
    """`AuthenticationError` after one replay."""
    async with open_in_memory() as (emulator, norman):
        emulator.misbehave("/v0/persist/models/get", status=401)
        with pytest.raises(AuthenticationError):
            await norman.persist.models.get_models()
        assert (logins(emulator), len(asked(emulator, "/models/get"))) == (2, 2)


async def test_A_02_a_login_that_is_down_is_tried_again_and_its_failure_shared(autojump_clock: MockClock) -> None:
    """`ServiceBrokenError` for all who wait, after one retry budget; the key is not shown."""
    async with open_in_memory(RetryPolicy(attempts=3)) as (emulator, norman):
        emulator.misbehave("/v0/authenticate/login/key", status=503)
        failures = []

        async def ask() -> None:
            try:
                await norman.persist.models.get_models()
            except ServiceBrokenError as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ask)
        assert len(failures) == 10
        assert logins(emulator) == 3
        shown = [everything_about(error, with_arguments=True) for error in failures]
        assert not [text for text in shown if emulator.norman_api_key in text]
        emulator.behave()
        assert await norman.persist.models.get_models()  # a failure is not for ever


async def test_A_02_who_comes_during_a_login_that_fails_waits_for_it_and_is_told_by_a_copy(
    autojump_clock: MockClock,
) -> None:
    """`AuthenticationError` for each, after one login; what one of them leaves behind is its own."""
    async with open_in_memory() as (emulator, norman):
        emulator.misbehave("/v0/authenticate/login/key", status=401, delay=1)
        failures: list[AuthenticationError] = []

        async def ask(number: int) -> None:
            await trio.sleep(0.1 * number)
            with pytest.raises(AuthenticationError) as caught:
                await norman.persist.models.get_models()
            caught.value.note_orphans(f"invocation {number}")
            failures.append(caught.value)

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(ask, number)
        assert logins(emulator) == 1
        assert sorted(failure.orphans for failure in failures) == [(f"invocation {number}",) for number in range(5)]
        assert len({str(failure) for failure in failures}) == 1
        with pytest.raises(AuthenticationError):
            await norman.get_account()  # who comes afterwards tries once more
        assert logins(emulator) == 2


async def test_A_02_nobody_listens(autojump_clock: MockClock) -> None:
    """`ConnectError` when the retry budget is spent; the key is not shown."""
    async with open_memory_emulator() as (emulator, transport):
        transport.nobody_listens = True
        settings = ConnectionSettings(transport=transport)
        async with Norman(emulator.norman_api_key, emulator.norman_base_url, connection=settings) as norman:
            with pytest.raises(ConnectError) as caught:
                await norman.get_account()
            assert caught.value.attempts == 8
            assert emulator.norman_api_key not in everything_about(caught.value, with_arguments=True)


async def test_A_02_a_key_that_is_refused_is_not_shown_even_if_the_service_quotes_it(
    autojump_clock: MockClock,
) -> None:
    """`AuthenticationError` at once, without the key."""
    async with open_in_memory() as (emulator, norman):
        quoting = json.dumps({"error_type": "authentication", "message": f"bad key {emulator.norman_api_key}"})
        emulator.misbehave("/v0/authenticate/login/key", status=401, body=quoting)
        with pytest.raises(AuthenticationError, match="bad key <redacted>"):
            await norman.get_account()
        assert logins(emulator) == 1


async def test_a_login_without_token_or_account_is_malformed(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, norman):
        for answer, field in (("{}", "access_token"), ('{"access_token": "x"}', "account")):
            emulator.misbehave("/v0/authenticate/login/key", status=200, body=answer, times=1)
            with pytest.raises(MalformedResponseError, match=field):
                await norman.get_account()


async def test_a_cancelled_login_is_made_by_the_next_in_line(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, norman):
        emulator.misbehave("/v0/authenticate/login/key", delay=math.inf, times=1)
        with trio.move_on_after(1) as first:
            await norman.get_account()
        assert first.cancelled_caught
        assert (await norman.get_account()).name == "ada"


async def test_without_a_key_there_are_only_the_calls_that_need_none(autojump_clock: MockClock) -> None:
    async with open_memory_emulator() as (emulator, transport):
        settings = ConnectionSettings(transport=transport)
        async with Norman(base_url=emulator.norman_base_url, connection=settings) as norman:
            assert (await norman.authenticate.signup.signup_key("zoe")).account.name == "zoe"
            with pytest.raises(ConfigurationError, match="needs an API key"):
                await norman.persist.models.get_models()


async def test_two_clients_have_two_accounts(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, ada):
        other = await ada.authenticate.signup.signup_key("bob")
        settings = ada._connection
        async with Norman(other.api_key, emulator.norman_base_url, connection=settings) as bob:
            assert [(await each.get_account()).name for each in (ada, bob)] == ["ada", "bob"]
