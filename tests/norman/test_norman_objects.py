"""The service's objects: read strictly, written as they were read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum, IntEnum
from typing import Any, Union, get_args, get_origin, get_type_hints

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trio_norman.norman._models as models
from tests.strategies import iso_times, json_documents, texts
from trio_norman import Secret, Timestamp
from trio_norman.errors import MalformedResponseError
from trio_norman.norman._converter import from_wire, shown, to_wire
from trio_norman.norman._models import NormanObject

KINDS = [kind for kind in vars(models).values() if isinstance(kind, type) and issubclass(kind, NormanObject)][1:]
URL = "https://norman.example/v0/x"


def read(kind: Any, document: Any) -> Any:
    return from_wire(kind, document, method="POST", url=URL, request_id="r-1")


def values(hint: Any) -> st.SearchStrategy[Any]:
    """JSON values that a field of some type may have."""
    if isinstance(hint, type) and issubclass(hint, NormanObject):
        return documents(hint)
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: texts(max_size=20),
        int: st.integers(0, 10**12),
        bool: st.booleans(),
        Secret: texts(max_size=20).filter(bool),
        Timestamp: iso_times().map(lambda pair: pair[0]),
    }
    if hint in plain:
        return plain[hint]
    arguments = get_args(hint)
    if get_origin(hint) is Union or type(hint).__name__ == "UnionType":
        if any(isinstance(each, type) and issubclass(each, Enum) for each in arguments):
            words = next(each for each in arguments if isinstance(each, type) and issubclass(each, Enum))
            unknown = st.integers(5, 9) if issubclass(words, IntEnum) else st.just("Unheard_Of")
            return st.sampled_from([word.value for word in words]) | unknown
        return st.one_of([values(each) for each in arguments if each is not type(None)])
    if get_origin(hint) is Mapping:
        return st.dictionaries(texts(max_size=5), values(arguments[1]), max_size=2)
    assert get_origin(hint) is Sequence, hint
    return st.lists(values(arguments[0]), max_size=2)


def documents(kind: type[NormanObject]) -> st.SearchStrategy[dict[str, Any]]:
    """Whole objects, with a field that nobody knows."""
    hints = get_type_hints(kind)
    fields = [field for field in attrs.fields(kind) if field.name != "extra"]
    required = {field.name: values(hints[field.name]) for field in fields if field.default is attrs.NOTHING}
    optional = {field.name: values(hints[field.name]) for field in fields if field.name not in required}
    return st.fixed_dictionaries(required, optional={**optional, "brand_new": json_documents()})


def holds(written: Any, given_: Any) -> bool:
    """Whether all that was given was written; fields that were left out are there with their defaults."""
    if isinstance(given_, dict):
        return isinstance(written, dict) and all(
            name in written and holds(written[name], given_[name]) for name in given_
        )
    if isinstance(given_, list):
        return len(written) == len(given_) and all(map(holds, written, given_))
    return bool(written == given_)


@settings(max_examples=50)
@given(data=st.data())
def test_what_was_read_is_written_again_with_every_unknown_word_and_field(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    document = data.draw(documents(kind))
    found = read(kind, document)
    written = json.loads(json.dumps(to_wire(found)))
    assert holds(written, document)
    assert read(kind, written) == found
    assert set(found.extra) == {"brand_new"} & set(document)


@settings(max_examples=50)
@given(data=st.data())
def test_an_object_that_is_spoilt_at_one_place_is_refused_and_the_place_is_named(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    document = data.draw(documents(kind))
    name = data.draw(
        st.sampled_from([field.name for field in attrs.fields(kind) if field.default is attrs.NOTHING] or [""])
    )
    if not name:
        return
    broken = {**document, name: data.draw(st.sampled_from([None, object]))}
    if broken[name] is object:
        del broken[name]
    with pytest.raises(MalformedResponseError) as caught:
        read(kind, broken)
    assert caught.value.problems
    assert caught.value.request_id == "r-1"


def test_times_are_utc_without_a_zone_and_may_be_seconds() -> None:
    expected = datetime(2025, 11, 9, 14, 22, 17, tzinfo=UTC)
    spellings = ["2025-11-09T14:22:17Z", "2025-11-09T14:22:17", "2025-11-09T16:22:17+02:00", expected.timestamp()]
    for spelling in spellings:
        assert read(models.Account, {"name": "ada", "creation_time": spelling}).creation_time == expected
    assert to_wire(models.Account(name="ada", creation_time=Timestamp.at(expected)))["creation_time"] == spellings[0]
    with pytest.raises(MalformedResponseError, match="time"):
        read(models.Account, {"name": "ada", "creation_time": 1e300})
    with pytest.raises(MalformedResponseError, match="time"):
        read(models.Account, {"name": "ada", "creation_time": True})


def test_microseconds_are_written_as_six_digits_and_left_out_when_zero() -> None:
    assert Timestamp.at(datetime(2025, 12, 12, 8, 30, 15, 120, tzinfo=UTC)).raw == "2025-12-12T08:30:15.000120Z"
    assert Timestamp.at(datetime(2025, 12, 12, 8, 30, 15, tzinfo=UTC)).raw == "2025-12-12T08:30:15Z"


def test_an_id_is_a_text_and_a_flag_value_a_number() -> None:
    with pytest.raises(MalformedResponseError, match=r"expected str, got int @ \$\.id"):
        read(models.Account, {"name": "ada", "id": 7})
    flag = {"account_id": "1", "entity_id": "2", "flag_name": "Model_Function_Run", "flag_value": "3"}
    with pytest.raises(MalformedResponseError, match=r"expected int, got str @ \$\.flag_value"):
        read(models.StatusFlag, flag)


def test_secrets_are_plain_in_a_request_and_nowhere_else() -> None:
    login = read(models.LoginResponse, {"access_token": "a.b.c", "account": None})
    assert to_wire(login)["access_token"] == "a.b.c"
    assert shown(login)["access_token"] == login.to_dict()["access_token"] == "<redacted>"
    assert "a.b.c" not in repr(login)


def test_lists_and_maps_are_read_as_such() -> None:
    accounts = read(Mapping[str, models.Account], {"7": {"name": "ada"}})
    assert accounts["7"].name == "ada"
    with pytest.raises(MalformedResponseError, match="expected a list"):
        read(Sequence[models.Account], {"7": {"name": "ada"}})
    with pytest.raises(MalformedResponseError):
        read(Mapping[str, models.Account], [1])
    with pytest.raises(MalformedResponseError, match="int"):
        read(int, "3")
