"""What is said to and by the Norman service, as frozen objects.

Unknown fields are kept in `extra`, unknown words of an enumeration as they came, times without a zone are UTC, and
every time remembers how it was written. The id ``"0"`` means "not assigned yet".

Source: wire/norman, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from .._sansio.redaction import Secret
from .._sansio.times import Timestamp
from ._words import (
    BuildStatus,
    DataModality,
    FlagName,
    FlagValue,
    HostingLocation,
    HttpLocation,
    ModelType,
    OutputFormat,
    ReceiveFormat,
    RequestType,
    Severity,
    SignatureType,
)

UNASSIGNED = "0"


@attrs.frozen
class NormanObject:
    """Base of them all; `extra` holds the fields that this version does not know."""

    extra: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True, hash=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the object as it stands on the wire, fields with their defaults too; secrets stay ``<redacted>``."""
        from ._converter import shown  # the converter reads this module's classes

        return shown(self)


# Accounts


@attrs.frozen(kw_only=True)
class Account(NormanObject):
    """An account; names are unique."""

    id: str = UNASSIGNED
    creation_time: Timestamp | None = None
    name: str


@attrs.frozen(kw_only=True)
class SignupKeyResponse(NormanObject):
    """A new account and its key, which cannot be had a second time."""

    account: Account
    api_key: Secret


@attrs.frozen(kw_only=True)
class LoginResponse(NormanObject):
    """What a login gives: the access token is what later calls carry."""

    account: Account | None = None
    access_token: Secret | None = None
    id_token: Secret | None = None


@attrs.frozen(kw_only=True)
class AuthenticationFactors(NormanObject):
    """By how many keys, passwords and addresses an account can log in."""

    account_id: str
    api_key_count: int = 0
    password_count: int = 0
    verified_email_count: int = 0


# Models


@attrs.frozen(kw_only=True)
class ModelAsset(NormanObject):
    """One file of a model; `File` are the weights and `Logo` is a picture."""

    id: str = UNASSIGNED
    account_id: str
    model_id: str = UNASSIGNED
    asset_name: str


@attrs.frozen(kw_only=True)
class ModelTag(NormanObject):
    """A tag that the owner gave to a model."""

    id: str = UNASSIGNED
    account_id: str = UNASSIGNED
    model_id: str = UNASSIGNED
    name: str


@attrs.frozen(kw_only=True)
class AggregateTag(NormanObject):
    """A tag of a model, and how many gave it."""

    model_id: str
    name: str
    tag_count: int


@attrs.frozen(kw_only=True)
class ModelParam(NormanObject):
    """One parameter of the model's function."""

    id: str = UNASSIGNED
    model_id: str = UNASSIGNED
    signature_id: str = UNASSIGNED
    data_modality: DataModality | str
    data_encoding: str
    parameter_name: str


@attrs.frozen(kw_only=True)
class SignatureTransform(NormanObject):
    """A step between what is received and what the model is given."""

    id: str = UNASSIGNED
    signature_id: str = UNASSIGNED
    transform_name: str
    transform_args: Mapping[str, str] = attrs.field(factory=dict, hash=False)


@attrs.frozen(kw_only=True)
class ModelSignature(NormanObject):
    """One input or output of a model; users know it by its `display_title`."""

    id: str = UNASSIGNED
    model_id: str = UNASSIGNED
    signature_type: SignatureType | str
    data_modality: DataModality | str
    data_domain: str
    data_encoding: str
    receive_format: ReceiveFormat | str
    http_location: HttpLocation | str
    hidden: bool
    display_title: str
    default_value: str | None = None
    parameters: Sequence[ModelParam] = ()
    transforms: Sequence[SignatureTransform] = ()
    signature_args: Mapping[str, str] = attrs.field(factory=dict, hash=False)


@attrs.frozen(kw_only=True)
class ModelPreview(NormanObject):
    """What a list shows of one version of a model."""

    id: str = UNASSIGNED
    account_id: str
    model_base_id: str = UNASSIGNED
    version_label: str
    active: bool = True
    build_status: BuildStatus | str | None = None
    creation_time: Timestamp | None = None
    short_description: str
    assets: Sequence[ModelAsset] = ()
    tags: Sequence[AggregateTag] = ()


