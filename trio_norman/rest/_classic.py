"""The classic API, as plain descriptions: what to ask, and what comes back. No I/O.

Paths are relative to the service root. Those of the second group really begin with ``api/api/``: the service serves
them below its prefix, and they carry the prefix themselves.

Source: wire/pytrio, sections 1.1, 1.3 and 1.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from .._sansio.paging import PageFacts
from .._sansio.routes import bounded, segment
from ..errors import UnsupportedError
from ._calls import AccessScope, Call, Dialect, Listing, opaque_path, window
from ._converter import Spelling
from ._models import (
    ArchiveUrl,
    Checkpoint,
    CheckpointInfo,
    CheckpointList,
    CheckpointsPage,
    ModelsPage,
    Sampler,
    Session,
    SessionsPage,
    SupportedModel,
    TrainingRun,
    TrainingRunsPage,
    UserInfo,
    Weight,
    WeightsPage,
)

NAME = "classic"
SENDS_BEARER = False
#: Fields whose name on the wire differs. Source: wire/pytrio, sections 1.3 and 1.4.
SPELLING = Spelling(
    {
        UserInfo: {"user_id": "cuid", "created_at": "createdAt"},
        Weight: {
            "user_id": "userId",
            "task_id": "taskId",
            "run_id": "runId",
            "runner_id": "runnerId",
            "created_at": "createdAt",
            "updated_at": "updatedAt",
        },
    }
)


def who_am_i() -> Call[UserInfo]:
    """Describe the question whose key this is."""
    return Call("api/user/me", UserInfo)


def models() -> Listing[ModelsPage, SupportedModel]:
    """Describe the list of base models: the service gives their names, all at once."""

    def page(limit: int, offset: int) -> Call[ModelsPage]:
        window(limit, offset)  # refuses what no page has
        return Call("api/runner/models", Sequence[str], finish=lambda names: _cut(names, limit, offset))

    return Listing(page, lambda found: found.models, lambda model: model.model_id)


def weights(user_id: str) -> Listing[WeightsPage, Weight]:
    """Describe the list of weights; pages count from 1."""

    def page(page_size: int, number: int) -> Call[WeightsPage]:
        query = {
            "page": bounded(number, at_least=1, what="page"),
            "page_size": bounded(page_size, at_least=1, what="page_size"),
        }
        return Call(f"api/user/{segment(user_id, what='user_id')}/weights", WeightsPage, query)

    return Listing(page, lambda found: found.data, lambda weight: weight.cuid, _weights_facts, first=1)


def weight_archive(user_id: str, checkpoint_id: str) -> Call[ArchiveUrl]:
    """Describe the signed URL of a weight's archive."""
    user, weight = segment(user_id, what="user_id"), segment(checkpoint_id, what="checkpoint_id")
    return Call(f"api/user/{user}/archive_url/{weight}", ArchiveUrl)


def training_run(training_run_id: str, scope: AccessScope | None) -> Call[TrainingRun]:
    """Describe one training run."""
    _unscoped(scope)
    return Call(_run_path(training_run_id), TrainingRun)


def training_runs(scope: AccessScope | None) -> Listing[TrainingRunsPage, TrainingRun]:
    """Describe the list of training runs."""
    _unscoped(scope)
    return Listing(
        lambda limit, offset: Call("api/api/runs", TrainingRunsPage, window(limit, offset)),
        lambda page: page.training_runs,
        lambda run: run.training_run_id,
    )


def checkpoints(training_run_id: str) -> Listing[CheckpointList, Checkpoint]:
    """Describe the checkpoints of a run, which come all at once; the run's id is written into them."""
    path = f"{_run_path(training_run_id)}/checkpoints"

    def of_run(found: CheckpointList) -> CheckpointList:
        named = [attrs.evolve(each, training_run_id=training_run_id) for each in found.checkpoints]
        return attrs.evolve(found, checkpoints=tuple(named))

    return Listing(
        lambda limit, offset: Call(path, CheckpointList, finish=of_run),
        lambda found: found.checkpoints,
        lambda checkpoint: checkpoint.checkpoint_id,
        lambda _, keys: PageFacts(keys, has_more=False),
        is_whole=True,
    )


def checkpoint_archive(training_run_id: str, checkpoint_id: str) -> Call[ArchiveUrl]:
    """Describe the signed URL of a checkpoint's archive."""
    return Call(f"{checkpoint_path(training_run_id, checkpoint_id)}/archive", ArchiveUrl)


def checkpoint_path(training_run_id: str, checkpoint_id: str) -> str:
    """Return the path of one checkpoint, which is what DELETE removes."""
    return f"{_run_path(training_run_id)}/checkpoints/{segment(checkpoint_id, what='checkpoint_id')}"


def user_checkpoints() -> Listing[CheckpointsPage, Checkpoint]:
    """Describe the list of the account's checkpoints."""
    return Listing(
        lambda limit, offset: Call("api/api/user/checkpoints", CheckpointsPage, window(limit, offset)),
        lambda page: page.checkpoints,
        lambda checkpoint: checkpoint.checkpoint_id,
    )


def session(session_id: str, scope: AccessScope | None) -> Call[Session]:
    """Describe one session."""
    _unscoped(scope)
    return Call(f"api/api/sessions/{segment(session_id, what='session_id')}", Session)


def sessions(scope: AccessScope | None) -> Listing[SessionsPage, str]:
    """Describe the list of sessions."""
    _unscoped(scope)
    return Listing(
        lambda limit, offset: Call("api/api/sessions", SessionsPage, window(limit, offset)),
        lambda page: page.sessions,
        str,
    )


def sampler(sampler_id: str) -> Call[Sampler]:
    """Describe one sampler."""
    return Call(f"api/api/samplers/{segment(sampler_id, what='sampler_id')}", Sampler)


def checkpoint_info(path: str) -> Call[CheckpointInfo]:
    """Describe what is needed to go on from a checkpoint; its path is opaque."""
    return Call("api/checkpoints/info", CheckpointInfo, {"path": opaque_path(path)})


def _unscoped(scope: AccessScope | None) -> None:
    if scope is not None:
        raise UnsupportedError("access_scope", NAME)


def _cut(names: Sequence[str], limit: int, offset: int) -> ModelsPage:
    found = [SupportedModel(name) for name in names[offset : offset + limit]]
    return ModelsPage(tuple(found), len(names), limit, offset, offset + limit < len(names))


def _weights_facts(page: WeightsPage, keys: Sequence[str]) -> PageFacts:
    told = page.pagination
    return PageFacts(keys, told.has_next, told.total, told.page_size, told.page)


def _run_path(training_run_id: str) -> str:
    return f"api/api/runs/{segment(training_run_id, what='training_run_id')}"


if TYPE_CHECKING:
    from . import _classic

    _: Dialect = _classic
