"""Logging in at the Norman service: rows A."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from tests.destinations import QUICK
from tests.faults.rows import MiB, Row
from tests.norman.norman_opening import asked
from trio_norman import DownloadRetrying, Event, Norman, errors
from trio_norman.norman import output_file_name

LOGIN = "/v0/authenticate/login/key"
LARGE = bytes(range(256)) * 8192


@asynccontextmanager
async def norman(row: Row, root: str | None = None) -> AsyncIterator[Norman]:
    """Open a client with a key of its own; neither the key nor a token that it gets may show anywhere."""
    service, key = row.emulator.norman, row.secret("norman key")
    service.accounts.add_key(service.account, key)
    try:
        async with Norman(key, root or row.emulator.norman_base_url, retry=QUICK) as client:
            yield client
    finally:
        given = {each.headers.get("authorization", "") for each in asked(row.emulator)} - {""}
        for number, token in enumerate(given):
            row.canaries.add(f"token {number}", token.rpartition(".")[2])


def logins(row: Row) -> int:
    """Count the logins."""
    return len(asked(row.emulator, LOGIN))


async def test_A_01_the_token_is_refused_in_the_middle_of_a_file(row: Row) -> None:
    """Success: one login more, one replay, and the rest of the file. D2."""
    row.emulator.norman.serves_ranges = True
    row.emulator.register_model("large", lambda inputs: LARGE)
    row.emulator.norman.inject_retrieval(reset=MiB, times=1)

    def revoke(event: Event) -> None:
        if isinstance(event, DownloadRetrying):
            row.emulator.norman.tokens.revoke_all()

    config = {"model_name": "large", "inputs": [{"display_title": "Input", "data": "x"}]}
    async with norman(row) as client, client.open_invocation(config) as invocation:
        (output,) = invocation.invocation.outputs
        name = output_file_name(invocation.invocation, output)
        async with row.attempt({name: LARGE}) as attempt:
            how: Any = {"retry": QUICK, "max_connections": 1, "on_event": revoke}
            async with client.download_outputs([invocation.invocation], row.dest, **how) as results:
                async for result in results:
                    attempt.results[name] = result
    row.expect(attempt, disk="D2", requests=8)
    assert [each.status for each in asked(row.emulator, "/retrieve/")] == [200, 401, 206]
    assert logins(row) == 2


@pytest.mark.rows("A-01")
async def test_A_03_a_hundred_calls_meet_a_token_that_has_expired(row: Row) -> None:
    """Success: exactly one login more, and every call that was refused is made once more. D0."""
    names = []

    async def ask(client: Norman) -> None:
        names.append(await client.persist.models.get_models())

    async with row.attempt({"f": None}) as attempt, norman(row) as client:
        await client.get_account()
        row.emulator.clock.jump(row.emulator.norman.tokens.lifetime + 1)  # of which the client knows nothing
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(ask, client)
    assert attempt.error is None
    row.expect_disk(attempt, disk="D0")
    assert (len(names), logins(row)) == (100, 2)
    answers = Counter(each.status for each in asked(row.emulator, "/models/get"))
    assert answers[200] == 100
    assert 1 <= answers[401] <= 100
    assert answers.keys() == {200, 401}


async def test_A_01_a_new_token_is_refused_as_well(row: Row) -> None:
    """AuthenticationError after one login more and one replay. D0."""
    rule = row.emulator.misbehave("/v0/persist/models/get", status=401)
    async with row.attempt({"f": None}) as attempt, norman(row) as client:
        await client.persist.models.get_models()
    row.expect_error(attempt, errors.AuthenticationError, disk="D0")
    assert (logins(row), rule.hits) == (2, 2)


@pytest.mark.parametrize(
    ("why", "kind", "attempts"),
    [
        ("broken", errors.ServiceBrokenError, 5),
        ("cut off", errors.InterruptedTransferError, 5),
        ("not there", errors.ConnectError, 5),
        ("refused, and the key is quoted", errors.AuthenticationError, 1),
    ],
)
async def test_A_02_nobody_can_log_in(row: Row, why: str, kind: type[errors.TrioNormanError], attempts: int) -> None:
    """ServiceBrokenError, InterruptedTransferError, ConnectError or AuthenticationError of all; no key shows. D0."""
    failures: list[errors.TrioNormanError] = []

    async def ask(client: Norman) -> None:
        try:
            await client.get_account()
        except errors.TrioNormanError as error:
            row.show("the error of one of many", error)
            failures.append(error)

    async with row.attempt({"f": None}) as attempt:
        async with norman(row, row.odd.closed if why == "not there" else None) as client:
            if why == "broken":
                row.emulator.misbehave(LOGIN, status=503)
            elif why == "cut off":
                row.emulator.misbehave(LOGIN, drop=True)
            elif why.startswith("refused"):
                quoting = {"error_type": "authentication", "message": f"bad key {row.canaries.known['norman key']}"}
                row.emulator.misbehave(LOGIN, status=401, body=json.dumps(quoting))
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(ask, client)
            shared = logins(row)
            await client.get_account()
    error = row.expect_error(attempt, kind, disk="D0", requests=2 * 2 * attempts)
    assert error.attempts == attempts
    assert {type(each) for each in failures} == {kind}
    assert len(failures) == 5
    assert (shared, logins(row)) == ((0, 0) if why == "not there" else (attempts, 2 * attempts))
