"""The state of the emulated training service; everything in it follows from the seed."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ._content import Content, SyntheticContent
from ._identifiers import IdentifierSpace
from ._records import CHECKPOINT_KINDS, Checkpoint, Sampler, Session, TrainingRun
from ._shelf import JoinedSequence, Shelf

MODELS = ("Qwen/Qwen2.5-3B", "Qwen/Qwen3-8B", "meta-llama/Llama-3.2-1B")

_RUN_BITS = 28  # a checkpoint's number in its run takes so many bits of its identifier
_STEP_SECONDS = 60.0


@attrs.define(eq=False)
class ServiceState:
    """Users, runs, checkpoints, sessions and samplers, and how they are found."""

    seed: int
    epoch: float
    checkpoints_per_run: int
    size_bytes: int
    username: str = "ada"
    runs: dict[str, TrainingRun] = attrs.field(factory=dict, init=False)
    samplers: dict[str, Sampler] = attrs.field(factory=dict, init=False)
    sessions: dict[str, Session] = attrs.field(factory=dict, init=False)
    user_id: str = attrs.field(init=False)
    workspace_id: str = attrs.field(init=False)
    _shelves: dict[str, Shelf] = attrs.field(factory=dict, init=False)
    _run_ids: IdentifierSpace = attrs.field(init=False)
    _checkpoint_ids: IdentifierSpace = attrs.field(init=False)
    _weights: tuple[int, Sequence[Checkpoint]] | None = attrs.field(default=None, init=False)
    _changes: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.user_id = IdentifierSpace(self.seed, "user", 10).identifier(0)
        self.workspace_id = IdentifierSpace(self.seed, "workspace", 10).identifier(0)
        self._run_ids = IdentifierSpace(self.seed, "run", 12)
        self._checkpoint_ids = IdentifierSpace(self.seed, "checkpoint", 10)

    @property
    def created_at(self) -> float:
        """When the user's account was made."""
        return self.epoch - 400 * 86400.0

    @property
    def checkpoints(self) -> Sequence[Checkpoint]:
        """All checkpoints of all runs, made while they are read."""
        return JoinedSequence(list(self._shelves.values()))

    @property
    def weights(self) -> Sequence[Checkpoint]:
        """The checkpoints of the kind ``sampler``."""
        if self._weights is None or self._weights[0] != self._changes:
            self._weights = (self._changes, [each for each in self.checkpoints if each.kind == "sampler"])
        return self._weights[1]

    def checkpoints_of(self, training_run_id: str) -> Sequence[Checkpoint]:
        """The checkpoints of one run; raises `KeyError` for an unknown run."""
        return self._shelves[training_run_id]

    def find_checkpoint(self, checkpoint_id: str) -> Checkpoint | None:
        """Give the checkpoint of that identifier; nothing where there is none."""
        number = self._checkpoint_ids.number(checkpoint_id)
        if number is None:
            return None
        shelf = self._shelves.get(self._run_ids.identifier(number >> _RUN_BITS))
        return shelf.find(number & (1 << _RUN_BITS) - 1) if shelf is not None else None

    def find_path(self, path: str) -> Checkpoint | None:
        """Give the checkpoint of a path, with or without a runner version and a colon in front."""
        parts = path.rpartition(":")[2].split("/", 3)
        if len(parts) != 4 or parts[0] != self.user_id or parts[2] != "weights":
            return None
        shelf = self._shelves.get(parts[1])
        return shelf.find_name(parts[3]) if shelf is not None else None

    def add_run(self, *, checkpoints: int | None = None, base_model: str | None = None) -> TrainingRun:
        """Make one more run with its session, its sampler and its checkpoints."""
        number = len(self._shelves)
        model = base_model or MODELS[number % len(MODELS)]
        run_id = self._run_ids.identifier(number)
        session = IdentifierSpace(self.seed, "session", 12).identifier(number)
        run = TrainingRun(run_id, session, model, lora_rank=(32, 16, 64)[number % 3])
        shelf = Shelf(
            lambda each: self._made_checkpoint(run_id, number, each),
            self.checkpoints_per_run if checkpoints is None else checkpoints,
        )
        self.runs[run_id] = run
        self._shelves[run_id] = shelf
        saved = next((each for each in shelf if each.kind == "sampler"), None)
        sampler_id = IdentifierSpace(self.seed, "sampler", 12).identifier(number)
        self.samplers[sampler_id] = Sampler(sampler_id, model, saved.path if saved is not None else None)
        self.sessions[session] = Session(session, (run_id,), (sampler_id,))
        self._changes += 1
        return run

    def open_session(self, session_id: str) -> None:
        """Note a client's connection."""
        self.sessions.setdefault(session_id, Session(session_id))

    def new_session(self, now: float, sdk_version: str) -> Session:
        """Open a session by a name that the service chooses."""
        session_id = IdentifierSpace(self.seed, "service session", 12).identifier(len(self.sessions))
        session = Session(session_id, sdk_version=sdk_version, created_at=now, updated_at=now)
        self.sessions[session_id] = session
        return session

    def change_session(self, session_id: str, now: float, *, status: str | None = None) -> Session:
        """Note that a session was used or ended; raises `KeyError` for an unknown one."""
        session = self.sessions[session_id]
        self.sessions[session_id] = attrs.evolve(session, updated_at=now, status=status or session.status)
        return self.sessions[session_id]

    def add_checkpoint(
        self,
        training_run_id: str,
        *,
        name: str | None = None,
        kind: str | None = None,
        size_bytes: int | None = None,
    ) -> Checkpoint:
        """Append one checkpoint to a run. Its name may be hostile; it is announced as it is."""

        def with_wishes(number: int) -> Checkpoint:
            made = self._made_checkpoint(training_run_id, run_number, number)
            return attrs.evolve(
                made,
                name=made.name if name is None else name,
                kind=made.kind if kind is None else kind,
                size_bytes=made.size_bytes if size_bytes is None else size_bytes,
            )

        run_number = self._run_ids.number(training_run_id) or 0
        self._changes += 1
        return self._shelves[training_run_id].add(with_wishes)

    def change_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Put a changed checkpoint in the place of the old one; it keeps its identifier."""
        self._shelves[checkpoint.training_run_id].change(checkpoint)
        self._changes += 1

    def remove_checkpoint(self, checkpoint_id: str) -> None:
        """Delete a checkpoint; raises `KeyError` for an unknown one."""
        checkpoint = self.find_checkpoint(checkpoint_id)
        if checkpoint is None:
            raise KeyError(checkpoint_id)
        self._shelves[checkpoint.training_run_id].remove(checkpoint.number)
        self._changes += 1

    def _made_checkpoint(self, run_id: str, run_number: int, number: int) -> Checkpoint:
        identifier = self._checkpoint_ids.identifier(run_number << _RUN_BITS | number)
        age = (self.checkpoints_per_run - number) * _STEP_SECONDS + 86400
        fraction = 0.475 if number % 2 == 0 else 0.0  # the service writes times with and without a fraction
        return Checkpoint(
            checkpoint_id=identifier,
            training_run_id=run_id,
            kind=CHECKPOINT_KINDS[number % 2],
            name=f"step-{(number + 1) * 100:04d}",
            user_id=self.user_id,
            size_bytes=self.size_bytes,
            created_at=int(self.epoch - age) + fraction,
            number=number,
        )


def plain_content(pool: bytes, checkpoint: Checkpoint) -> Content:
    """Make a checkpoint's bytes without the form of an archive."""
    name = f"{checkpoint.checkpoint_id} {checkpoint.version}"
    return SyntheticContent(pool, name, checkpoint.size_bytes)
