"""The converter: any JSON becomes an object or a `MalformedResponseError`, and objects write themselves back."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import http_dates, iso_times, json_documents
from trio_norman.errors import MalformedResponseError
from trio_norman.rest import (
    ArchiveUrl,
    Checkpoint,
    CheckpointInfo,
    CheckpointList,
    CheckpointsPage,
    CheckpointType,
    LoraConfig,
    Model,
    Sampler,
    Session,
    SessionsPage,
    TrainingRun,
    TrainingRunsPage,
    UserInfo,
    Weight,
    WeightsPage,
    _classic,
)

ANSWERS: list[type[Model]] = [
    CheckpointInfo,
    CheckpointList,
    CheckpointsPage,
    Sampler,
    Session,
    SessionsPage,
    TrainingRun,
    TrainingRunsPage,
    WeightsPage,
]
SECRET: list[type[Model]] = [ArchiveUrl, UserInfo]


def read(kind: type[Model], document: Any) -> Model:
    return _classic.SPELLING.read(kind, document, method="GET", url="https://h/x", request_id="id-1")


def fields(**chosen: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of the fields, and with some that nobody knows."""
    unknown = st.dictionaries(st.text("xyz_", min_size=1, max_size=4), json_documents(), max_size=2)
    known = st.fixed_dictionaries({}, optional=chosen)
    return st.builds(lambda some, more: {**more, **some}, known, unknown)


def required(name: str, rest: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda identity, some: {name: identity, **some}, st.text(max_size=8), rest)


times = st.none() | http_dates() | iso_times().map(lambda pair: pair[0])
texts = st.none() | st.text(max_size=8)
numbers = st.none() | st.integers()
lengths = st.none() | st.integers(min_value=0)
flags = st.none() | st.booleans()
checkpoints = required(
    "checkpoint_id",
    fields(
        checkpoint_type=st.sampled_from(["sampler", "training", "distilled", "", None]),
        time=times,
        path=texts,
        size_bytes=lengths,
    ),
)
weights = required(
    "cuid",
    fields(id=numbers, path=texts, type=texts, userId=texts, runnerId=texts, createdAt=times, updatedAt=times),
)
runs = required("training_run_id", fields(base_model=texts, is_lora=flags, lora_rank=numbers))
told = {"total": numbers, "limit": numbers, "offset": numbers, "has_more": flags}
lora = fields(rank=numbers, seed=numbers, train_mlp=flags, trainable_token_indices=json_documents())
documents: dict[type[Model], st.SearchStrategy[dict[str, Any]]] = {
    WeightsPage: st.builds(
        lambda data, some: {"data": data, **some},
        st.lists(weights, max_size=3),
        fields(pagination=st.none() | fields(page=numbers, has_next=flags)),
    ),
    TrainingRunsPage: st.builds(
        lambda data, some: {"training_runs": data, **some}, st.lists(runs, max_size=3), fields(**told)
    ),
    CheckpointsPage: st.builds(
        lambda data, some: {"checkpoints": data, **some}, st.lists(checkpoints, max_size=3), fields(**told)
    ),
    CheckpointInfo: required("model", fields(lora=st.none() | lora)),
    Session: fields(
        training_run_ids=st.none() | st.lists(st.text(max_size=4)), sampler_ids=st.lists(st.text(max_size=4))
    ),
}


def holds(written: Any, source: Any) -> bool:
    """Whether everything that the service told is written again; null may have become a default."""
    if isinstance(source, dict):
        return all(name in written and (value is None or holds(written[name], value)) for name, value in source.items())
    if isinstance(source, list):
        return len(written) == len(source) and all(map(holds, written, source))
    return type(written) is type(source) and bool(written == source)


@pytest.mark.fuzz
@given(document=json_documents(), data=st.data())
def test_any_document_is_an_object_or_a_malformed_answer(document: Any, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([*ANSWERS, *SECRET]))
    try:
        model = read(kind, document)
    except MalformedResponseError as error:
        assert error.problems  # noqa: PT017 (or it is read)
        assert all(" @ $" in problem for problem in error.problems)  # noqa: PT017 (or it is read)
        assert (error.request_id, error.url, error.__cause__) == ("id-1", "https://h/x", None)  # noqa: PT017 (or it is read)
    else:
        assert isinstance(model, kind)


@given(data=st.data())
def test_a_document_spoilt_at_one_place_is_an_object_or_a_malformed_answer_that_says_where(
    data: st.DataObject,
) -> None:
    kind = data.draw(st.sampled_from(list(documents)))
    document = data.draw(documents[kind])
    name = data.draw(st.sampled_from([*document, "model", "checkpoints"]))
    document[name] = data.draw(json_documents())
    try:
        read(kind, document)
    except MalformedResponseError as error:
        assert all(f" @ $.{name}" in problem for problem in error.problems if "missing" not in problem)  # noqa: PT017 (or it is read)


@given(data=st.data())
def test_objects_write_what_was_read_unknown_fields_and_spelling_of_times_too(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(documents)))
    document = data.draw(documents[kind])
    model = read(kind, document)
    written = model.to_dict()
    assert written == _classic.SPELLING.write(model)
    plain = json.loads(json.dumps(written))
    assert plain == written  # nothing but JSON is in it
    assert holds(written, document)
    assert read(kind, plain) == model


@given(written=http_dates() | iso_times().map(lambda pair: pair[0]), field=st.sampled_from(["time", "createdAt"]))
def test_both_spellings_of_times_are_read_anywhere(written: str, field: str) -> None:
    if field == "time":
        checkpoint = read(Checkpoint, {"checkpoint_id": "c", "time": written})
        assert isinstance(checkpoint, Checkpoint)
        moment = checkpoint.time
    else:
        weight = read(Weight, {"cuid": "c", "createdAt": written})
        assert isinstance(weight, Weight)
        moment = weight.created_at
    assert moment is not None
    assert (moment.raw, moment.tzinfo) == (written, UTC)


@given(word=st.text())
def test_words_of_an_enumeration_are_members_or_stay_text(word: str) -> None:
    checkpoint = read(Checkpoint, {"checkpoint_id": "c", "checkpoint_type": word})
    assert isinstance(checkpoint, Checkpoint)
    assert checkpoint.checkpoint_type == word
    assert isinstance(checkpoint.checkpoint_type, CheckpointType) == (word in {"sampler", "training"})
    assert type(checkpoint.to_dict()["checkpoint_type"]) is str


def test_what_is_not_told_about_a_lora_is_what_the_services_own_client_assumes() -> None:
    info = read(CheckpointInfo, {"model": "m", "lora": {}})
    assert isinstance(info, CheckpointInfo)
    assert info.lora == LoraConfig(32, None, True, True, False, None)
    assert read(CheckpointInfo, {"model": "m"}) == CheckpointInfo("m", None)


@pytest.mark.parametrize("kind", [*ANSWERS, *SECRET])
def test_objects_are_frozen_and_say_what_they_hold(kind: type[Model]) -> None:
    assert attrs.fields_dict(kind)["extra"].default is not None
    empty: dict[str, Any] = {
        field.name: () if "Sequence" in str(field.type) else "x"
        for field in attrs.fields(kind)
        if field.default is attrs.NOTHING
    }
    model = kind(**empty)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        model.extra = {}  # type: ignore[misc]
    assert isinstance(hash(model), int)
    assert repr(model).startswith(kind.__name__)
