"""The `openapi/v1` API, as plain descriptions: what to ask, and what comes back. No I/O.

Paths are relative to the service root.

Source: wire/pytrio, sections 2.1 to 2.7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

import attrs

from .._sansio.routes import segment
from ..errors import ConfigurationError
from ._archives import problems_of
from ._calls import AccessScope, Call, Dialect, Listing, opaque_path, window
from ._converter import Spelling
from ._models import (
    ArchiveUrl,
    Checkpoint,
    CheckpointInfo,
    CheckpointsPage,
    CheckpointType,
    LoraConfig,
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

NAME = "v1"
SENDS_BEARER = True
_ROOT = "api/openapi/v1"
_LANES = 4  # pages of one list that are fetched at once
_SAMPLE = "SAMPLE"  # the classic word for the type of a weight
_OF_A_THING = {"session_id": "service_session_cuid", "workspace_id": "workspace_cuid"}
#: Fields whose name on the wire differs from the classic one.
SPELLING = Spelling(
    {
        UserInfo: {
            "user_id": "user_cuid",
            "key_id": "api_key_tid",
            "key_name": "api_key_name",
            "workspace_id": "workspace_cuid",
        },
        TrainingRun: {
            "training_run_id": "training_run_cuid",
            "model_spec_id": "model_spec_cuid",
            "source_path": "source_checkpoint_uri",
            **_OF_A_THING,
        },
        Checkpoint: {
            "checkpoint_id": "checkpoint_cuid",
            "training_run_id": "training_run_cuid",
            "time": "created_at",
            "path": "checkpoint_uri",
            "storage_path": "path",
            "expires_at": "expired_at",
            "model_spec_id": "model_spec_cuid",
            "workspace_id": "workspace_cuid",
        },
        ArchiveUrl: {"expires": "expires_at"},
        Session: {
            "training_run_ids": "training_run_cuids",
            "sampler_ids": "sampling_run_cuids",
            **_OF_A_THING,
        },
        Sampler: {"sampler_id": "sampling_run_cuid", "model_path": "source_checkpoint_uri", **_OF_A_THING},
    },
    is_time_a_number=True,
)


@attrs.frozen
class _Cursor(Model):
    """Where a page stands: `limit` is what the service applied, `total` is its word, not a promise."""

    offset: int
    limit: int
    total: int


@attrs.frozen
class _Runs(Model):
    training_runs: Sequence[TrainingRun]
    cursor: _Cursor


@attrs.frozen
class _Checkpoints(Model):
    checkpoints: Sequence[Checkpoint]
    cursor: _Cursor


@attrs.frozen
class _Sessions(Model):
    service_sessions: Sequence[Session]
    cursor: _Cursor


@attrs.frozen
class _Models(Model):
    items: Sequence[SupportedModel]
    total: int
    limit: int
    offset: int


@attrs.frozen
class _Resuming(Model):
    base_model: str
    lora_rank: int
    train_mlp: bool
    train_attn: bool
    train_unembed: bool
    seed: int | None = None


def who_am_i() -> Call[UserInfo]:
    """Describe the question whose key this is."""
    return Call(f"{_ROOT}/api-key/verify", UserInfo)


def models() -> Listing[ModelsPage, SupportedModel]:
    """Describe the list of base models."""

    def finish(found: _Models) -> ModelsPage:
        told = _told(_Cursor(found.offset, found.limit, found.total), len(found.items))
        return ModelsPage(found.items, **told, extra=found.extra)

    return Listing(
        lambda limit, offset: Call("api/models", _Models, window(limit, offset), finish),
        lambda page: page.models,
        lambda model: model.model_id,
        lanes=_LANES,
    )


def weights(user_id: str) -> Listing[Any, Weight]:
    """Describe the list of weights: this dialect lists all checkpoints, and those for sampling are chosen here."""
    del user_id  # the key says whose they are
    return Listing(
        user_checkpoints().page,
        lambda page: [_weight(each) for each in page.checkpoints],
        lambda weight: weight.cuid,
        lanes=_LANES,
        is_wanted=lambda weight: weight.type == _SAMPLE,
    )


def weight_archive(user_id: str, checkpoint_id: str) -> Call[ArchiveUrl]:
    """Describe where a weight's archive is."""
    del user_id
    return checkpoint_archive("-", checkpoint_id)


def training_run(training_run_id: str, scope: AccessScope | None) -> Call[TrainingRun]:
    """Describe one training run."""
    path = f"{_ROOT}/training-runs/{segment(training_run_id, what='training_run_id')}"
    return Call(path, TrainingRun, _scoped(scope), _ranked)


def training_runs(scope: AccessScope | None) -> Listing[TrainingRunsPage, TrainingRun]:
    """Describe the list of training runs."""
    scoped = _scoped(scope)

    def finish(found: _Runs) -> TrainingRunsPage:
        runs = tuple(map(_ranked, found.training_runs))
        return TrainingRunsPage(runs, **_told(found.cursor, len(runs)), extra=found.extra)

    return Listing(
        lambda limit, offset: Call(f"{_ROOT}/training-runs", _Runs, {**window(limit, offset), **scoped}, finish),
        lambda page: page.training_runs,
        lambda run: run.training_run_id,
        lanes=_LANES,
    )


