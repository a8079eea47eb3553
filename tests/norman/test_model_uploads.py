"""Uploading models: what is sent, what is refused beforehand, and what is left behind where it fails."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock

from tests.norman.norman_opening import asked, body_of, echo, model, open_in_memory, signature
from tests.rest.rest_opening import cancelled_at
from trio_norman import AssetConfig, ModelConfig, SignatureConfig
from trio_norman.errors import (
    ConfigurationError,
    JobFailedError,
    JobTimeoutError,
    MalformedResponseError,
    RateLimitedError,
    ServiceError,
    TransportError,
)
from trio_norman.norman import HostingLocation, Model, ParameterConfig

#: A model without assets, as the service shows one.
OTHER = Model(
    account_id="1",
    name="other",
    version_label="v1",
    model_class="text",
    short_description="",
    long_description="",
    request_type="Post",
    model_type="Pytorch_jit",
    hosting_location="Internal",
    output_format="Json",
).to_dict() | {"creation_time": "2026-01-01T00:00:00Z"}


async def test_a_model_is_sent_with_every_default_and_its_assets_arrive(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"weights")
    async with open_in_memory() as (emulator, norman):
        logo = emulator.upload("logo.png", b"\x89PNG\r\n\x1a\nlogo")
        tags = [{"name": "demo"}]
        made = await norman.upload_model(model({"File": str(weights), "Logo": logo}, user_added_tags=tags))
        (sent,) = body_of(asked(emulator, "/persist/models/")[0])
        account = await norman.get_account()
        assert sent.pop("creation_time").endswith("Z")
        words, answer = sent.pop("inputs")[0], sent.pop("outputs")[0]
        assert sent == {
            "id": "0",
            "account_id": account.id,
            "model_base_id": "0",
            "version_label": "v1",
            "active": True,
            "build_status": None,
            "short_description": "Shouts.",
            "assets": [
                {"id": "0", "account_id": account.id, "model_id": "0", "asset_name": name} for name in ("File", "Logo")
            ],
            "tags": [],
            "name": "shouter",
            "model_class": "text",
            "url": "",
            "request_type": "Post",
            "model_type": "Pytorch_jit",
            "hosting_location": "Internal",
            "output_format": "Json",
            "long_description": "Answers as it was spoken to.",
            "http_headers": {},
            "user_added_tags": [{"id": "0", "account_id": account.id, "model_id": "0", "name": "demo"}],
        }
        assert (words["signature_type"], answer["signature_type"]) == ("Input", "Output")
        assert words | {"signature_type": ""} == {
            "id": "0",
            "model_id": "0",
            "signature_type": "",
            "data_modality": "Text",
            "data_domain": "prose",
            "data_encoding": "utf8",
            "receive_format": "File",
            "http_location": "Body",
            "hidden": False,
            "display_title": "Words",
            "default_value": None,
            "parameters": [
                {
                    "id": "0",
                    "model_id": "0",
                    "signature_id": "0",
                    "data_modality": "Text",
                    "data_encoding": "utf8",
                    "parameter_name": "value",
                }
            ],
            "transforms": [],
            "signature_args": {},
        }
        stored = {asset.asset_name: emulator.norman.body_of(asset.id).read_all() for asset in made.assets}
        assert stored == {"File": b"weights", "Logo": b"\x89PNG\r\n\x1a\nlogo"}


async def test_objects_streams_and_explicit_sources_will_do(autojump_clock: MockClock) -> None:
    title = SignatureConfig(
        display_title="Words",
        data_domain="prose",
        data_encoding=" UTF8 ",
        receive_format="File",
        parameters=[ParameterConfig(parameter_name="words", data_encoding="utf16")],
        data_modality="ignored",
    )
    config = ModelConfig(
        name="shouter",
        version_label="v1",
        model_class="text",
        short_description="",
        long_description="",
        inputs=[title],
        outputs=[],
        assets=[
            AssetConfig(asset_name="File", data=io.BytesIO(b"streamed")),
            AssetConfig(asset_name="Logo", data="a text", source="Primitive"),
        ],
        hosting_location=HostingLocation.EXTERNAL,
        url="https://models.example/shouter",
    )
    async with open_in_memory() as (emulator, norman):
        made = await norman.upload_model(config)
        assert made.url == "https://models.example/shouter"
        assert (made.inputs[0].data_encoding, made.inputs[0].data_modality) == (" UTF8 ", "Text")
        stored = [emulator.norman.body_of(asset.id).read_all() for asset in made.assets]
        assert stored == [b"streamed", b"a text"]


BAD: list[tuple[dict[str, Any], str]] = [
    (model({"File": "./missing.pt"}), "does not exist"),
    (model({"File": Path("/missing")}), "does not exist"),
    (model({"File": b""}), "empty"),
    (model({"File": None}), "no data"),
    (model({}) | {"assets": [{"asset_name": "File", "data": b"x"}] * 2}, "several assets called 'File'"),
    (model({"File": b"x"}, hosting_location="External"), "no url"),
    (model({"File": b"x"}, [signature("A"), signature("A")]), "several inputs called 'A'"),
    (model({"File": b"x"}, [signature("A", data_encoding="UTF-8")]), "unknown encoding 'UTF-8'"),
    (
        model({"File": b"x"}, [signature("A", parameters=[{"parameter_name": "a", "data_encoding": "txt"}])]),
        "unknown encoding 'txt' of parameter 'a'",
    ),
    (model({"File": b"x"}, request_type="POST"), "known are Get, Post, Put"),
    (model({"File": b"x"}, [signature("A", receive_format="Fax")]), "known are File, Link, Primitive"),
    (model({"File": b"x"}, nmae="typo"), "unknown field: nmae"),
    (model({"File": b"x"}, version_label=1), "expected str"),
    ({key: value for key, value in model({"File": b"x"}).items() if key != "name"}, "missing"),
    (model({"File": b"x"}, [{"display_title": "A"}]), "missing"),
]


@pytest.mark.parametrize(("config", "problem"), BAD, ids=[problem for _, problem in BAD])
async def test_what_cannot_work_is_refused_before_anything_is_sent(
    autojump_clock: MockClock, config: dict[str, Any], problem: str
) -> None:
    async with open_in_memory() as (emulator, norman):
        with pytest.raises(ConfigurationError, match=problem):
            await norman.upload_model(config)
        assert asked(emulator) == []


async def test_what_fails_afterwards_names_the_model_that_is_left(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, norman):
        emulator.norman.inject_flags(flag_name="File_Image_Build", value=4, times=1)
        with pytest.raises(JobFailedError) as failed:
            await norman.upload_model(model({"File": b"x"}))
        assert failed.value.orphans == (f"model {failed.value.entity_id}",)
        emulator.norman.inject_flags(flag_name="File_Image_Build", value=2)
        with pytest.raises(JobTimeoutError) as late:
            await norman.upload_model(model({"File": b"x"}), max_seconds=5)
        assert late.value.orphans
        emulator.misbehave("/v0/persist/models/$", method="POST", drop=True)
        with pytest.raises(TransportError) as lost:
            await norman.upload_model(model({"File": b"x"}))
        assert lost.value.orphans == ("perhaps model 'shouter': the answer was lost",)


UNSURE: list[tuple[int, object, str]] = [
    (500, {}, "perhaps model 'shouter': the service failed"),
    (200, [{"id": "77"}], "perhaps model 'shouter': the answer cannot be read"),
    (200, [], "perhaps model 'shouter': the answer cannot be read"),
    (200, None, "perhaps model 'shouter': the answer cannot be read"),
    (200, [{**OTHER, "id": "77"}], "model 77"),
]


@pytest.mark.parametrize(("status", "body", "orphan"), UNSURE)
async def test_after_an_answer_that_says_nothing_the_model_may_have_been_made(
    autojump_clock: MockClock, status: int, body: object, orphan: str
) -> None:
    async with open_in_memory() as (emulator, norman):
        emulator.misbehave("/v0/persist/models/$", method="POST", status=status, body=json.dumps(body), acts=True)
        with pytest.raises((ServiceError, MalformedResponseError)) as caught:
            await norman.upload_model(model({"File": b"x"}))
        assert caught.value.orphans == (orphan,)


async def test_after_an_answer_that_says_nothing_an_invocation_may_have_been_made(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, norman):
        for status, body, why in ((502, "x", "the service failed"), (200, "[]", "the answer cannot be read")):
            emulator.misbehave("/v0/persist/invocations/by-name", status=status, body=body, acts=True, times=1)
            with pytest.raises((ServiceError, MalformedResponseError)) as caught:
                await norman.invoke(echo("x"))
            assert caught.value.orphans == (f"perhaps an invocation of 'echo': {why}",)
        emulator.misbehave("/v0/persist/invocations/by-name", status=400)
        with pytest.raises(ServiceError) as refused:
            await norman.invoke(echo("x"))
        assert refused.value.orphans == ()  # it said no
        emulator.behave()
        busy = emulator.misbehave("/v0/persist/invocations/by-name", status=503, retry_after=1, acts=True)
        with pytest.raises(RateLimitedError) as unsure:
            await norman.invoke(echo("x"))
        assert unsure.value.orphans == ("perhaps an invocation of 'echo': the service failed",)
        assert busy.hits == 1  # it may have been made: nobody makes a second one


async def test_a_service_that_makes_something_else_is_malformed(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, norman):
        emulator.misbehave("/v0/persist/models/$", status=200, body="[]")
        with pytest.raises(MalformedResponseError, match="one model with the assets File"):
            await norman.upload_model(model({"File": b"x"}))


async def test_an_upload_can_be_cancelled_at_each_of_its_waits(autojump_clock: MockClock) -> None:
    step, finished = 0, False
    while not finished:
        step += 3
        async with open_in_memory() as (_, norman):
            finished = await cancelled_at(step, lambda: norman.upload_model(model({"File": b"x"}))) is not None
            assert await norman.persist.models.get_models()
    assert step > 10
