"""What the training service answers with, as frozen objects: the same ones whichever dialect it speaks.

Unknown fields are kept in `extra`, unknown words of an enumeration as text, and every time remembers how it was
written. Only what identifies a thing is required: the service's own examples leave other fields out. Fields that only
the `openapi/v1` dialect knows are None in the classic one, and `to_dict` leaves them out there.

Source: wire/pytrio, sections 1.3, 1.4 and 2.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import attrs

from .._sansio.redaction import Secret
from .._sansio.times import Timestamp
from .._sansio.wiremodels import LATER

_LENGTH = attrs.validators.optional(attrs.validators.ge(0))


def _later(default: Any = None, validator: Any = None) -> Any:
    """Make a field that the classic dialect does not know."""
    return attrs.field(default=default, validator=validator, kw_only=True, hash=False, metadata={LATER: True})


class CheckpointType(StrEnum):
    """What a checkpoint can be used for; a word that is not listed here arrives as plain text."""

    SAMPLER = "sampler"
    TRAINING = "training"


@attrs.frozen
class Model:
    """Base of every answer; `extra` holds the fields that this version does not know."""

    extra: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True, hash=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the object in the service's classic field names, its spelling of times, and unknown fields too.

        Fields that it left out are there, with their defaults; secrets stay ``<redacted>``.
        """
        from ._classic import SPELLING  # which reads this module's classes

        return SPELLING.write(self)


@attrs.frozen
class UserInfo(Model):
    """The account that a key belongs to, and in the later dialect the key and the workspace it is good for."""

    username: str
    user_id: str
    api_key: Secret
    created_at: Timestamp | None = None
    display_name: str | None = _later()
    key_id: str | None = _later()
    key_name: str | None = _later()
    expires_at: Timestamp | None = _later()  # of the key; None for one without an end
    workspace_id: str | None = _later()
    workspace_name: str | None = _later()
    workspace_type: str | None = _later()


@attrs.frozen
class SupportedModel(Model):
    """A base model that can be trained or sampled. The classic dialect knows its `model_id` alone.

    `trainer` and `sampler` hold limits: ``max_batch_size``, ``max_tokens_per_request``, ``max_seq_len``.
    """

    model_id: str
    cuid: str | None = _later()
    alias: str | None = _later()
    train_available: bool | None = _later()
    sample_available: bool | None = _later()
    trainer: Mapping[str, Any] | None = _later()
    sampler: Mapping[str, Any] | None = _later()
    display_name: str | None = _later()
    description: str | None = _later()
    context_length: int | None = _later()
    created_at: Timestamp | None = _later()
    updated_at: Timestamp | None = _later()


@attrs.frozen
class ModelsPage(Model):
    """One page of base models; without `total` it is all there are."""

    models: Sequence[SupportedModel]
    total: int | None = None
    limit: int | None = None
    offset: int | None = None
    has_more: bool | None = None


@attrs.frozen
class Weight(Model):
    """One entry of the account's weights; `cuid` is what `get_archive_url` wants."""

    cuid: str
    path: str | None = None
    id: int | None = None
    type: str | None = None
    status: str | None = None
    user_id: str | None = None
    task_id: str | None = None
    run_id: str | None = None
    runner_id: str | None = None
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    name: str | None = _later()
    size_bytes: int | None = _later(validator=_LENGTH)


@attrs.frozen
class Pagination(Model):
    """Where a page of weights stands; pages count from 1. `total` is the service's word, not a promise."""

    page: int | None = None
    page_size: int | None = None
    total: int | None = None
    total_pages: int | None = None
    has_next: bool | None = None
    has_prev: bool | None = None


@attrs.frozen
class WeightsPage(Model):
    """One page of weights."""

    data: Sequence[Weight]
    pagination: Pagination = attrs.field(factory=Pagination)


@attrs.frozen
class TrainingRun(Model):
    """A training run."""

    training_run_id: str
    base_model: str | None = None
    is_lora: bool | None = None
    lora_rank: int | None = None
    name: str | None = _later()
    status: str | None = _later()
    run_index: int | None = _later()
    session_id: str | None = _later()
    workspace_id: str | None = _later()
    model_spec_id: str | None = _later()
    source_path: str | None = _later()  # of the checkpoint that it began with
    restore_optimizer: bool | None = _later()
    train_mlp: bool | None = _later()
    train_attn: bool | None = _later()
    train_unembed: bool | None = _later()
    seed: int | None = _later()
    corrupted: bool | None = _later()
    corrupted_reason: str | None = _later()
    created_at: Timestamp | None = _later()
    updated_at: Timestamp | None = _later()
    started_at: Timestamp | None = _later()
    ended_at: Timestamp | None = _later()
    training_params: Mapping[str, Any] | None = _later()
    user_metadata: Mapping[str, Any] | None = _later()


