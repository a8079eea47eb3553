"""What users write to upload a model or to invoke one: objects, or the same as dicts.

Source: wire/norman, sections 6 and 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import attrs
import cattrs

from .._sansio.wiremodels import make_converter, problems_of
from ..errors import ConfigurationError
from ._words import (
    ConsumeMode,
    HostingLocation,
    HttpLocation,
    InputSource,
    ModelType,
    OutputFormat,
    ReceiveFormat,
    RequestType,
)


@attrs.frozen(kw_only=True)
class Config:
    """Base of what users write; a field that is not known is refused when the configuration is used."""

    extra: Mapping[str, Any] = attrs.field(factory=dict, repr=False, hash=False)


C = TypeVar("C", bound=Config)


@attrs.frozen(kw_only=True)
class InputConfig(Config):
    """The data of one input, known by the title that the model gives it.

    Without `source` it follows from `data`: a `pathlib.Path` is a file; a text is a link if it is an http(s) URL, a
    file if it names an existing regular file, and otherwise the value itself, as bytes, numbers, dicts and lists are;
    what can be read or iterated over is a stream.
    """

    display_title: str
    data: Any = attrs.field(repr=False)
    source: InputSource | str | None = None


@attrs.frozen(kw_only=True)
class OutputConfig(Config):
    """How one output is handed over. `data` means nothing; the service's own client wants it."""

    display_title: str
    consume_mode: ConsumeMode | str = ConsumeMode.BYTES
    data: Any = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class InvocationConfig(Config):
    """Which model to invoke, with which inputs; outputs that are not named are handed over as bytes."""

    model_name: str
    inputs: Sequence[InputConfig] = ()
    outputs: Sequence[OutputConfig] = ()


@attrs.frozen(kw_only=True)
class ParameterConfig(Config):
    """One parameter of the model's function; its modality follows from its encoding."""

    parameter_name: str
    data_encoding: str
    data_modality: str | None = None


@attrs.frozen(kw_only=True)
class TransformConfig(Config):
    """A step between what is received and what the model is given."""

    transform_name: str
    transform_args: Mapping[str, str] = attrs.field(factory=dict, hash=False)


@attrs.frozen(kw_only=True)
class SignatureConfig(Config):
    """One input or output of a model; its modality follows from its encoding."""

    display_title: str
    data_domain: str
    data_encoding: str
    receive_format: ReceiveFormat | str
    parameters: Sequence[ParameterConfig]
    data_modality: str | None = None
    http_location: HttpLocation | str = HttpLocation.BODY
    hidden: bool = False
    default_value: str | None = None
    transforms: Sequence[TransformConfig] = ()
    signature_args: Mapping[str, str] = attrs.field(factory=dict, hash=False)


@attrs.frozen(kw_only=True)
class AssetConfig(Config):
    """One file of a model: ``File`` for its weights, ``Logo`` for a picture; `source` is as with inputs."""

    asset_name: str
    data: Any = attrs.field(repr=False)
    source: InputSource | str | None = None


@attrs.frozen(kw_only=True)
class TagConfig(Config):
    """A tag."""

    name: str


@attrs.frozen(kw_only=True)
class ModelConfig(Config):
    """A model to upload. One that is hosted by the service has no `url`; an external one must have it."""

    name: str
    version_label: str
    model_class: str
    short_description: str
    long_description: str
    inputs: Sequence[SignatureConfig]
    outputs: Sequence[SignatureConfig]
    assets: Sequence[AssetConfig]
    user_added_tags: Sequence[TagConfig] = ()
    hosting_location: HostingLocation | str = HostingLocation.INTERNAL
    model_type: ModelType | str = ModelType.PYTORCH_JIT
    request_type: RequestType | str = RequestType.POST
    output_format: OutputFormat | str = OutputFormat.JSON
    url: str | None = None
    http_headers: Mapping[str, str] = attrs.field(factory=dict, hash=False, repr=False)  # may hold a key


def read_config(kind: type[C], given: C | Mapping[str, Any]) -> C:
    """Return a configuration that was given as an object or as a dict, checked for what needs no service.

    Raises:
        ConfigurationError: With everything that is missing, misspelt, or of a wrong type.
    """
    if not isinstance(given, kind | Mapping):
        raise ConfigurationError(f"a {type(given).__name__} is no {kind.__name__}", "give a dict or the object")
    try:
        config = _CONVERTER.structure(_plain(given), kind)
    except (cattrs.BaseValidationError, TypeError, ValueError) as error:
        problems = "; ".join(problem.replace("$.", "") for problem in problems_of(error))
        raise ConfigurationError(f"the {kind.__name__} cannot be used: {problems}") from None
    _check(config, kind.__name__)
    return config


def _plain(value: Any) -> Any:
    """Return dicts for objects and mappings, lists for sequences and texts for words; data stays what it is."""
    if isinstance(value, Config):  # an object may hold dicts, and anything else: nothing has looked at its fields
        names = [field.name for field in attrs.fields(type(value)) if field.name != "extra"]
        value = {**value.extra, **{name: getattr(value, name) for name in names}}
    if isinstance(value, Mapping):
        return {key: item if key == "data" else _plain(item) for key, item in value.items()}
    if isinstance(value, StrEnum):
        return value.value
    is_list = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    return [_plain(item) for item in value] if is_list else value


def _check(config: Config, path: str) -> None:
    if config.extra:
        known = ", ".join(field.name for field in attrs.fields(type(config)) if field.name != "extra")
        unknown = ", ".join(map(str, config.extra))
        raise ConfigurationError(f"{path} has an unknown field: {unknown}", f"known are {known}")
    for name, hint in get_type_hints(type(config)).items():
        value = getattr(config, name)
        words = next((each for each in _WORDS if each in getattr(hint, "__args__", ())), None)
        if words is not None and value is not None and value not in set(words):
            raise ConfigurationError(f"{path}.{name} is {value!r}", f"known are {', '.join(words)}")
        if name not in {"data", "extra"} and isinstance(value, list | tuple):
            for index, each in enumerate(value):
                if isinstance(each, Config):
                    _check(each, f"{path}.{name}[{index}]")


def unique(titles: Sequence[str], *, what: str) -> None:
    """Refuse two things of one name with a `ConfigurationError`."""
    twice = sorted({title for title in titles if titles.count(title) > 1})
    if twice:
        raise ConfigurationError(f"there are several {what} called {', '.join(map(repr, twice))}", "name each once")


def with_paths_from(folder: Path, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a model's configuration with the relative paths of its assets seen from `folder`."""
    assets = given.get("assets")
    if not isinstance(assets, list):
        return given
    return {**given, "assets": [_seen_from(folder, asset) for asset in assets]}


def _seen_from(folder: Path, asset: Any) -> Any:
    data = asset.get("data") if isinstance(asset, dict) else None
    is_path = isinstance(data, str) and "://" not in data and asset.get("source") in {None, InputSource.FILE}
    return {**asset, "data": folder / data} if is_path and isinstance(data, str) else asset


_WORDS = (RequestType, ModelType, HostingLocation, OutputFormat, ReceiveFormat, HttpLocation, InputSource, ConsumeMode)
_CONVERTER = make_converter(Config, {}, _WORDS)
