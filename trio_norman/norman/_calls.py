"""The 44 calls of the service, as plain descriptions: what to ask, and what comes back. No I/O.

Slashes at the end of a path count. Source: wire/norman, section 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import attrs

from .._sansio.redaction import REDACTED, Secret
from .._sansio.routes import bounded, segment
from ._constraints import QueryConstraints
from ._converter import to_wire
from ._models import (
    Account,
    AssetDownloadRequest,
    AuthenticationFactors,
    ChecksumRequest,
    InputDownloadRequest,
    Invocation,
    InvocationHistory,
    LoginResponse,
    Model,
    ModelBase,
    ModelPreview,
    Notification,
    OutputDownloadRequest,
    SignupKeyResponse,
    SocketAssetPairingRequest,
    SocketInputPairingRequest,
    SocketPairingResponse,
    StatusFlag,
    TrackedDownload,
)

T = TypeVar("T")


@attrs.frozen
class Call(Generic[T]):
    """One request and the kind of its answer.

    Args:
        kind: Type of the answer; None where there is none worth reading.
        body: JSON value of the request, None for an empty body.
        is_repeatable: Whether asking twice does no more than asking once.
        needs_token: Whether it is made in the name of an account.
        secrets: Those in the body and in the path, which an error must not repeat.
        shown_path: What errors show in place of a path that holds a secret.
    """

    method: str
    path: str = attrs.field(repr=False)
    kind: Any = None
    body: Any = attrs.field(default=None, repr=False)
    is_repeatable: bool = False
    needs_token: bool = True
    secrets: tuple[Secret, ...] = ()
    shown_path: str = ""


Text = str | Secret


def _plain(text: Text | None) -> str | None:
    return None if text is None else Secret(text).reveal()


def _listed(constraints: QueryConstraints | None) -> Any:
    return None if constraints is None else constraints.to_dict()


def _found(path: str, kind: Any, constraints: QueryConstraints | None) -> Call[Any]:
    return Call("POST", path, kind, _listed(constraints), is_repeatable=True)


# Signup and login


def _anonymous(method: str, path: str, kind: Any, body: Any, *secrets: Text, repeatable: bool = False) -> Call[Any]:
    hidden = tuple(map(Secret, secrets))
    return Call(method, path, kind, body, is_repeatable=repeatable, needs_token=False, secrets=hidden)


def signup_default() -> Call[LoginResponse]:
    """Describe the making of an anonymous account."""
    return _anonymous("PUT", "authenticate/signup/default", LoginResponse, None)


def signup_key(name: str, device_id: str | None) -> Call[SignupKeyResponse]:
    """Describe the making of an account that logs in with a key."""
    body = {"device_id": device_id, "name": name}
    return _anonymous("PUT", "authenticate/signup/key", SignupKeyResponse, body)


def signup_password(name: str, password: Text, device_id: str | None) -> Call[Account]:
    """Describe the making of an account that logs in with a password."""
    body = {"device_id": device_id, "name": name, "password": _plain(password)}
    return _anonymous("PUT", "authenticate/signup/password", Account, body, password)


def signup_email(name: str, email: str, device_id: str | None) -> Call[Account]:
    """Describe the making of an account that logs in by e-mail."""
    body = {"device_id": device_id, "name": name, "email": email}
    return _anonymous("PUT", "authenticate/signup/email", Account, body)


def _login(path: str, body: Any, *secrets: Text) -> Call[LoginResponse]:
    return _anonymous("POST", f"authenticate/login/{path}", LoginResponse, body, *secrets, repeatable=True)


def login_default(account_id: str) -> Call[LoginResponse]:
    """Describe the login of an anonymous account."""
    return _login(f"default/{segment(account_id, what='account_id')}", None)


def login_key(api_key: Text) -> Call[LoginResponse]:
    """Describe a login with a key."""
    return _login("key", {"api_key": _plain(api_key)}, api_key)


def login_password_account_id(account_id: str, password: Text) -> Call[LoginResponse]:
    """Describe a login with account id and password."""
    return _login("password/account_id", {"account_id": account_id, "password": _plain(password)}, password)


def login_password_name(name: str, password: Text) -> Call[LoginResponse]:
    """Describe a login with name and password."""
    return _login("password/name", {"name": name, "password": _plain(password)}, password)


def login_password_email(email: str, password: Text) -> Call[LoginResponse]:
    """Describe a login with e-mail address and password."""
    return _login("password/email", {"email": email, "password": _plain(password)}, password)


def login_email_otp(email: str) -> Call[None]:
    """Describe the sending of a code to an e-mail address."""
    return _anonymous("POST", "authenticate/login/email/otp", None, {"email": email})


def login_email_otp_verify(email: str, code: Text) -> Call[LoginResponse]:
    """Describe a login with the code that came by e-mail; a code is good once."""
    body = {"email": email, "code": _plain(code)}
    return _anonymous("POST", "authenticate/login/email/otp/verify", LoginResponse, body, code)


# Register and accounts


def factors(account_id: str) -> Call[AuthenticationFactors]:
    """Describe the question by what an account can log in."""
    path = f"authenticate/register/get/authentication/factors/{segment(account_id, what='account_id')}"
    return Call("GET", path, AuthenticationFactors, is_repeatable=True)


def _registered(path: str, kind: Any, account_id: str, second_token: Text | None, **more: Text) -> Call[Any]:
    body = {"account_id": account_id, "second_token": _plain(second_token)}
    secrets = [each for name, each in (("second_token", second_token), *more.items()) if each and name != "email"]
    body |= {name: _plain(each) for name, each in more.items()}
    return Call("POST", f"authenticate/{path}", kind, body, secrets=tuple(map(Secret, secrets)))


def generate_key(account_id: str, second_token: Text | None) -> Call[Secret]:
    """Describe the making of a further key."""
    return _registered("generate/key", Secret, account_id, second_token)


def register_password(account_id: str, password: Text, second_token: Text | None) -> Call[None]:
    """Describe the setting of a password."""
    return _registered("register/password", None, account_id, second_token, password=password)


def register_email(account_id: str, email: str, second_token: Text | None) -> Call[None]:
    """Describe the adding of an e-mail address."""
    return _registered("register/email", None, account_id, second_token, email=email)


def verify_email(email: str, code: Text) -> Call[None]:
    """Describe the proof that an e-mail address is ours."""
    secret, place = Secret(code), f"authenticate/register/email/verify/{segment(email, what='email')}"
    path = f"{place}/{segment(secret.reveal(), what='code')}"
    return Call("POST", path, secrets=(secret,), shown_path=f"{place}/{REDACTED}")


def resend_email_otp(account_id: str, email: str, second_token: Text | None) -> Call[None]:
    """Describe the sending of another code."""
    return _registered("register/email/resend/otp", None, account_id, second_token, email=email)


def get_accounts(constraints: QueryConstraints | None) -> Call[Mapping[str, Account]]:
    """Describe a list of accounts."""
    return _found("authenticate/accounts/get", Mapping[str, Account], constraints)


def create_accounts(accounts: Sequence[Account]) -> Call[Sequence[Account]]:
    """Describe the making of accounts."""
    return Call("POST", "authenticate/accounts", Sequence[Account], to_wire(list(accounts)))


def replace_accounts(accounts: Sequence[Account]) -> Call[int]:
    """Describe the replacing of accounts."""
    return Call("PUT", "authenticate/accounts", int, to_wire(list(accounts)), is_repeatable=True)


def update_accounts(changes: Mapping[str, Any], constraints: QueryConstraints | None) -> Call[int]:
    """Describe a change of some fields of accounts; only these fields are sent."""
    body = {"account": to_wire(dict(changes)), "constraints": _listed(constraints)}
    return Call("PATCH", "authenticate/accounts", int, body)


# Persist


def create_models(models: Sequence[Model]) -> Call[Sequence[Model]]:
    """Describe the making of models; they come back in the same order with their ids."""
    return Call("POST", "persist/models/", Sequence[Model], to_wire(list(models)))


def get_models(constraints: QueryConstraints | None) -> Call[Mapping[str, Model]]:
    """Describe a list of models."""
    return _found("persist/models/get", Mapping[str, Model], constraints)


def upgrade_models(models: Sequence[Model]) -> Call[Sequence[Model]]:
    """Describe the making of new versions."""
    return Call("POST", "persist/models/version", Sequence[Model], to_wire(list(models)))


def replace_models(models: Sequence[Model]) -> Call[Sequence[Model]]:
    """Describe the replacing of models."""
    return Call("PATCH", "persist/models/", Sequence[Model], to_wire(list(models)))


def set_active_models(previews: Sequence[ModelPreview]) -> Call[Sequence[ModelPreview]]:
    """Describe which versions shall be the active ones."""
    return Call("PATCH", "persist/models/version", Sequence[ModelPreview], to_wire(list(previews)), is_repeatable=True)


def delete_models(constraints: QueryConstraints) -> Call[int]:
    """Describe the deletion of all models that the constraints keep."""
    return Call("DELETE", "persist/models/", int, constraints.to_dict())


def get_model_bases(constraints: QueryConstraints | None) -> Call[Mapping[str, ModelBase]]:
    """Describe a list of models over their versions."""
    return _found("persist/models/bases/get", Mapping[str, ModelBase], constraints)


def create_invocations_by_name(counts: Mapping[str, int]) -> Call[Sequence[Invocation]]:
    """Describe the making of invocations, so many for each model's name."""
    body = {name: bounded(count, at_least=1, what="count") for name, count in counts.items()}
    return Call("POST", "persist/invocations/by-name", Sequence[Invocation], body)


