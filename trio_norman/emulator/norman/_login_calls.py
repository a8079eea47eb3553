"""The calls about signup, login, factors and accounts."""

from __future__ import annotations

from typing import Any

from ._accounts import Account
from ._calls import Answers, Call
from ._refusals import forbidden
from ._service import NormanService
from ._shapes import Wire, read


def login_calls(service: NormanService) -> dict[str, Answers]:
    """Give the calls that need no token."""
    accounts = service.accounts

    def wish(shape: str, call: Call) -> Wire:
        return read(shape, call.body, service.clock.now())

    async def sign_up(call: Call) -> Any:
        return service.logged_in(accounts.create_anonymous())

    async def sign_up_with_key(call: Call) -> Any:
        account = accounts.create(wish("SignupKey", call)["name"])
        return {"account": account.shown, "api_key": accounts.add_key(account)}

    async def sign_up_with_password(call: Call) -> Any:
        wished = wish("SignupPassword", call)
        account = accounts.create(wished["name"])
        accounts.add_password(account, wished["password"])
        return account.shown

    async def sign_up_with_email(call: Call) -> Any:
        wished = wish("SignupEmail", call)
        account = accounts.create(wished["name"])
        accounts.add_email(account, wished["email"])
        return account.shown

    async def log_in(call: Call) -> Any:
        return service.logged_in(accounts.without_proof(call.part("account_id")))

    async def log_in_with_key(call: Call) -> Any:
        return service.logged_in(accounts.with_key(wish("LoginKey", call)["api_key"]))

    def with_password(shape: str, field: str) -> Answers:
        async def log_in_with_password(call: Call) -> Any:
            wished = wish(shape, call)
            return service.logged_in(accounts.with_password(field, wished[field], wished["password"]))

        return log_in_with_password

    async def send_code(call: Call) -> Any:
        accounts.send_code(wish("Email", call)["email"])

    async def log_in_with_code(call: Call) -> Any:
        wished = wish("EmailCode", call)
        return service.logged_in(accounts.with_code(wished["email"], wished["code"]))

    return {
        "PUT authenticate/signup/default": sign_up,
        "PUT authenticate/signup/key": sign_up_with_key,
        "PUT authenticate/signup/password": sign_up_with_password,
        "PUT authenticate/signup/email": sign_up_with_email,
        "POST authenticate/login/default/{account_id}": log_in,
        "POST authenticate/login/key": log_in_with_key,
        "POST authenticate/login/password/account_id": with_password("LoginPasswordId", "account_id"),
        "POST authenticate/login/password/name": with_password("LoginPasswordName", "name"),
        "POST authenticate/login/password/email": with_password("LoginPasswordEmail", "email"),
        "POST authenticate/login/email/otp": send_code,
        "POST authenticate/login/email/otp/verify": log_in_with_code,
    }


def account_calls(service: NormanService) -> dict[str, Answers]:
    """Give the calls about an account of one's own."""
    accounts = service.accounts

    def own(call: Call, account_id: str) -> Account:
        if account_id != call.account_id:
            raise forbidden("this is another account")
        return accounts.find(account_id)

    def wish(shape: str, call: Call) -> tuple[Account, Wire]:
        wished = read(shape, call.body, service.clock.now())
        return own(call, wished["account_id"]), wished

    async def get_factors(call: Call) -> Any:
        return accounts.factors(own(call, call.part("account_id")))

    async def generate_key(call: Call) -> Any:
        return accounts.add_key(wish("Second", call)[0])

    async def register_password(call: Call) -> Any:
        account, wished = wish("SecondPassword", call)
        accounts.add_password(account, wished["password"])

    async def register_email(call: Call) -> Any:
        account, wished = wish("SecondEmail", call)
        accounts.add_email(account, wished["email"])

    async def verify_email(call: Call) -> Any:
        accounts.verify_email(accounts.find(call.account_id), call.part("email"), call.part("code"))

    async def resend_code(call: Call) -> Any:
        accounts.send_code(wish("SecondEmail", call)[1]["email"])

    async def get_accounts(call: Call) -> Any:
        return accounts.chosen(call.account_id, call.body)

    async def create_accounts(call: Call) -> Any:
        return accounts.create_all(call.body)

    async def replace_accounts(call: Call) -> Any:
        return accounts.replace(call.account_id, call.body)

    async def change_accounts(call: Call) -> Any:
        return accounts.change(call.account_id, call.body)

    return {
        "GET authenticate/register/get/authentication/factors/{account_id}": get_factors,
        "POST authenticate/generate/key": generate_key,
        "POST authenticate/register/password": register_password,
        "POST authenticate/register/email": register_email,
        "POST authenticate/register/email/verify/{email}/{code}": verify_email,
        "POST authenticate/register/email/resend/otp": resend_code,
        "POST authenticate/accounts/get": get_accounts,
        "POST authenticate/accounts": create_accounts,
        "PUT authenticate/accounts": replace_accounts,
        "PATCH authenticate/accounts": change_accounts,
    }