@attrs.frozen
class TrainingRunsPage(Model):
    """One page of training runs; `limit` and `offset` are what the service applied."""

    training_runs: Sequence[TrainingRun]
    total: int | None = None
    limit: int | None = None
    offset: int | None = None
    has_more: bool | None = None


@attrs.frozen
class Checkpoint(Model):
    """A checkpoint. In the classic dialect `training_run_id` is only known where it was listed by run.

    `path` is what `get_checkpoint_info` takes: in the later dialect a ``trio://`` URI. Treat it as opaque.
    """

    checkpoint_id: str
    checkpoint_type: CheckpointType | str | None = None
    time: Timestamp | None = None
    path: str | None = None
    size_bytes: int | None = attrs.field(default=None, validator=_LENGTH)
    training_run_id: str | None = None
    name: str | None = _later()
    status: str | None = _later()
    step: int | None = _later()
    is_uploaded: bool | None = _later()
    uploaded_at: Timestamp | None = _later()
    expires_at: Timestamp | None = _later()
    base_model: str | None = _later()
    lora_rank: int | None = _later()
    model: str | None = _later()
    model_spec_id: str | None = _later()
    workspace_id: str | None = _later()
    task_id: str | None = _later()
    task_name: str | None = _later()
    task_status: str | None = _later()
    task_created_at: Timestamp | None = _later()
    storage_path: str | None = _later()


@attrs.frozen
class CheckpointList(Model):
    """All checkpoints of one run."""

    checkpoints: Sequence[Checkpoint]


@attrs.frozen
class CheckpointsPage(Model):
    """One page of the account's checkpoints; `limit` and `offset` are what the service applied."""

    checkpoints: Sequence[Checkpoint]
    total: int | None = None
    limit: int | None = None
    offset: int | None = None
    has_more: bool | None = None


@attrs.frozen
class ArchiveUrl(Model):
    """A signed URL of an archive. It is a credential: it prints as ``<redacted>``; `url.reveal()` gives it."""

    url: Secret
    expires: Timestamp | None = None
    source: str | None = _later()  # "object_storage" or "actor"
    checkpoint_status: str | None = _later()  # "LOCAL", "SYNCING" or "READY"
    tls_cert_pem: str | None = attrs.field(default=None, kw_only=True, repr=False, metadata={LATER: True})
    tls_not_after: Timestamp | None = _later()


@attrs.frozen
class Session(Model):
    """The runs and samplers of one session."""

    training_run_ids: Sequence[str] = ()
    sampler_ids: Sequence[str] = ()
    session_id: str | None = _later()
    workspace_id: str | None = _later()
    status: str | None = _later()
    sdk_version: str | None = _later()
    created_at: Timestamp | None = _later()
    updated_at: Timestamp | None = _later()


@attrs.frozen
class SessionsPage(Model):
    """One page of session ids. The classic dialect tells no totals: there a short page is the last one.

    `details` has what the later dialect tells of each session, in the same order; not their runs and samplers.
    """

    sessions: Sequence[str]
    total: int | None = None
    limit: int | None = None
    offset: int | None = None
    has_more: bool | None = None
    details: Sequence[Session] | None = _later()


@attrs.frozen
class Sampler(Model):
    """A sampler, and the checkpoint that it serves."""

    sampler_id: str
    base_model: str | None = None
    model_path: str | None = None
    model_id: str | None = _later()
    alias: str | None = _later()
    session_id: str | None = _later()
    workspace_id: str | None = _later()
    status: str | None = _later()
    created_at: Timestamp | None = _later()
    updated_at: Timestamp | None = _later()


@attrs.frozen
class LoraConfig(Model):
    """How a LoRA was trained; the defaults are those that the service's own client assumes."""

    rank: int = 32
    seed: int | None = None
    train_mlp: bool = True
    train_attn: bool = True
    train_unembed: bool = False
    trainable_token_indices: Any = attrs.field(default=None, hash=False)


@attrs.frozen
class CheckpointInfo(Model):
    """What is needed to go on from a checkpoint."""

    model: str
    lora: LoraConfig | None = None