@attrs.frozen(kw_only=True)
class Model(ModelPreview):
    """One version of a model, with all that there is to know of it."""

    name: str
    model_class: str
    url: str | None = None
    request_type: RequestType | str
    model_type: ModelType | str
    hosting_location: HostingLocation | str
    output_format: OutputFormat | str
    long_description: str
    inputs: Sequence[ModelSignature] = ()
    outputs: Sequence[ModelSignature] = ()
    http_headers: Mapping[str, str] = attrs.field(factory=dict, hash=False, repr=False)  # may hold a key
    user_added_tags: Sequence[ModelTag] = ()


@attrs.frozen(kw_only=True)
class ModelBase(NormanObject):
    """A model over all its versions."""

    id: str
    account_id: str
    name: str
    invocation_count: int
    model_previews: Sequence[ModelPreview] = ()


# Invocations


@attrs.frozen(kw_only=True)
class InvocationSignature(NormanObject):
    """One input or output of one invocation."""

    id: str = UNASSIGNED
    account_id: str
    model_id: str
    signature_id: str
    invocation_id: str = UNASSIGNED
    display_title: str = ""


@attrs.frozen(kw_only=True)
class Invocation(NormanObject):
    """One run of a model."""

    id: str = UNASSIGNED
    account_id: str
    model_id: str
    creation_time: Timestamp | None = None
    inputs: Sequence[InvocationSignature] = ()
    outputs: Sequence[InvocationSignature] = ()


@attrs.frozen(kw_only=True)
class InvocationHistory(NormanObject):
    """What the history keeps of an invocation."""

    id: str
    account_id: str
    model_id: str
    asset_id: str | None = None  # the service's own client reads these entries as plain invocations
    creation_time: Timestamp | None = None
    model_name: str | None = None
    flag_value: FlagValue | int | None = None


@attrs.frozen(kw_only=True)
class StatusFlag(NormanObject):
    """How far one step of one entity is."""

    id: str = UNASSIGNED
    account_id: str
    entity_id: str
    update_time: Timestamp | None = None
    flag_name: FlagName | str
    flag_value: FlagValue | int


@attrs.frozen(kw_only=True)
class Notification(NormanObject):
    """What the service has to say about an entity; `read_status` is 0 for unread and 1 for read."""

    id: str
    account_id: str
    entity_id: str
    creation_time: Timestamp | None = None
    model_name: str | None = None
    title: str
    message: str
    read_status: int
    severity: Severity | str


# Files


@attrs.frozen(kw_only=True)
class SocketAssetPairingRequest(NormanObject):
    """Asks for a connection over which an asset may be pushed."""

    account_id: str
    model_id: str
    file_size_in_bytes: int
    asset_id: str


@attrs.frozen(kw_only=True)
class SocketInputPairingRequest(NormanObject):
    """Asks for a connection over which an input may be pushed."""

    account_id: str
    model_id: str
    file_size_in_bytes: int
    invocation_id: str
    input_id: str


@attrs.frozen(kw_only=True)
class SocketPairingResponse(NormanObject):
    """Where to push to and with which keys; good for one connection and one body."""

    pairing_id: str
    host: str
    port: int
    encryption_key: Secret
    nonce: Secret
    authentication_header: Secret


@attrs.frozen(kw_only=True)
class ChecksumRequest(NormanObject):
    """Ends a push: XXH3-64 of the plain body in 16 hexadecimal digits."""

    pairing_id: str
    checksum: str


@attrs.frozen(kw_only=True)
class DownloadRequest(NormanObject):
    """Links that the service itself fetches."""

    account_id: str
    model_id: str
    links: Sequence[str] = attrs.field(repr=False)  # they may be signed


@attrs.frozen(kw_only=True)
class AssetDownloadRequest(DownloadRequest):
    """Links to an asset."""

    asset_id: str
    asset_name: str


@attrs.frozen(kw_only=True)
class InputDownloadRequest(DownloadRequest):
    """Links to an input."""

    signature_id: str
    invocation_id: str
    input_id: str


@attrs.frozen(kw_only=True)
class OutputDownloadRequest(DownloadRequest):
    """Links to an output."""

    signature_id: str
    invocation_id: str
    output_id: str


@attrs.frozen(kw_only=True)
class TrackedDownload(NormanObject):
    """How far the service is with fetching a link. `entity_type` tells which of the last four there are."""

    download_request: DownloadRequest
    file_link: str = attrs.field(repr=False)
    model: Model
    entity_type: str
    downloaded_bytes: int = 0
    total_bytes: int = 0
    file_checksum: str = ""
    asset: ModelAsset | None = None
    invocation: Invocation | None = None
    invocation_input: InvocationSignature | None = None
    invocation_output: InvocationSignature | None = None
