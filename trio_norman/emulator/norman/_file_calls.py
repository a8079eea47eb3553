"""The calls about bodies: pushed, fetched, retrieved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from starlette.types import Scope

from .._knobs import Knobs
from ._calls import Answers, Call
from ._refusals import forbidden, not_found
from ._retrieving import Retrieval
from ._service import NormanService


def file_calls(service: NormanService, drop: Callable[[Scope], None]) -> dict[str, Answers]:
    """Give the calls; `drop` resets a client's connection."""
    links: dict[str, Literal["Asset", "Input", "Output"]] = {"assets": "Asset", "inputs": "Input", "outputs": "Output"}

    async def pair_asset(call: Call) -> Any:
        return service.pair(call.account_id, "asset", call.body)

    async def pair_input(call: Call) -> Any:
        return service.pair(call.account_id, "input", call.body)

    async def complete(call: Call) -> Any:
        await service.complete(call.account_id, call.body)

    async def submit_links(call: Call) -> Any:
        return service.submit_links(call.account_id, links[call.request.url.path.rpartition("/")[2]], call.body)

    async def tell_progress(call: Call) -> Any:
        return service.download_of(call.account_id, call.part("entity_id"))

    async def retrieve_asset(call: Call) -> Any:
        _check_account(call)
        asset = service.catalogue.asset(call.account_id, call.part("model_id"), call.part("asset_id"))
        return _retrieval(service, asset["id"], drop)

    def retrieve_of(noun: str) -> Answers:
        async def retrieve_entry(call: Call) -> Any:
            _check_account(call)
            invocation_id, entry_id = call.part("invocation_id"), call.part("entry_id")
            entry = service.invocations.entry(call.account_id, invocation_id, noun, entry_id)
            if entry["model_id"] != call.part("model_id"):
                raise not_found("invocation of the model", invocation_id)
            return _retrieval(service, entry_id, drop)

        return retrieve_entry

    of_invocation = "{account_id}/{model_id}/{invocation_id}/{entry_id}"
    return {
        "POST file-push/socket/pair/asset": pair_asset,
        "POST file-push/socket/pair/input": pair_input,
        "POST file-push/socket/complete": complete,
        "POST file-pull/upload/assets": submit_links,
        "POST file-pull/upload/inputs": submit_links,
        "POST file-pull/upload/outputs": submit_links,
        "GET file-pull/metadata/{entity_id}": tell_progress,
        "GET retrieve/asset/{account_id}/{model_id}/{asset_id}": retrieve_asset,
        f"GET retrieve/input/{of_invocation}": retrieve_of("inputs"),
        f"GET retrieve/output/{of_invocation}": retrieve_of("outputs"),
    }


def _check_account(call: Call) -> None:
    if call.part("account_id") != call.account_id:
        raise forbidden("the bytes belong to another account")


def _retrieval(service: NormanService, entity_id: str, drop: Callable[[Scope], None]) -> Retrieval:
    body, track = service.bodies.of(entity_id), service.flags.tracks[entity_id]
    if body is None or not track.has_finished(service.clock.now()):
        raise not_found("stored body", entity_id)
    knobs, count = service.knobs.get(entity_id, service.knobs.get(None, (Knobs(), [0])))
    count[0] += 1
    times = knobs.size("times")
    striking = knobs if times is None or count[0] <= times else Knobs()
    return Retrieval(entity_id, body, striking, service.clock, service.run_sync, service.serves_ranges, drop)
