"""Invocations: what goes into a model, the run, and what comes out."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Mapping
from typing import Any, cast

import attrs

from .._clock import WallClock, iso_date
from .._objects import RunSync
from ._bodies import Bodies
from ._callables import first_input
from ._flags import INPUT_FLAGS, INVOCATION_FLAGS, OUTPUT_FLAGS, Flags
from ._identifiers import IdentifierMaker
from ._models import Catalogue, ModelFunction, ModelResult
from ._notifications import Notifications
from ._queries import chosen
from ._refusals import forbidden, invalid, not_found
from ._shapes import Wire, read_list

_MOST_AT_ONCE = 1000


@attrs.define(eq=False)
class Invocations:
    """All invocations. `functions` holds what models do, by the models' names."""

    clock: WallClock
    identifiers: IdentifierMaker
    flags: Flags
    bodies: Bodies
    catalogue: Catalogue
    notifications: Notifications
    run_sync: RunSync
    functions: dict[str, ModelFunction] = attrs.field(factory=dict, init=False)
    seconds: float = 0.0  # that a model takes at least; may be changed at any time
    _held: dict[str, Wire] = attrs.field(factory=dict, init=False)
    _by_input: dict[str, str] = attrs.field(factory=dict, init=False)  # an input's identifier -> its invocation's
    _started: set[str] = attrs.field(factory=set, init=False)

    def create_by_name(self, account_id: str, raw: object) -> list[Wire]:
        """Make so many invocations of each named model; raises `RefusedError`."""
        if not isinstance(raw, dict) or not all(type(count) is int and count > 0 for count in raw.values()):
            raise invalid("an object of names and counts is expected")
        if sum(raw.values()) > _MOST_AT_ONCE:
            raise invalid(f"{_MOST_AT_ONCE} invocations at once are the most")
        models = [(self.catalogue.named(name, account_id), count) for name, count in raw.items()]
        return [self._create(account_id, model) for model, count in models for _ in range(count)]

    def create(self, account_id: str, raw: object) -> list[Wire]:
        """Make invocations from a list; raises `RefusedError`."""
        wishes = read_list("Invocation", raw, self.clock.now())
        models = [self.catalogue.find(wish["model_id"]) for wish in wishes]
        for wish, model in zip(wishes, models, strict=True):
            if wish["account_id"] != account_id:
                raise forbidden("the invocation belongs to another account")
            for noun in ("inputs", "outputs"):
                if sorted(each["signature_id"] for each in wish[noun]) != sorted(each["id"] for each in model[noun]):
                    raise invalid(f"{noun} must have one entry for each signature of the model")
        return [self._create(account_id, model) for model in models]

    def find(self, account_id: str, invocation_id: str) -> Wire:
        """Give an account's invocation; raises `RefusedError`."""
        invocation = self._held.get(invocation_id)
        if invocation is None or invocation["account_id"] != account_id:
            raise not_found("invocation", invocation_id)
        return invocation

    def entry(self, account_id: str, invocation_id: str, noun: str, entry_id: str) -> Wire:
        """Give an entry of an invocation's ``inputs`` or ``outputs``; raises `RefusedError`."""
        for entry in self.find(account_id, invocation_id)[noun]:
            if entry["id"] == entry_id:
                return dict(entry)
        raise not_found(noun.removesuffix("s"), entry_id)

    def chosen(self, account_id: str, constraints: Any) -> dict[str, Wire]:
        """Give those of an account's invocations that constraints ask for."""
        return {row["id"]: row for row in chosen(self._of(account_id), constraints)}

    def history(self, account_id: str, constraints: Any) -> dict[str, Wire]:
        """Give the history of an account's invocations; entries have the fields of invocations, too."""
        rows = []
        for invocation in self._of(account_id):
            model = self.catalogue.recalled(invocation["model_id"])
            value = self.flags.tracks[invocation["id"]].values(self.clock.now())[0]
            asset_id = next((asset["id"] for asset in model["assets"]), "0")
            rows.append(invocation | {"asset_id": asset_id, "model_name": model["name"], "flag_value": value})
        return {row["id"]: row for row in chosen(rows, constraints)}

    def use_defaults(self, account_id: str, entity_ids: set[str] | None) -> list[Wire]:
        """Let inputs that were left out have their default values, now that somebody waits for the invocation.

        Returns:
            The invocations that can run because of that.
        """
        wished = self._held if entity_ids is None else entity_ids & self._held.keys()
        invocations = [self._held[each] for each in wished if each not in self._started]
        return [each for each in invocations if each["account_id"] == account_id and self._use_defaults(each)]

    def waiting_for(self, input_id: str) -> list[Wire]:
        """Give the invocations, one or none, that have this input."""
        return [self._held[each] for each in (self._by_input.get(input_id),) if each is not None]

    def claim(self, invocation: Wire) -> bool:
        """Tell whether all inputs are there and nobody else has begun to run the model; who is told so must run it."""
        tracks = [self.flags.tracks[entry["id"]] for entry in invocation["inputs"]]
        if invocation["id"] in self._started or not all(track.has_begun for track in tracks):
            return False
        self._started.add(invocation["id"])
        return True

    async def run(self, invocation: Wire) -> None:
        """Run the model of a claimed invocation, and let the outputs appear."""
        model = self.catalogue.recalled(invocation["model_id"])
        track = self.flags.tracks[invocation["id"]]
        begins = max([self.clock.now(), *(self.flags.tracks[each["id"]].finished_at for each in invocation["inputs"])])
        track.begin(begins)
        try:
            await self._answer(invocation, model)
        except Exception as error:  # noqa: BLE001 (a model may fail in any way; the service goes on)
            track.fail(max(begins, self.clock.now()))
            self.notifications.add(
                invocation["account_id"], invocation["id"], "Error", "Run failed", str(error), model=model
            )
            return
        ends = max(self.clock.now(), begins + self.seconds)
        track.finish(ends)
        for entry in invocation["outputs"]:
            self.flags.tracks[entry["id"]].begin(ends, self.flags.seconds)

    def _use_defaults(self, invocation: Wire) -> bool:
        model = self.catalogue.recalled(invocation["model_id"])
        defaults = {signature["id"]: signature["default_value"] for signature in model["inputs"]}
        missing = [entry for entry in invocation["inputs"] if not self.flags.tracks[entry["id"]].has_begun]
        if any(defaults[entry["signature_id"]] is None for entry in missing):
            return False
        for entry in missing:
            self.bodies.keep_bytes(entry["id"], defaults[entry["signature_id"]].encode())
            self.flags.tracks[entry["id"]].begin(self.clock.now(), self.flags.seconds)
        return True

    async def _answer(self, invocation: Wire, model: Wire) -> None:
        function = self.functions.get(model["name"], first_input)
        inputs = await self.run_sync(lambda: self._inputs(invocation))
        if inspect.iscoroutinefunction(function):
            result = await cast(Awaitable[ModelResult], function(inputs))
        else:
            result = cast(ModelResult, await self.run_sync(lambda: function(inputs)))
        titles = [entry["display_title"] for entry in invocation["outputs"]]
        answers = result if isinstance(result, Mapping) else dict.fromkeys(titles, result)
        results = {title: _as_bytes(answers[title]) for title in titles}
        for entry in invocation["outputs"]:
            await self.run_sync(functools.partial(self.bodies.keep_bytes, entry["id"], results[entry["display_title"]]))

    def _inputs(self, invocation: Wire) -> dict[str, bytes]:
        bodies = {entry["display_title"]: self.bodies.of(entry["id"]) for entry in invocation["inputs"]}
        return {title: body.read_all() for title, body in bodies.items() if body is not None}

    def _of(self, account_id: str) -> list[Wire]:
        return [each for each in self._held.values() if each["account_id"] == account_id]

    def _create(self, account_id: str, model: Wire) -> Wire:
        invocation_id = self.identifiers.next()

        def entry(signature: Wire) -> Wire:
            return {
                "id": self.identifiers.next(),
                "account_id": account_id,
                "model_id": model["id"],
                "signature_id": signature["id"],
                "invocation_id": invocation_id,
                "display_title": signature["display_title"],
            }

        self._held[invocation_id] = invocation = {
            "id": invocation_id,
            "account_id": account_id,
            "model_id": model["id"],
            "creation_time": iso_date(self.clock.now()),
            "inputs": [entry(signature) for signature in model["inputs"]],
            "outputs": [entry(signature) for signature in model["outputs"]],
        }
        self._by_input |= {each["id"]: invocation_id for each in cast(list[Wire], invocation["inputs"])}
        self.flags.create(invocation_id, account_id, INVOCATION_FLAGS)
        for names, entries in ((INPUT_FLAGS, invocation["inputs"]), (OUTPUT_FLAGS, invocation["outputs"])):
            for each in cast(list[Wire], entries):
                self.flags.create(each["id"], account_id, names)
        self.catalogue.count_invocation(model)
        return invocation


def _as_bytes(answer: bytes | str) -> bytes:
    return answer.encode() if isinstance(answer, str) else bytes(answer)
