"""Models, their versions, and the bases that versions share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import attrs

from .._clock import WallClock
from ._flags import MODEL_FLAGS, Flags, asset_flags
from ._identifiers import IdentifierMaker
from ._notifications import Notifications
from ._queries import chosen
from ._refusals import forbidden, invalid, not_found
from ._shapes import Wire, cut_to, read_list

ModelResult: TypeAlias = bytes | str | Mapping[str, bytes | str]
#: What a model does: inputs by their titles in, one answer for all outputs or answers by their titles out.
ModelFunction: TypeAlias = Callable[[dict[str, bytes]], ModelResult | Awaitable[ModelResult]]


@attrs.define(eq=False)
class Catalogue:
    """The models of all accounts. Everybody may see and invoke them; only their owner may change them."""

    clock: WallClock
    identifiers: IdentifierMaker
    flags: Flags
    notifications: Notifications
    _models: dict[str, Wire] = attrs.field(factory=dict, init=False)
    _deleted: dict[str, Wire] = attrs.field(factory=dict, init=False)  # invocations still speak of them
    _bases: dict[str, Wire] = attrs.field(factory=dict, init=False)

    def find(self, model_id: str) -> Wire:
        """Give a model as it is kept; raises `RefusedError`."""
        if model_id not in self._models:
            raise not_found("model", model_id)
        return self._models[model_id]

    def recalled(self, model_id: str) -> Wire:
        """Give a model of which something speaks, even if it is deleted."""
        return self._models.get(model_id) or self._deleted[model_id]

    def named(self, name: str, account_id: str) -> Wire:
        """Give the active version of the model of this name, the account's own if it has one, the newest of several.

        Raises:
            RefusedError: If there is none.
        """
        found = [model for model in self._models.values() if model["name"] == name and model["active"]]
        own = [model for model in found if model["account_id"] == account_id]
        if not found:
            raise not_found("model", name)
        return (own or found)[-1]

    def has_name(self, name: str) -> bool:
        """Tell whether there is a model of this name."""
        return any(model["name"] == name for model in self._models.values())

    def shown(self, model: Wire) -> Wire:
        """Give a model as it is sent: with its present state and the counts of its tags."""
        names = [tag["name"] for tag in model["user_added_tags"]]
        tags = [{"model_id": model["id"], "name": name, "tag_count": self._tag_count(name)} for name in names]
        return model | {"build_status": self._build_status(model["id"]), "tags": tags}

    def chosen(self, constraints: Any) -> dict[str, Wire]:
        """Give the models that constraints ask for; raises `RefusedError`."""
        rows = [self.shown(model) for model in self._models.values()]
        return {row["id"]: row for row in chosen(rows, constraints)}

    def chosen_bases(self, constraints: Any) -> dict[str, Wire]:
        """Give the bases that constraints ask for; raises `RefusedError`."""
        rows = [base | {"model_previews": self._previews(base["id"])} for base in self._bases.values()]
        return {row["id"]: row for row in chosen(rows, constraints)}

    def create(self, account_id: str, raw: object, *, versions: bool = False) -> list[Wire]:
        """Make models, or further versions of models; all of them or none. Raises `RefusedError`."""
        wishes = self._checked(account_id, raw)
        if versions:
            for wish in wishes:
                self._own_base(account_id, wish["model_base_id"])
        added = [self._add(wish, wish["model_base_id"] if versions else None) for wish in wishes]
        return [self.shown(model) for model in added]

    def replace(self, account_id: str, raw: object) -> list[Wire]:
        """Put models in the place of others with the same identifiers; raises `RefusedError`."""
        wishes = self._checked(account_id, raw)
        for wish in wishes:
            self._own(account_id, wish["id"])
        for wish in wishes:
            kept = self._models[wish["id"]]
            self._fill(wish, kept["id"], kept["model_base_id"], [asset["id"] for asset in kept["assets"]])
            self._models[kept["id"]] = wish
            self._flag_new_assets(wish)
        return [self.shown(wish) for wish in wishes]

    def activate(self, account_id: str, raw: object) -> list[Wire]:
        """Make these versions the active ones of their bases; raises `RefusedError`."""
        wished = [self._own(account_id, wish["id"]) for wish in read_list("ModelPreview", raw, self.clock.now())]
        for model in wished:
            self._activate(model)
        return [cut_to("ModelPreview", self.shown(model)) for model in wished]

    def delete(self, account_id: str, constraints: Any) -> int:
        """Delete those of an account's models that constraints ask for; give their number. Raises `RefusedError`."""
        own = [model for model in self._models.values() if model["account_id"] == account_id]
        doomed = chosen(own, constraints)
        for model in doomed:
            self._deleted[model["id"]] = self._models.pop(model["id"])
            if not self._previews(model["model_base_id"]):
                self._bases.pop(model["model_base_id"], None)
        return len(doomed)

    def asset(self, account_id: str, model_id: str, asset_id: str) -> Wire:
        """Give an asset of an account's own model; raises `RefusedError`."""
        for asset in self._own(account_id, model_id)["assets"]:
            if asset["id"] == asset_id:
                return dict(asset)
        raise not_found("asset", asset_id)

    def count_invocation(self, model: Wire) -> None:
        """Count one more invocation of a model's base."""
        self._bases[model["model_base_id"]]["invocation_count"] += 1

    def asset_came(self, asset_id: str) -> None:
        """Let the build of an asset's model begin, if all its assets are there."""
        for model in self._models.values():
            if asset_id in [asset["id"] for asset in model["assets"]]:
                self._build_if_whole(model)

    def _build_if_whole(self, model: Wire) -> None:
        tracks = [self.flags.tracks[asset["id"]] for asset in model["assets"]]
        if all(track.has_begun for track in tracks):
            at = max([self.clock.now(), *(track.finished_at for track in tracks)])
            track = self.flags.tracks[model["id"]]
            track.begin(at, self.flags.seconds)
            facts = (model["account_id"], model["id"], "Success", "Model ready", "Build finished")
            self.notifications.add(*facts, model=model, at=track.finished_at)

    def _checked(self, account_id: str, raw: object) -> list[Wire]:
        wishes = read_list("Model", raw, self.clock.now())
        for wish in wishes:
            if wish["account_id"] != account_id:
                raise forbidden("the model belongs to another account")
            for noun, titles in (
                ("asset_name", [asset["asset_name"] for asset in wish["assets"]]),
                ("display_title of inputs", [each["display_title"] for each in wish["inputs"]]),
                ("display_title of outputs", [each["display_title"] for each in wish["outputs"]]),
            ):
                if len(set(titles)) < len(titles):
                    raise invalid(f"{noun} is used twice")
            if wish["hosting_location"] == "External" and not wish["url"]:
                raise invalid("an external model needs a url")
        return wishes

    def _add(self, wish: Wire, base_id: str | None) -> Wire:
        model_id = self.identifiers.next()
        if base_id is None:
            base_id = self.identifiers.next()
            owner, name = wish["account_id"], wish["name"]
            self._bases[base_id] = {"id": base_id, "account_id": owner, "name": name, "invocation_count": 0}
        self._fill(wish, model_id, base_id, [])
        self._models[model_id] = wish
        if wish["active"]:
            self._activate(wish)
        self.flags.create(model_id, wish["account_id"], MODEL_FLAGS)
        self._flag_new_assets(wish)
        self._build_if_whole(wish)
        return wish

    def _fill(self, wish: Wire, model_id: str, base_id: str, known: list[str]) -> None:
        """Give identifiers to a model and to everything in it that has none of its own."""
        wish |= {"id": model_id, "model_base_id": base_id}
        for asset in wish["assets"]:
            asset["model_id"] = model_id
            asset["id"] = asset["id"] if asset["id"] in known else self.identifiers.next()
        for tag in wish["user_added_tags"]:
            tag |= {"id": self.identifiers.next(), "model_id": model_id, "account_id": wish["account_id"]}
        for signature in [*wish["inputs"], *wish["outputs"]]:
            signature |= {"id": self.identifiers.next(), "model_id": model_id}
            for parameter in signature["parameters"]:
                parameter |= {"id": self.identifiers.next(), "model_id": model_id, "signature_id": signature["id"]}
            for transform in signature["transforms"]:
                transform |= {"id": self.identifiers.next(), "signature_id": signature["id"]}

    def _flag_new_assets(self, model: Wire) -> None:
        for asset in model["assets"]:
            if asset["id"] not in self.flags.tracks:
                self.flags.create(asset["id"], model["account_id"], asset_flags(asset["asset_name"]))

    def _activate(self, model: Wire) -> None:
        for other in self._models.values():
            if other["model_base_id"] == model["model_base_id"]:
                other["active"] = other["id"] == model["id"]

    def _own(self, account_id: str, model_id: str) -> Wire:
        model = self.find(model_id)
        if model["account_id"] != account_id:
            raise forbidden("the model belongs to another account")
        return model

    def _own_base(self, account_id: str, base_id: str) -> None:
        if base_id not in self._bases:
            raise not_found("model base", base_id)
        if self._bases[base_id]["account_id"] != account_id:
            raise forbidden("the model belongs to another account")

    def _previews(self, base_id: str) -> list[Wire]:
        versions = [model for model in self._models.values() if model["model_base_id"] == base_id]
        return [cut_to("ModelPreview", self.shown(model)) for model in versions]

    def _build_status(self, model_id: str) -> str:
        track, now = self.flags.tracks[model_id], self.clock.now()
        if now >= track.failed_at:
            return "Failed"
        return "Completed" if track.has_finished(now) else "InProgress"

    def _tag_count(self, name: str) -> int:
        return sum(name in [tag["name"] for tag in model["user_added_tags"]] for model in self._models.values())