def create_invocations(invocations: Sequence[Invocation]) -> Call[Sequence[Invocation]]:
    """Describe the making of invocations."""
    return Call("POST", "persist/invocations", Sequence[Invocation], to_wire(list(invocations)))


def get_invocations(constraints: QueryConstraints | None) -> Call[Mapping[str, Invocation]]:
    """Describe a list of invocations."""
    return _found("persist/invocations/get", Mapping[str, Invocation], constraints)


def get_invocation_history(constraints: QueryConstraints | None) -> Call[Mapping[str, InvocationHistory]]:
    """Describe the history of invocations; its path has no plural."""
    return _found("persist/invocation/history/get", Mapping[str, InvocationHistory], constraints)


def get_flags(constraints: QueryConstraints | None) -> Call[Mapping[str, Sequence[StatusFlag]]]:
    """Describe a list of flags by the ids of their entities."""
    return _found("persist/flags/get", Mapping[str, Sequence[StatusFlag]], constraints)


def get_notifications(constraints: QueryConstraints | None) -> Call[Sequence[Notification]]:
    """Describe a list of notifications."""
    return _found("persist/notifications/get", Sequence[Notification], constraints)


# Files


def pair_asset(request: SocketAssetPairingRequest) -> Call[SocketPairingResponse]:
    """Describe the pairing for an asset; one that is not used does no harm."""
    path = "file-push/socket/pair/asset"
    return Call("POST", path, SocketPairingResponse, to_wire(request), is_repeatable=True)


