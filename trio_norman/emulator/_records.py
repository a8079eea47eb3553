"""What the training service knows: runs, checkpoints, sessions, samplers."""

from __future__ import annotations

import re

import attrs

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
CHECKPOINT_KINDS = ("training", "sampler")


@attrs.frozen
class Checkpoint:
    """One saved state of a training run; a checkpoint of the kind ``sampler`` is listed as a weight too."""

    checkpoint_id: str
    training_run_id: str
    kind: str  # "training" or "sampler"; other values are sent as they are
    name: str
    user_id: str
    size_bytes: int
    created_at: float  # Unix seconds
    number: int  # position in its run, from 0
    version: int = 0  # another version has other bytes

    @property
    def path(self) -> str:
        """The checkpoint's path inside the service."""
        return f"{self.user_id}/{self.training_run_id}/weights/{self.name}"

    @property
    def object_key(self) -> str:
        """The key of its archive in the object storage; a name that no URL should hold is replaced in it."""
        name = self.name if _PLAIN_NAME.fullmatch(self.name) else self.checkpoint_id
        return f"models/{self.user_id}/{self.training_run_id}/weights/{name}.zip"


@attrs.frozen
class TrainingRun:
    """One training run."""

    training_run_id: str
    session_id: str
    base_model: str
    is_lora: bool = True
    lora_rank: int = 32
    lora_seed: int | None = None
    train_mlp: bool = True
    train_attn: bool = True
    train_unembed: bool = False


@attrs.frozen
class Sampler:
    """One sampler: a base model, or a base model with a checkpoint on top."""

    sampler_id: str
    base_model: str
    model_path: str | None


@attrs.frozen
class Session:
    """One connection of a client to the service, and what it made."""

    session_id: str
    training_run_ids: tuple[str, ...] = ()
    sampler_ids: tuple[str, ...] = ()
    status: str = "ACTIVE"
    sdk_version: str | None = None
    created_at: float | None = None  # Unix seconds; nothing: before the emulator started
    updated_at: float | None = None
