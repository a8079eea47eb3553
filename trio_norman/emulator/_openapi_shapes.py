"""The JSON of the service's `openapi/v1` API, from the state.

Source: the shapes that the service's own client, version 0.2.9, was seen to accept.
"""

from __future__ import annotations

from collections.abc import Mapping

from ._clock import iso_date
from ._paging import Page
from ._records import Checkpoint, Sampler, Session, TrainingRun
from ._state import ServiceState

_DAY = 86400.0
_LIMITS = {"max_batch_size": 256, "max_tokens_per_request": 65536, "max_seq_len": 32768}
_FOLDERS = {"sampler": "sampler_weights", "training": "training_state"}

Shape = dict[str, object]


def cursor_of(page: Page[object]) -> Shape:
    """Write where a page stands."""
    return {"offset": page.offset, "limit": page.limit, "total": page.total}


def key_shape(state: ServiceState) -> Shape:
    """Write whose key it is."""
    return {
        "api_key_tid": "key-1",
        "api_key_name": "laptop",
        "user_cuid": state.user_id,
        "username": state.username,
        "display_name": None,
        "workspace_cuid": state.workspace_id,
        "workspace_name": "Analytical Engines",
        "workspace_type": "PERSONAL",
        "expires_at": iso_date(state.epoch + 90 * _DAY),
    }


def model_shape(state: ServiceState, name: str) -> Shape:
    """Write a base model."""
    moment = iso_date(state.created_at)
    return {
        "cuid": f"model-{name.rpartition('/')[2].lower()}",
        "alias": name.rpartition("/")[2],
        "model_id": name,
        "train_available": True,
        "sample_available": True,
        "trainer": _LIMITS,
        "sampler": {**_LIMITS, "max_batch_size": None},
        "created_at": moment,
        "updated_at": moment,
        "context_length": 32768,
    }


def run_shape(state: ServiceState, run: TrainingRun) -> Shape:
    """Write a training run."""
    trained = {"train_mlp": run.train_mlp, "train_attn": run.train_attn, "train_unembed": run.train_unembed}
    rank = run.lora_rank if run.is_lora else 0
    return {
        "training_run_cuid": run.training_run_id,
        "base_model": run.base_model,
        "service_session_cuid": run.session_id,
        "workspace_cuid": state.workspace_id,
        "status": "ENDED",
        "model_spec_cuid": f"spec-{run.training_run_id[:4]}",
        "run_index": list(state.runs).index(run.training_run_id),
        "lora_rank": rank,
        "is_lora": run.is_lora,
        "restore_optimizer": False,
        **trained,
        "corrupted": False,
        "created_at": iso_date(state.epoch - 2 * _DAY),
        "updated_at": iso_date(state.epoch - _DAY),
        "training_params": {"restore_optimizer": False, **trained, "lora_rank": rank, "seed": run.lora_seed},
        "seed": run.lora_seed,
        "user_metadata": None,
    }


def resume_shape(run: TrainingRun) -> Shape:
    """Write what is needed to go on with a run."""
    return {
        "base_model": run.base_model,
        "lora_rank": run.lora_rank,
        "train_mlp": run.train_mlp,
        "train_attn": run.train_attn,
        "train_unembed": run.train_unembed,
        "seed": run.lora_seed,
    }


def uri_of(checkpoint: Checkpoint) -> str:
    """Write a checkpoint's URI."""
    folder = _FOLDERS.get(checkpoint.kind, "training_state")
    return f"trio://{checkpoint.training_run_id}/{folder}/{checkpoint.name}"


def find_uri(state: ServiceState, uri: str) -> Checkpoint | None:
    """Give the checkpoint of a URI; nothing where there is none."""
    parts = uri.removeprefix("trio://").split("/", 2)
    if len(parts) != 3 or parts[0] not in state.runs:
        return None
    found = state.find_path(f"{state.user_id}/{parts[0]}/weights/{parts[2]}")
    return found if found is not None and uri_of(found) == uri else None


def checkpoint_shape(state: ServiceState, checkpoint: Checkpoint, status: str) -> Shape:
    """Write a checkpoint."""
    run = state.runs[checkpoint.training_run_id]
    created_at = iso_date(checkpoint.created_at)
    return {
        "cuid": f"entry-{checkpoint.checkpoint_id}",
        "checkpoint_cuid": checkpoint.checkpoint_id,
        "training_run_cuid": checkpoint.training_run_id,
        "workspace_cuid": state.workspace_id,
        "name": checkpoint.name,
        "checkpoint_type": checkpoint.kind.upper() if checkpoint.kind in _FOLDERS else checkpoint.kind,
        "status": status,
        "checkpoint_uri": uri_of(checkpoint),
        "model": run.base_model.rpartition("/")[2],
        "base_model": run.base_model,
        "model_spec_cuid": f"spec-{run.training_run_id[:4]}",
        "task_id": f"task-{checkpoint.training_run_id}",
        "task_status": "ENDED",
        "path": checkpoint.object_key,
        "task_created_at": iso_date(state.epoch - 2 * _DAY),
        "created_at": created_at,
        "lora_rank": run.lora_rank,
        "is_uploaded": status == "READY",
        "step": (checkpoint.number + 1) * 100,
        "size_bytes": checkpoint.size_bytes,
        "uploaded_at": created_at if status == "READY" else None,
        "expired_at": None,
    }


def session_shape(state: ServiceState, session: Session, *, with_runs: bool = False) -> Shape:
    """Write a session, with the runs that it made if it is the only one."""
    shape: Shape = {
        "service_session_cuid": session.session_id,
        "workspace_cuid": state.workspace_id,
        "status": session.status,
        "sdk_version": session.sdk_version,
        "created_at": iso_date(session.created_at or state.epoch - 2 * _DAY),
        "updated_at": iso_date(session.updated_at or state.epoch - _DAY),
    }
    runs = {"training_run_cuids": session.training_run_ids, "sampling_run_cuids": session.sampler_ids}
    return {**shape, **runs} if with_runs else shape


def sampler_shape(state: ServiceState, sampler: Sampler, session_id: str) -> Shape:
    """Write a sampling run."""
    checkpoint = state.find_path(sampler.model_path) if sampler.model_path else None
    return {
        "sampling_run_cuid": sampler.sampler_id,
        "service_session_cuid": session_id,
        "workspace_cuid": state.workspace_id,
        "status": "ENDED",
        "base_model": sampler.base_model,
        "model_id": sampler.base_model,
        "alias": sampler.base_model.rpartition("/")[2],
        "created_at": iso_date(state.epoch - 2 * _DAY),
        "updated_at": iso_date(state.epoch - _DAY),
        "source_checkpoint_uri": uri_of(checkpoint) if checkpoint is not None else None,
    }


def bootstrap_shape(query: Mapping[str, str], status: str) -> Shape:
    """Write what a client's version is worth."""
    version = query.get("sdk_version", "")
    message = None if status == "compatible" else f"version {version} is {status}"
    return {
        "compatibility": {"status": status, "sdk_version": version, "latest_version": version, "message": message},
        "notices": [],
    }
