"""``norman.persist``: models, their versions, invocations, flags and notifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from . import _calls as api
from ._constraints import QueryConstraints
from ._models import Invocation, InvocationHistory, Model, ModelBase, ModelPreview, Notification, StatusFlag
from ._services import Service


class Models(Service):
    """Versions of models."""

    async def create_models(self, models: Sequence[Model]) -> Sequence[Model]:
        """Make models and return them, in the same order, with their ids."""
        return await self._ask(api.create_models(models))

    async def get_models(self, constraints: QueryConstraints | None = None) -> Mapping[str, Model]:
        """Return models by their ids: those that the constraints keep, or all."""
        return await self._ask(api.get_models(constraints))

    async def upgrade_models(self, models: Sequence[Model]) -> Sequence[Model]:
        """Make new versions and return them with their ids."""
        return await self._ask(api.upgrade_models(models))

    async def replace_models(self, models: Sequence[Model]) -> Sequence[Model]:
        """Replace models."""
        return await self._ask(api.replace_models(models))

    async def set_active_models(self, previews: Sequence[ModelPreview]) -> Sequence[ModelPreview]:
        """Make these versions the ones that their names mean."""
        return await self._ask(api.set_active_models(previews))

    async def delete_models(self, constraints: QueryConstraints) -> int:
        """Delete the models that the constraints keep, and return how many were."""
        return await self._ask(api.delete_models(constraints))


class ModelBases(Service):
    """Models over all their versions."""

    async def get_model_bases(self, constraints: QueryConstraints | None = None) -> Mapping[str, ModelBase]:
        """Return them by their ids: those that the constraints keep, or all."""
        return await self._ask(api.get_model_bases(constraints))


class Invocations(Service):
    """Runs of models."""

    async def create_invocations_by_model_names(self, counts: Mapping[str, int]) -> Sequence[Invocation]:
        """Make so many invocations for each model's name."""
        return await self._ask(api.create_invocations_by_name(counts))

    async def create_invocations(self, invocations: Sequence[Invocation]) -> Sequence[Invocation]:
        """Make invocations and return them with their ids."""
        return await self._ask(api.create_invocations(invocations))

    async def get_invocations(self, constraints: QueryConstraints | None = None) -> Mapping[str, Invocation]:
        """Return invocations by their ids: those that the constraints keep, or all."""
        return await self._ask(api.get_invocations(constraints))

    async def get_invocation_history(
        self, constraints: QueryConstraints | None = None
    ) -> Mapping[str, InvocationHistory]:
        """Return what the history keeps of invocations, by their ids."""
        return await self._ask(api.get_invocation_history(constraints))


class Notifications(Service):
    """What the service has to say."""

    async def get_notifications(self, constraints: QueryConstraints | None = None) -> Sequence[Notification]:
        """Return notifications: those that the constraints keep, or all."""
        return await self._ask(api.get_notifications(constraints))


class StatusFlags(Service):
    """How far the steps of models, assets, invocations, inputs and outputs are."""

    async def get_status_flags(self, constraints: QueryConstraints | None = None) -> Mapping[str, Sequence[StatusFlag]]:
        """Return flags by the ids of their entities: those that the constraints keep, or all."""
        return await self._ask(api.get_flags(constraints))


class Persist(Service):
    """What the service keeps."""

    @property
    def models(self) -> Models:
        """Versions of models."""
        return Models(self._session)

    @property
    def model_bases(self) -> ModelBases:
        """Models over all their versions."""
        return ModelBases(self._session)

    @property
    def invocations(self) -> Invocations:
        """Runs of models."""
        return Invocations(self._session)

    @property
    def notifications(self) -> Notifications:
        """What the service has to say."""
        return Notifications(self._session)

    @property
    def status_flags(self) -> StatusFlags:
        """How far everything is."""
        return StatusFlags(self._session)