def pair_input(request: SocketInputPairingRequest) -> Call[SocketPairingResponse]:
    """Describe the pairing for an input; one that is not used does no harm."""
    path = "file-push/socket/pair/input"
    return Call("POST", path, SocketPairingResponse, to_wire(request), is_repeatable=True)


def complete(request: ChecksumRequest) -> Call[None]:
    """Describe the end of a push."""
    return Call("POST", "file-push/socket/complete", body=to_wire(request))


def submit_asset_links(request: AssetDownloadRequest) -> Call[Sequence[str]]:
    """Describe links to an asset."""
    return Call("POST", "file-pull/upload/assets", Sequence[str], to_wire(request))


def submit_input_links(request: InputDownloadRequest) -> Call[Sequence[str]]:
    """Describe links to an input."""
    return Call("POST", "file-pull/upload/inputs", Sequence[str], to_wire(request))


def submit_output_links(request: OutputDownloadRequest) -> Call[Sequence[str]]:
    """Describe links to an output."""
    return Call("POST", "file-pull/upload/outputs", Sequence[str], to_wire(request))


def download_metadata(entity_id: str) -> Call[TrackedDownload]:
    """Describe the question how far the service is with fetching a link."""
    path = f"file-pull/metadata/{segment(entity_id, what='entity_id')}"
    return Call("GET", path, TrackedDownload, is_repeatable=True)


def _retrieved(kind: str, **ids: str) -> str:
    return "/".join([f"retrieve/{kind}", *(segment(each, what=name) for name, each in ids.items())])


def model_asset(account_id: str, model_id: str, asset_id: str) -> str:
    """Return the path of an asset's bytes."""
    return _retrieved("asset", account_id=account_id, model_id=model_id, asset_id=asset_id)


def invocation_input(account_id: str, model_id: str, invocation_id: str, input_id: str) -> str:
    """Return the path of an input's bytes."""
    ids = {"account_id": account_id, "model_id": model_id, "invocation_id": invocation_id}
    return _retrieved("input", **ids, input_id=input_id)


def invocation_output(account_id: str, model_id: str, invocation_id: str, output_id: str) -> str:
    """Return the path of an output's bytes."""
    ids = {"account_id": account_id, "model_id": model_id, "invocation_id": invocation_id}
    return _retrieved("output", **ids, output_id=output_id)
