"""From configurations to what the service is sent: models with all defaults, and titles matched to entries.

Source: wire/norman, sections 6, 7 and 8 (11).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .._sansio.encodings import PARAMETER_ENCODINGS, SIGNATURE_ENCODINGS, modality_of
from .._sansio.times import Timestamp
from ..errors import ConfigurationError
from ._configs import InputConfig, InvocationConfig, ModelConfig, OutputConfig, SignatureConfig, unique
from ._models import (
    Model,
    ModelAsset,
    ModelParam,
    ModelSignature,
    ModelTag,
    SignatureTransform,
)
from ._words import HostingLocation, SignatureType


def check_model(config: ModelConfig) -> None:
    """Refuse what no service could make a model of.

    Raises:
        ConfigurationError: For an external model without URL, doubled names, or an unknown encoding.
    """
    if config.hosting_location == HostingLocation.EXTERNAL and not config.url:
        raise ConfigurationError("an external model has no url", "give the URL at which it is served")
    unique([asset.asset_name for asset in config.assets], what="assets")
    unique([each.display_title for each in config.inputs], what="inputs")
    unique([each.display_title for each in config.outputs], what="outputs")
    for signature in (*config.inputs, *config.outputs):
        _signature(signature, SignatureType.INPUT)


def model_of(config: ModelConfig, account_id: str, now: Timestamp) -> Model:
    """Return the model that a checked configuration describes, as it is sent: without ids."""
    is_internal = config.hosting_location == HostingLocation.INTERNAL
    return Model(
        account_id=account_id,
        version_label=config.version_label,
        creation_time=now,
        short_description=config.short_description,
        assets=[ModelAsset(account_id=account_id, asset_name=asset.asset_name) for asset in config.assets],
        name=config.name,
        model_class=config.model_class,
        url="" if is_internal else config.url,
        request_type=config.request_type,
        model_type=config.model_type,
        hosting_location=config.hosting_location,
        output_format=config.output_format,
        long_description=config.long_description,
        inputs=[_signature(each, SignatureType.INPUT) for each in config.inputs],
        outputs=[_signature(each, SignatureType.OUTPUT) for each in config.outputs],
        http_headers=config.http_headers,
        user_added_tags=[ModelTag(account_id=account_id, name=tag.name) for tag in config.user_added_tags],
    )


def _signature(config: SignatureConfig, kind: SignatureType) -> ModelSignature:
    title = config.display_title
    return ModelSignature(
        signature_type=kind,
        data_modality=modality_of(config.data_encoding, SIGNATURE_ENCODINGS, of=repr(title)),
        data_domain=config.data_domain,
        data_encoding=config.data_encoding,
        receive_format=config.receive_format,
        http_location=config.http_location,
        hidden=config.hidden,
        display_title=title,
        default_value=config.default_value,
        parameters=[
            ModelParam(
                data_modality=modality_of(
                    each.data_encoding, PARAMETER_ENCODINGS, of=f"parameter {each.parameter_name!r} of {title!r}"
                ),
                data_encoding=each.data_encoding,
                parameter_name=each.parameter_name,
            )
            for each in config.parameters
        ],
        transforms=[
            SignatureTransform(transform_name=each.transform_name, transform_args=each.transform_args)
            for each in config.transforms
        ],
        signature_args=config.signature_args,
    )


def newest(models: Iterable[Model], name: str) -> Model | None:
    """Return the model that a name means: of its active versions (or of all, if none is) the newest."""
    named = [model for model in models if model.name == name]
    active = [model for model in named if model.active] or named
    return max(active, key=lambda model: _age(model.id), default=None)


def _age(id_: str) -> tuple[int, str]:
    return len(id_), id_  # ids are numbers that grow with time


def check_titles(config: InvocationConfig, model: Model) -> None:
    """Compare an invocation's titles with the model's.

    Raises:
        ConfigurationError: If one is unknown, or an input that has no default is not given.
    """
    needed = [each.display_title for each in model.inputs if each.default_value is None]
    _compare(config.inputs, [each.display_title for each in model.inputs], needed, what="input")
    _compare(config.outputs, [each.display_title for each in model.outputs], [], what="output")


def check_entries(config: InvocationConfig, inputs: Sequence[str], outputs: Sequence[str], known: bool) -> None:
    """Compare an invocation's titles with those of its entries, after it was made; raises as `check_titles`."""
    _compare(config.inputs, inputs, [] if known else inputs, what="input")
    _compare(config.outputs, outputs, [], what="output")


def _compare(
    given: Sequence[InputConfig | OutputConfig], known: Sequence[str], needed: Sequence[str], *, what: str
) -> None:
    titles = [each.display_title for each in given]
    unique(titles, what=f"{what}s")
    unknown = [title for title in titles if title not in known]
    missing = [title for title in needed if title not in titles]
    if unknown:
        there_are = f"there are {', '.join(map(repr, known))}" if known else f"it has no {what}s"
        raise ConfigurationError(f"the model has no {what} called {', '.join(map(repr, unknown))}", there_are)
    if missing:
        raise ConfigurationError(f"no {what} is given for {', '.join(map(repr, missing))}", "give data for each")


def defaults_of(model: Model | None) -> Mapping[str, str]:
    """Return the default values of a model's inputs by their titles."""
    inputs = () if model is None else model.inputs
    return {each.display_title: each.default_value for each in inputs if each.default_value is not None}