def checkpoints(training_run_id: str) -> Listing[Any, Checkpoint]:
    """Describe the list of a run's checkpoints."""
    run = segment(training_run_id, what="training_run_id")
    return _checkpoints_at(f"{_ROOT}/training-runs/{run}/checkpoints")


def user_checkpoints() -> Listing[CheckpointsPage, Checkpoint]:
    """Describe the list of the workspace's checkpoints."""
    return _checkpoints_at(f"{_ROOT}/checkpoints")


def checkpoint_archive(training_run_id: str, checkpoint_id: str) -> Call[ArchiveUrl]:
    """Describe where a checkpoint's archive is; the run is only looked at."""
    return Call(f"{checkpoint_path(training_run_id, checkpoint_id)}/download-url", ArchiveUrl, finish=_sound)


def checkpoint_path(training_run_id: str, checkpoint_id: str) -> str:
    """Return the path of one checkpoint, which is what DELETE removes; the run is only looked at."""
    segment(training_run_id, what="training_run_id")
    return f"{_ROOT}/checkpoints/{segment(checkpoint_id, what='checkpoint_id')}"


def session(session_id: str, scope: AccessScope | None) -> Call[Session]:
    """Describe one session."""
    path = f"{_ROOT}/service-sessions/{segment(session_id, what='session_id')}"
    return Call(path, Session, _scoped(scope))


def sessions(scope: AccessScope | None) -> Listing[SessionsPage, str]:
    """Describe the list of sessions."""
    scoped = _scoped(scope)

    def finish(found: _Sessions) -> SessionsPage:
        details = found.service_sessions
        ids = tuple(each.session_id for each in details if each.session_id)
        if len(ids) < len(details):
            raise ValueError("a session without a name @ $.service_sessions")
        return SessionsPage(ids, **_told(found.cursor, len(ids)), details=details, extra=found.extra)

    return Listing(
        lambda limit, offset: Call(f"{_ROOT}/service-sessions", _Sessions, {**window(limit, offset), **scoped}, finish),
        lambda page: page.sessions,
        str,
        lanes=_LANES,
    )


def sampler(sampler_id: str) -> Call[Sampler]:
    """Describe one sampling run."""
    return Call(f"{_ROOT}/sampling-runs/{segment(sampler_id, what='sampler_id')}", Sampler)


def checkpoint_info(path: str) -> Call[CheckpointInfo]:
    """Describe what is needed to go on from a checkpoint: its run, found by the checkpoint's URI."""
    query = {"checkpoint_uri": opaque_path(path)}
    return Call(f"{_ROOT}/training-runs/by-checkpoint-uri", _Resuming, query, _info)


def _checkpoints_at(path: str) -> Listing[CheckpointsPage, Checkpoint]:
    def finish(found: _Checkpoints) -> CheckpointsPage:
        held = tuple(map(_typed, found.checkpoints))
        return CheckpointsPage(held, **_told(found.cursor, len(held)), extra=found.extra)

    return Listing(
        lambda limit, offset: Call(path, _Checkpoints, window(limit, offset), finish),
        lambda page: page.checkpoints,
        lambda checkpoint: checkpoint.checkpoint_id,
        lanes=_LANES,
    )


def _sound(archive: ArchiveUrl) -> ArchiveUrl:
    problems = problems_of(archive)
    if problems:
        raise ValueError(*problems)
    return archive


def _told(cursor: _Cursor, count: int) -> dict[str, Any]:
    """Return what a page of `count` items tells of itself."""
    has_more = cursor.offset + count < cursor.total
    return {"total": cursor.total, "limit": cursor.limit, "offset": cursor.offset, "has_more": has_more}


def _scoped(scope: AccessScope | None) -> Mapping[str, str]:
    if scope is None:
        return {}
    if scope not in get_args(AccessScope):
        raise ConfigurationError("access_scope is unknown", f"it is one of {', '.join(get_args(AccessScope))}")
    return {"access_scope": scope}


def _ranked(run: TrainingRun) -> TrainingRun:
    """Return a run without a rank where it has none: the wire has 0 there."""
    return run if run.is_lora and run.lora_rank else attrs.evolve(run, lora_rank=None)


def _typed(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint with its type in the classic spelling; an unknown word stays as it is."""
    word = checkpoint.checkpoint_type
    known = next((kind for kind in CheckpointType if kind.value.upper() == word), word)
    return attrs.evolve(checkpoint, checkpoint_type=known)


def _weight(checkpoint: Checkpoint) -> Weight:
    kind = checkpoint.checkpoint_type
    return Weight(
        checkpoint.checkpoint_id,
        checkpoint.path,
        type=_SAMPLE if kind == CheckpointType.SAMPLER else kind,
        status=checkpoint.status,
        task_id=checkpoint.training_run_id,
        created_at=checkpoint.time,
        name=checkpoint.name,
        size_bytes=checkpoint.size_bytes,
        extra=checkpoint.extra,
    )


def _info(found: _Resuming) -> CheckpointInfo:
    lora = LoraConfig(found.lora_rank, found.seed, found.train_mlp, found.train_attn, found.train_unembed)
    return CheckpointInfo(found.base_model, lora if found.lora_rank > 0 else None, extra=found.extra)


if TYPE_CHECKING:
    from . import _v1

    _: Dialect = _v1
