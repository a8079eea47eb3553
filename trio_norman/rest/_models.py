"""What the training service answers with, as frozen objects.

Unknown fields are kept in `extra`, unknown words of an enumeration as text, and every time remembers how it was
written. Only what identifies a thing is required: the service's own examples leave other fields out.

Source: wire/pytrio, sections 1.3 and 1.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import attrs

from .._sansio.redaction import Secret
from .._sansio.times import Timestamp


class CheckpointType(StrEnum):
    """What a checkpoint can be used for; a word that is not listed here arrives as plain text."""

    SAMPLER = "sampler"
    TRAINING = "training"


@attrs.frozen
class Model:
    """Base of every answer; `extra` holds the fields that this version does not know."""

    extra: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True, hash=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the object as the service wrote it: its field names, its spelling of times, unknown fields too.

        Fields that it left out are there, with their defaults; secrets stay ``<redacted>``.
        """
        from ._converter import to_wire  # the converter reads this module's classes

        return to_wire(self)


@attrs.frozen
class UserInfo(Model):
    """The account that a key belongs to."""

    username: str
    user_id: str
    api_key: Secret
    created_at: Timestamp | None = None


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
    """A checkpoint. `training_run_id` is filled in where it was listed by run: the service does not send it."""

    checkpoint_id: str
    checkpoint_type: CheckpointType | str | None = None
    time: Timestamp | None = None
    path: str | None = None
    size_bytes: int | None = None
    training_run_id: str | None = None


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


@attrs.frozen
class Session(Model):
    """The runs and samplers of one session."""

    training_run_ids: Sequence[str] = ()
    sampler_ids: Sequence[str] = ()


@attrs.frozen
class SessionsPage(Model):
    """One page of session ids. The service tells no totals; a short page is the last one."""

    sessions: Sequence[str]
    total: int | None = None
    limit: int | None = None
    offset: int | None = None
    has_more: bool | None = None


@attrs.frozen
class Sampler(Model):
    """A sampler, and the checkpoint that it serves."""

    sampler_id: str
    base_model: str | None = None
    model_path: str | None = None


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
