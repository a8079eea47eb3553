"""What the dialects of the service have in common: how a call and a list are described. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Literal, Protocol, TypeVar

import attrs

from .._sansio.paging import PageFacts, PageWalk
from .._sansio.routes import bounded
from ..errors import ConfigurationError
from ._converter import Spelling
from ._models import (
    ArchiveUrl,
    Checkpoint,
    CheckpointInfo,
    CheckpointsPage,
    Model,
    ModelsPage,
    Sampler,
    Session,
    SessionsPage,
    SupportedModel,
    TrainingRun,
    TrainingRunsPage,
    UserInfo,
    Weight,
)

M = TypeVar("M", bound=Model)
P = TypeVar("P", bound=Model)
T = TypeVar("T")

AccessScope = Literal["owned", "accessible"]


@attrs.frozen
class Call(Generic[M]):
    """One request, the kind of its answer, and how that becomes one of our objects (None: it is one).

    `finish` raises a `ValueError` for an answer that breaks a rule; each of its arguments reads ``what @ path``.
    """

    path: str
    kind: type[Any]
    query: Mapping[str, str | int] = attrs.field(factory=dict)
    finish: Callable[[Any], M] | None = None


@attrs.frozen
class Listing(Generic[P, T]):
    """A list of the service: how to ask for a page, and what a page holds.

    Args:
        page: Describes one page, from a limit and a position.
        items: Its items.
        key: What identifies an item.
        facts: What a page with these keys says of itself.
        first: Where the list begins: 0, or 1 where positions count pages.
        lanes: Pages that may be fetched at once, where the total tells where they begin.
        is_whole: Whether the service gives the list in one piece.
        is_wanted: Which items belong to the list, where the service does not choose them itself.
    """

    page: Callable[[int, int], Call[P]]
    items: Callable[[P], Sequence[T]]
    key: Callable[[T], str]
    facts: Callable[[P, Sequence[str]], PageFacts] = attrs.field(default=attrs.Factory(lambda: offset_facts))
    first: int = 0
    lanes: int = 1
    is_whole: bool = False
    is_wanted: Callable[[T], bool] | None = None

    def walk(self, limit: int, *, most_pages: int) -> PageWalk:
        """Return the way through the list, `limit` items a page, over `most_pages` pages at most."""
        return PageWalk(limit, self.first, numbered=self.first == 1, most_pages=most_pages, lanes=self.lanes)


def offset_facts(page: Any, keys: Sequence[str]) -> PageFacts:
    """Return what a page with an offset says of itself."""
    return PageFacts(keys, page.has_more, page.total, page.limit, page.offset)


class Dialect(Protocol):
    """What a dialect knows to say; the modules `_classic` and `_v1` are two of this kind.

    Each function describes one call or list, and raises `ConfigurationError` for what cannot be sent, and
    `UnsupportedError` for what this dialect cannot say.
    """

    @property
    def NAME(self) -> str:
        """What a user calls it: ``classic`` or ``v1``."""

    @property
    def SPELLING(self) -> Spelling:
        """How its JSON is read."""

    @property
    def SENDS_BEARER(self) -> bool:
        """Whether the key is sent as ``Authorization: Bearer`` as well."""

    def who_am_i(self) -> Call[UserInfo]:
        """Describe the question whose key this is; the key itself is put into the answer."""

    def models(self) -> Listing[ModelsPage, SupportedModel]:
        """Describe the list of base models."""

    def weights(self, user_id: str) -> Listing[Any, Weight]:
        """Describe the list of weights, which are the checkpoints for sampling."""

    def weight_archive(self, user_id: str, checkpoint_id: str) -> Call[ArchiveUrl]:
        """Describe where a weight's archive is."""

    def training_run(self, training_run_id: str, scope: AccessScope | None) -> Call[TrainingRun]:
        """Describe one training run."""

    def training_runs(self, scope: AccessScope | None) -> Listing[TrainingRunsPage, TrainingRun]:
        """Describe the list of training runs."""

    def checkpoints(self, training_run_id: str) -> Listing[Any, Checkpoint]:
        """Describe the list of a run's checkpoints."""

    def checkpoint_archive(self, training_run_id: str, checkpoint_id: str) -> Call[ArchiveUrl]:
        """Describe where a checkpoint's archive is."""

    def checkpoint_path(self, training_run_id: str, checkpoint_id: str) -> str:
        """Return the path of one checkpoint, which is what DELETE removes."""

    def user_checkpoints(self) -> Listing[CheckpointsPage, Checkpoint]:
        """Describe the list of all checkpoints."""

    def session(self, session_id: str, scope: AccessScope | None) -> Call[Session]:
        """Describe one session."""

    def sessions(self, scope: AccessScope | None) -> Listing[SessionsPage, str]:
        """Describe the list of sessions."""

    def sampler(self, sampler_id: str) -> Call[Sampler]:
        """Describe one sampler."""

    def checkpoint_info(self, path: str) -> Call[CheckpointInfo]:
        """Describe what is needed to go on from a checkpoint; its path is opaque."""


def window(limit: int, offset: int) -> dict[str, str | int]:
    """Return the query of a page by its limit and offset."""
    return {"limit": bounded(limit, at_least=1, what="limit"), "offset": bounded(offset, at_least=0, what="offset")}


def opaque_path(path: str) -> str:
    """Return a checkpoint's path as it is; an empty one is refused."""
    if not path.strip():
        raise ConfigurationError("path is empty", "pass a checkpoint's path")
    return path
