"""The lists of the service: a page as the service gives it, all pages as an iterator."""

from __future__ import annotations

from typing import Any

from .._sansio.routes import bounded
from ._calls import AccessScope, Listing
from ._models import (
    Checkpoint,
    CheckpointList,
    CheckpointsPage,
    ModelsPage,
    Pagination,
    SessionsPage,
    SupportedModel,
    TrainingRun,
    TrainingRunsPage,
    Weight,
    WeightsPage,
)
from ._opened import OpenedClient
from ._pages import PageIterator

_LARGEST_PAGE = 200  # checkpoints of a run that are asked for at once; more is cut down by the service


class Lists(OpenedClient):
    """The calls that return lists. `access_scope` is for services that speak `openapi/v1` alone.

    ``"owned"`` asks for what belongs to the key's workspace, ``"accessible"`` for everything that it may see; without
    it the service decides. In the classic dialect it raises `UnsupportedError`.
    """

    async def list_models(self, limit: int = 100, offset: int = 0) -> ModelsPage:
        """Return one page of the base models that can be trained or sampled."""
        return await self._get(self._api.models().page(limit, offset))

    def iter_models(self, limit: int = 100) -> PageIterator[SupportedModel]:
        """Iterate over all base models."""
        return self._iterate(self._api.models(), limit)

    async def list_weights(self, page: int = 1, page_size: int = 20) -> WeightsPage:
        """Return one page of the account's weights; `page` counts from 1, `page_size` is at least 1.

        Services that speak `openapi/v1` list all checkpoints: there they are gone through up to the page, and
        `pagination` tells no total. `iter_weights` goes through them once.
        """
        listing: Listing[Any, Weight] = self._api.weights(self.user_info.user_id)
        if listing.is_wanted is None:
            found: WeightsPage = await self._get(listing.page(page_size, page))
            return found
        return await self._chosen(listing, page, page_size)

    def iter_weights(self, page_size: int = 100) -> PageIterator[Weight]:
        """Iterate over all weights of the account."""
        return self._iterate(self._api.weights(self.user_info.user_id), page_size)

    async def list_training_runs(
        self, limit: int = 20, offset: int = 0, access_scope: AccessScope | None = None
    ) -> TrainingRunsPage:
        """Return one page of training runs: `limit` of them (at least 1), from the `offset`-th on (at least 0)."""
        return await self._get(self._api.training_runs(access_scope).page(limit, offset))

    def iter_training_runs(
        self, limit: int = 100, access_scope: AccessScope | None = None
    ) -> PageIterator[TrainingRun]:
        """Iterate over all training runs, `limit` a page."""
        return self._iterate(self._api.training_runs(access_scope), limit)

    async def list_checkpoints(self, training_run_id: str) -> CheckpointList:
        """Return all checkpoints of a run, over all pages where the service pages them."""
        listing = self._api.checkpoints(training_run_id)
        if listing.is_whole:
            found: CheckpointList = await self._get(listing.page(_LARGEST_PAGE, 0))
            return found
        return CheckpointList(tuple([each async for each in self._iterate(listing, _LARGEST_PAGE)]))

    def iter_checkpoints(self, training_run_id: str) -> PageIterator[Checkpoint]:
        """Iterate over the checkpoints of a run."""
        return self._iterate(self._api.checkpoints(training_run_id), _LARGEST_PAGE)

    async def list_user_checkpoints(self, limit: int = 100, offset: int = 0) -> CheckpointsPage:
        """Return one page of the account's checkpoints, over all runs."""
        return await self._get(self._api.user_checkpoints().page(limit, offset))

    def iter_user_checkpoints(self, limit: int = 100) -> PageIterator[Checkpoint]:
        """Iterate over all checkpoints of the account, `limit` a page."""
        return self._iterate(self._api.user_checkpoints(), limit)

    async def list_sessions(
        self, limit: int = 20, offset: int = 0, access_scope: AccessScope | None = None
    ) -> SessionsPage:
        """Return one page of session ids."""
        return await self._get(self._api.sessions(access_scope).page(limit, offset))

    def iter_sessions(self, limit: int = 20, access_scope: AccessScope | None = None) -> PageIterator[str]:
        """Iterate over all session ids, `limit` a page.

        The classic dialect does not tell which limit was applied, so there a page that is shorter than `limit` is
        taken for the last one: ask for no more than the service surely gives.
        """
        return self._iterate(self._api.sessions(access_scope), limit)

    async def _chosen(self, listing: Listing[Any, Weight], page: int, page_size: int) -> WeightsPage:
        """Return the page that the weights would make if the service listed nothing else."""
        first = (bounded(page, at_least=1, what="page") - 1) * bounded(page_size, at_least=1, what="page_size")
        at, held = 0, []
        async for weight in self._iterate(listing, _LARGEST_PAGE):
            if at >= first:
                held.append(weight)
            at += 1
            if len(held) > page_size:
                break
        told = Pagination(page, page_size, has_next=len(held) > page_size, has_prev=page > 1)
        return WeightsPage(tuple(held[:page_size]), told)
