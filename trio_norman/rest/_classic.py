"""The classic API, as plain descriptions: what to ask, and what comes back. No I/O.

Paths are relative to the service root. Those of the second group really begin with ``api/api/``: the service serves
them below its prefix, and they carry the prefix themselves.

Source: wire/pytrio, sections 1.1, 1.3 and 1.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

import attrs

from .._sansio.paging import PageFacts
from .._sansio.routes import bounded, segment
from ..errors import ConfigurationError
from ._models import (
    ArchiveUrl,
    CheckpointInfo,
    CheckpointList,
    CheckpointsPage,
    Model,
    Sampler,
    Session,
    SessionsPage,
    TrainingRun,
    TrainingRunsPage,
    WeightsPage,
)

KEY_HEADER = "X-API-KEY"
M = TypeVar("M", bound=Model)


@attrs.frozen
class Call(Generic[M]):
    """One request and the kind of its answer."""

    path: str
    kind: type[M]
    query: Mapping[str, str | int] = attrs.field(factory=dict)


USER = "api/user/me"


def weights(user_id: str, *, page: int, page_size: int) -> Call[WeightsPage]:
    """Describe one page of weights; pages count from 1."""
    query = {
        "page": bounded(page, at_least=1, what="page"),
        "page_size": bounded(page_size, at_least=1, what="page_size"),
    }
    return Call(f"api/user/{segment(user_id, what='user_id')}/weights", WeightsPage, query)


def weight_archive(user_id: str, checkpoint_id: str) -> Call[ArchiveUrl]:
    """Describe the signed URL of a weight's archive."""
    user, weight = segment(user_id, what="user_id"), segment(checkpoint_id, what="checkpoint_id")
    return Call(f"api/user/{user}/archive_url/{weight}", ArchiveUrl)


def training_run(training_run_id: str) -> Call[TrainingRun]:
    """Describe one training run."""
    return Call(_run_path(training_run_id), TrainingRun)


def training_runs(*, limit: int, offset: int) -> Call[TrainingRunsPage]:
    """Describe one page of training runs."""
    return Call("api/api/runs", TrainingRunsPage, _window(limit, offset))


def checkpoints(training_run_id: str) -> Call[CheckpointList]:
    """Describe all checkpoints of a run."""
    return Call(f"{_run_path(training_run_id)}/checkpoints", CheckpointList)


def checkpoint_archive(training_run_id: str, checkpoint_id: str) -> Call[ArchiveUrl]:
    """Describe the signed URL of a checkpoint's archive."""
    return Call(f"{checkpoint_path(training_run_id, checkpoint_id)}/archive", ArchiveUrl)


def checkpoint_path(training_run_id: str, checkpoint_id: str) -> str:
    """Return the path of one checkpoint, which is what DELETE removes."""
    return f"{_run_path(training_run_id)}/checkpoints/{segment(checkpoint_id, what='checkpoint_id')}"


def user_checkpoints(*, limit: int, offset: int) -> Call[CheckpointsPage]:
    """Describe one page of the account's checkpoints."""
    return Call("api/api/user/checkpoints", CheckpointsPage, _window(limit, offset))


def session(session_id: str) -> Call[Session]:
    """Describe one session."""
    return Call(f"api/api/sessions/{segment(session_id, what='session_id')}", Session)


def sessions(*, limit: int, offset: int) -> Call[SessionsPage]:
    """Describe one page of sessions."""
    return Call("api/api/sessions", SessionsPage, _window(limit, offset))


def sampler(sampler_id: str) -> Call[Sampler]:
    """Describe one sampler."""
    return Call(f"api/api/samplers/{segment(sampler_id, what='sampler_id')}", Sampler)


def checkpoint_info(path: str) -> Call[CheckpointInfo]:
    """Describe what is needed to go on from a checkpoint; its path is opaque."""
    if not path.strip():
        raise ConfigurationError("path is empty", "pass a checkpoint's path")
    return Call("api/checkpoints/info", CheckpointInfo, {"path": path})


def weights_facts(page: WeightsPage) -> PageFacts:
    """Return what a page of weights says of itself."""
    told = page.pagination
    keys = [weight.cuid for weight in page.data]
    return PageFacts(keys, told.has_next, told.total, told.page_size, told.page)


def runs_facts(page: TrainingRunsPage) -> PageFacts:
    """Return what a page of training runs says of itself."""
    keys = [run.training_run_id for run in page.training_runs]
    return PageFacts(keys, page.has_more, page.total, page.limit, page.offset)


def checkpoint_list_facts(found: CheckpointList) -> PageFacts:
    """Return the facts of a list without pages: it is all there is."""
    return PageFacts([checkpoint.checkpoint_id for checkpoint in found.checkpoints], has_more=False)


def checkpoints_facts(page: CheckpointsPage) -> PageFacts:
    """Return what a page of checkpoints says of itself."""
    keys = [checkpoint.checkpoint_id for checkpoint in page.checkpoints]
    return PageFacts(keys, page.has_more, page.total, page.limit, page.offset)


def sessions_facts(page: SessionsPage) -> PageFacts:
    """Return what a page of sessions says of itself: often nothing but its length."""
    return PageFacts(page.sessions, page.has_more, page.total, page.limit, page.offset)


def _run_path(training_run_id: str) -> str:
    return f"api/api/runs/{segment(training_run_id, what='training_run_id')}"


def _window(limit: int, offset: int) -> dict[str, str | int]:
    return {"limit": bounded(limit, at_least=1, what="limit"), "offset": bounded(offset, at_least=0, what="offset")}
