"""The 44 calls: what goes over the wire, and what comes back from an emulator that was written from the same page."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from trio.testing import MockClock

from tests.norman.norman_opening import answer, asked, body_of, echo, model, open_in_memory
from trio_norman import Norman, QueryConstraints, Secret
from trio_norman.errors import (
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    ServiceError,
    UndecodableResponseError,
)
from trio_norman.norman import (
    Account,
    AssetDownloadRequest,
    ChecksumRequest,
    InputDownloadRequest,
    Invocation,
    InvocationSignature,
    OutputDownloadRequest,
    SocketAssetPairingRequest,
    SocketInputPairingRequest,
)
from trio_norman.norman import _calls as api

IDS: dict[str, Any] = {"account_id": "1", "model_id": "2"}
QC = QueryConstraints.equals("Models", "ID", "2")
WIRE_QC = QC.to_dict()
ADA = Account(name="ada")
RUN = Invocation(account_id="1", model_id="2")
WIRE_ADA = {"id": "0", "name": "ada"}
WIRE_RUN = {"id": "0", "account_id": "1", "model_id": "2", "inputs": [], "outputs": []}
SECOND = {"account_id": "1", "second_token": None}

#: Every call: what describes it, verb, path, body, and whether it carries a token.
TABLE: list[tuple[api.Call[Any] | str, str, str, Any, bool]] = [
    (api.signup_default(), "PUT", "authenticate/signup/default", None, False),
    (api.signup_key("a", None), "PUT", "authenticate/signup/key", {"device_id": None, "name": "a"}, False),
    (
        api.signup_password("a", "p", "d"),
        "PUT",
        "authenticate/signup/password",
        {"device_id": "d", "name": "a", "password": "p"},
        False,
    ),
    (
        api.signup_email("a", "e@x", None),
        "PUT",
        "authenticate/signup/email",
        {"device_id": None, "name": "a", "email": "e@x"},
        False,
    ),
    (api.login_default("1"), "POST", "authenticate/login/default/1", None, False),
    (api.login_key(Secret("k")), "POST", "authenticate/login/key", {"api_key": "k"}, False),
    (
        api.login_password_account_id("1", "p"),
        "POST",
        "authenticate/login/password/account_id",
        {"account_id": "1", "password": "p"},
        False,
    ),
    (
        api.login_password_name("a", "p"),
        "POST",
        "authenticate/login/password/name",
        {"name": "a", "password": "p"},
        False,
    ),
    (
        api.login_password_email("e@x", "p"),
        "POST",
        "authenticate/login/password/email",
        {"email": "e@x", "password": "p"},
        False,
    ),
    (api.login_email_otp("e@x"), "POST", "authenticate/login/email/otp", {"email": "e@x"}, False),
    (
        api.login_email_otp_verify("e@x", "7"),
        "POST",
        "authenticate/login/email/otp/verify",
        {"email": "e@x", "code": "7"},
        False,
    ),
    (api.factors("1"), "GET", "authenticate/register/get/authentication/factors/1", None, True),
    (api.generate_key("1", None), "POST", "authenticate/generate/key", SECOND, True),
    (
        api.register_password("1", "p", None),
        "POST",
        "authenticate/register/password",
        {**SECOND, "password": "p"},
        True,
    ),
    (
        api.register_email("1", "e@x", "t"),
        "POST",
        "authenticate/register/email",
        {**SECOND, "second_token": "t", "email": "e@x"},
        True,
    ),
    (api.verify_email("e+1@x.org", "7"), "POST", "authenticate/register/email/verify/e%2B1%40x.org/7", None, True),
    (
        api.resend_email_otp("1", "e@x", None),
        "POST",
        "authenticate/register/email/resend/otp",
        {**SECOND, "email": "e@x"},
        True,
    ),
    (api.get_accounts(None), "POST", "authenticate/accounts/get", None, True),
    (api.create_accounts([ADA]), "POST", "authenticate/accounts", [WIRE_ADA], True),
    (api.replace_accounts([ADA]), "PUT", "authenticate/accounts", [WIRE_ADA], True),
    (
        api.update_accounts({"name": "new"}, None),
        "PATCH",
        "authenticate/accounts",
        {"account": {"name": "new"}, "constraints": None},
        True,
    ),
    (api.create_models([]), "POST", "persist/models/", [], True),
    (api.get_models(QC), "POST", "persist/models/get", WIRE_QC, True),
    (api.upgrade_models([]), "POST", "persist/models/version", [], True),
    (api.replace_models([]), "PATCH", "persist/models/", [], True),
    (api.set_active_models([]), "PATCH", "persist/models/version", [], True),
    (api.delete_models(QC), "DELETE", "persist/models/", WIRE_QC, True),
    (api.get_model_bases(None), "POST", "persist/models/bases/get", None, True),
    (api.create_invocations_by_name({"m": 1}), "POST", "persist/invocations/by-name", {"m": 1}, True),
    (api.create_invocations([RUN]), "POST", "persist/invocations", [WIRE_RUN], True),
    (api.get_invocations(QC), "POST", "persist/invocations/get", WIRE_QC, True),
    (api.get_invocation_history(QC), "POST", "persist/invocation/history/get", WIRE_QC, True),
    (api.get_flags(QC), "POST", "persist/flags/get", WIRE_QC, True),
    (api.get_notifications(QC), "POST", "persist/notifications/get", WIRE_QC, True),
    (
        api.pair_asset(SocketAssetPairingRequest(**IDS, file_size_in_bytes=5, asset_id="3")),
        "POST",
        "file-push/socket/pair/asset",
        {**IDS, "file_size_in_bytes": 5, "asset_id": "3"},
        True,
    ),
    (
        api.pair_input(SocketInputPairingRequest(**IDS, file_size_in_bytes=5, invocation_id="3", input_id="4")),
        "POST",
        "file-push/socket/pair/input",
        {**IDS, "file_size_in_bytes": 5, "invocation_id": "3", "input_id": "4"},
        True,
    ),
    (
        api.complete(ChecksumRequest(pairing_id="9", checksum="00")),
        "POST",
        "file-push/socket/complete",
        {"pairing_id": "9", "checksum": "00"},
        True,
    ),
    (
        api.submit_asset_links(AssetDownloadRequest(**IDS, links=["l"], asset_id="3", asset_name="Logo")),
        "POST",
        "file-pull/upload/assets",
        {**IDS, "links": ["l"], "asset_id": "3", "asset_name": "Logo"},
        True,
    ),
    (
        api.submit_input_links(
            InputDownloadRequest(**IDS, links=["l"], signature_id="5", invocation_id="3", input_id="4")
        ),
        "POST",
        "file-pull/upload/inputs",
        {**IDS, "links": ["l"], "signature_id": "5", "invocation_id": "3", "input_id": "4"},
        True,
    ),
    (
        api.submit_output_links(
            OutputDownloadRequest(**IDS, links=["l"], signature_id="5", invocation_id="3", output_id="4")
        ),
        "POST",
        "file-pull/upload/outputs",
        {**IDS, "links": ["l"], "signature_id": "5", "invocation_id": "3", "output_id": "4"},
        True,
    ),
    (api.download_metadata("3"), "GET", "file-pull/metadata/3", None, True),
    (api.model_asset("1", "2", "3"), "GET", "retrieve/asset/1/2/3", None, True),
    (api.invocation_input("1", "2", "3", "4"), "GET", "retrieve/input/1/2/3/4", None, True),
    (api.invocation_output("1", "2", "3", "4"), "GET", "retrieve/output/1/2/3/4", None, True),
]


def test_there_are_44_calls_and_no_other() -> None:
    assert len(TABLE) == 44
    public = [
        name
        for name, thing in vars(api).items()
        if inspect.isfunction(thing) and not name.startswith("_") and thing.__module__ == api.__name__
    ]
    public = [name for name in public if name not in {"to_wire", "segment", "bounded"}]
    assert len(public) == 44


@pytest.mark.parametrize(("call", "method", "path", "body", "needs_token"), TABLE, ids=[row[2] for row in TABLE])
def test_a_call_is_described_as_the_page_says(
    call: api.Call[Any] | str, method: str, path: str, body: Any, needs_token: bool
) -> None:
    if isinstance(call, str):  # bytes, which are fetched and not read as an object
        assert (call, method) == (path, "GET")
        return
    assert (call.method, call.path, call.body, call.needs_token) == (method, path, body, needs_token)


def test_no_call_shows_its_body() -> None:
    assert "hunter2" not in repr(api.login_password_name("ada", "hunter2"))
    assert "hunter2" not in repr(api.register_password("1", "hunter2", "hunter2"))


@pytest.mark.parametrize("id_", ["", "..", "a/b", "\n"])
def test_ids_cannot_lead_elsewhere(id_: str) -> None:
    for describe in (api.login_default, api.factors, api.download_metadata):
        with pytest.raises(ConfigurationError):
            describe(id_)
    with pytest.raises(ConfigurationError):
        api.model_asset("1", id_, "3")


async def test_requests_look_as_the_service_expects_them(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, norman):
        await norman.persist.models.get_models()
        await norman.authenticate.register.get_authentication_factors((await norman.get_account()).id)
        login, models, factors = asked(emulator)
        assert "authorization" not in login.headers
        assert body_of(login) == {"api_key": emulator.norman_api_key}
        for request in (models, factors):
            assert request.headers["authorization"].startswith("Bearer ")
        for request in (login, models, factors):
            assert request.headers["content-type"] == "application/json"
            assert request.headers["accept-encoding"] == "identity"
        assert (models.headers["content-length"], models.body) == ("0", b"")


async def test_texts_of_all_scripts_are_sent_as_they_are(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, norman):
        await norman.authenticate.signup.signup_key("Zoë 漢")
        assert asked(emulator)[0].body == '{"device_id":null,"name":"Zoë 漢"}'.encode()


async def test_accounts_and_every_way_to_log_in(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, norman):
        signup, login, register = (
            norman.authenticate.signup,
            norman.authenticate.login,
            norman.authenticate.register,
        )
        anonymous = await signup.signup_default()
        assert anonymous.account is not None
        assert (await login.login_default(anonymous.account.id)).account == anonymous.account
        bob = await signup.signup_password("bob", "hunter2")
        assert (await login.login_password_name("bob", Secret("hunter2"))).account == bob
        assert (await login.login_password_account_id(bob.id, "hunter2")).account == bob
        with pytest.raises(AuthenticationError):
            await login.login_password_name("bob", "wrong")
        eve = await signup.signup_email("eve", "e+1@x.org")
        await login.login_email_otp("e+1@x.org")
        verified = await login.verify_email_otp("e+1@x.org", emulator.norman.accounts.codes["e+1@x.org"])
        assert verified.account == eve
        mine = (await norman.get_account()).id
        await register.register_password(mine, "another")
        await register.register_email(mine, "a+1@x.org")
        await register.resend_email_otp(mine, "a+1@x.org")
        await register.verify_email("a+1@x.org", emulator.norman.accounts.codes["a+1@x.org"])
        assert (await login.login_password_email("a+1@x.org", "another")).account is not None
        key = await register.generate_api_key(mine)
        assert (await login.login_key(key)).account == await norman.get_account()
        factors = await register.get_authentication_factors(mine)
        assert (factors.api_key_count, factors.password_count, factors.verified_email_count) == (2, 1, 1)


async def test_lists_of_accounts(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (_, norman):
        accounts, me = norman.authenticate.accounts, await norman.get_account()
        one = QueryConstraints.equals("Accounts", "ID", me.id)
        assert dict(await accounts.get_accounts(one)) == {me.id: me}
        assert await accounts.update_accounts({"name": "renamed"}, one) == 1
        assert (await accounts.get_accounts(one))[me.id].name == "renamed"
        with pytest.raises(ConfigurationError, match="fields are"):
            await accounts.update_accounts({"nmae": "x"}, one)
        made = await accounts.create_accounts([Account(name="carl")])
        assert made[0].name == "carl"
        assert await accounts.replace_accounts([me]) == 1


async def test_models_over_their_life(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (_, norman):
        models = norman.persist.models
        made = await norman.upload_model(model({"File": b"weights"}))
        one = QueryConstraints.equals("Models", "ID", made.id)
        assert (await models.get_models(one))[made.id].name == "shouter"
        second = (await models.upgrade_models([made]))[0]
        assert second.id != made.id
        active = await models.set_active_models([made])
        assert [each.id for each in active] == [made.id]
        assert [each.id for each in await models.replace_models([made])] == [made.id]
        bases = await norman.persist.model_bases.get_model_bases()
        assert {preview.id for preview in bases[made.model_base_id].model_previews} >= {made.id, second.id}
        assert await models.delete_models(one) == 1
        assert made.id not in await models.get_models()


async def test_invocations_flags_history_notifications_and_files(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, norman):
        invocations, push, pull = norman.persist.invocations, norman.file_push, norman.file_pull
        run = (await invocations.create_invocations_by_model_names({"echo": 1}))[0]
        entry = run.inputs[0]
        ids: dict[str, Any] = {"account_id": run.account_id, "model_id": run.model_id}
        assert (await invocations.get_invocations())[run.id] == run
        flags = await norman.persist.status_flags.get_status_flags(
            QueryConstraints.includes("Status_Flags", "Entity_ID", [run.id, entry.id])
        )
        assert set(flags) == {run.id, entry.id}
        pairing = await push.allocate_socket_for_input(
            SocketInputPairingRequest(**ids, file_size_in_bytes=3, invocation_id=run.id, input_id=entry.id)
        )
        assert "<redacted>" in repr(pairing)
        with pytest.raises(ServiceError, match="no connection"):
            await push.complete_file_transfer(ChecksumRequest(pairing_id=pairing.pairing_id, checksum="00"))
        said = await norman.persist.notifications.get_notifications()
        assert [each.entity_id for each in said] == [entry.id]
        link = emulator.upload("in.txt", b"abc")
        request = InputDownloadRequest(
            **ids, links=[link], signature_id=entry.signature_id, invocation_id=run.id, input_id=entry.id
        )
        assert list(await pull.submit_input_links(request)) == [link]
        tracked = await pull.get_download_metadata(entry.id)
        assert (tracked.entity_type, tracked.file_link) == ("Input", link)
        assert link not in repr(tracked)
        history = await invocations.get_invocation_history()
        assert history[run.id].model_name == "echo"
        copy = Invocation(
            account_id=run.account_id,
            model_id=run.model_id,
            inputs=[InvocationSignature(**ids, signature_id=entry.signature_id)],
            outputs=[InvocationSignature(**ids, signature_id=run.outputs[0].signature_id)],
        )
        assert (await invocations.create_invocations([copy]))[0].id not in {"0", run.id}


async def test_an_answer_that_nobody_reads_may_be_empty(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, norman):
        mine = (await norman.get_account()).id
        emulator.misbehave("/v0/authenticate/register/password", status=200, body=b"")
        await norman.authenticate.register.register_password(mine, "another")
        emulator.misbehave("/v0/persist/models/get", status=200, body=b"")
        with pytest.raises(UndecodableResponseError):
            await norman.persist.models.get_models()


async def test_calls_that_only_read_are_repeated_and_others_are_not(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (emulator, norman):
        emulator.misbehave("/v0/persist/models/get", status=503, times=2)
        assert await norman.persist.models.get_models()
        assert len(asked(emulator, "/models/get")) == 3
        emulator.misbehave("/v0/persist/invocations/by-name", status=503, times=1)
        with pytest.raises(ServiceError):
            await norman.persist.invocations.create_invocations_by_model_names({"echo": 1})
        assert len(asked(emulator, "by-name")) == 1


async def test_an_error_tells_all_that_the_service_says(autojump_clock: MockClock) -> None:
    body = (
        '{"status_code": 404, "error_type": "not_found", "message": "no model", "cause": "deleted",'
        ' "suggestions": ["look at the list"]}'
    )
    async with open_in_memory() as (emulator, norman):
        for text in (body, f'{{"detail": {body}}}'):
            emulator.misbehave("/v0/persist/models/get", status=404, body=text, times=1)
            with pytest.raises(NotFoundError) as caught:
                await norman.persist.models.get_models()
            error = caught.value
            assert (error.code, error.message, error.cause) == ("not_found", "no model", "deleted")
            assert error.suggestions == ("look at the list",)
            assert "look at the list" in str(error)


def test_a_norman_says_whether_it_is_open() -> None:
    assert repr(Norman("k", "http://127.0.0.1:1/v0")) == "<Norman, not open>"


async def test_an_echo_is_an_echo(autojump_clock: MockClock) -> None:
    async with open_in_memory() as (_, norman):
        assert await answer(norman, echo("hello")) == b"hello"
