"""``norman.authenticate``: accounts, signup, login, and what an account can log in by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from .._sansio.redaction import Secret
from ..errors import ConfigurationError
from . import _calls as api
from ._calls import Text
from ._constraints import QueryConstraints
from ._models import Account, AuthenticationFactors, LoginResponse, SignupKeyResponse
from ._services import Service


class Accounts(Service):
    """Accounts."""

    async def get_accounts(self, constraints: QueryConstraints | None = None) -> Mapping[str, Account]:
        """Return accounts by their ids: those that the constraints keep, or all that are visible."""
        return await self._ask(api.get_accounts(constraints))

    async def create_accounts(self, accounts: Sequence[Account]) -> Sequence[Account]:
        """Make accounts and return them with their ids."""
        return await self._ask(api.create_accounts(accounts))

    async def replace_accounts(self, accounts: Sequence[Account]) -> int:
        """Replace accounts and return how many were."""
        return await self._ask(api.replace_accounts(accounts))

    async def update_accounts(self, changes: Mapping[str, Any], constraints: QueryConstraints | None = None) -> int:
        """Change some fields, ``{"name": "new"}``, of the accounts that the constraints keep; return how many were.

        Raises:
            ConfigurationError: If there is no change, or a field that accounts do not have.
        """
        fields = {field.name for field in attrs.fields(Account)} - {"extra"}
        if not changes or not fields.issuperset(changes):
            raise ConfigurationError("no change of an account", f"its fields are {', '.join(sorted(fields))}")
        return await self._ask(api.update_accounts(changes, constraints))


class Signup(Service):
    """Making accounts. A call whose answer is lost may have made one: it is not repeated by itself."""

    async def signup_default(self) -> LoginResponse:
        """Make an anonymous account and log it in."""
        return await self._ask(api.signup_default())

    async def signup_key(self, name: str, device_id: str | None = None) -> SignupKeyResponse:
        """Make an account with a key, which cannot be had a second time."""
        return await self._ask(api.signup_key(name, device_id))

    async def signup_password(self, name: str, password: Text, device_id: str | None = None) -> Account:
        """Make an account with a password."""
        return await self._ask(api.signup_password(name, password, device_id))

    async def signup_email(self, name: str, email: str, device_id: str | None = None) -> Account:
        """Make an account with an e-mail address."""
        return await self._ask(api.signup_email(name, email, device_id))


class Login(Service):
    """Logging in. `Norman` does it by itself with its key; these calls are for programs that do it otherwise."""

    async def login_default(self, account_id: str) -> LoginResponse:
        """Log an anonymous account in."""
        return await self._ask(api.login_default(account_id))

    async def login_key(self, api_key: Text) -> LoginResponse:
        """Log in with a key."""
        return await self._ask(api.login_key(api_key))

    async def login_password_account_id(self, account_id: str, password: Text) -> LoginResponse:
        """Log in with account id and password."""
        return await self._ask(api.login_password_account_id(account_id, password))

    async def login_password_name(self, name: str, password: Text) -> LoginResponse:
        """Log in with name and password."""
        return await self._ask(api.login_password_name(name, password))

    async def login_password_email(self, email: str, password: Text) -> LoginResponse:
        """Log in with e-mail address and password."""
        return await self._ask(api.login_password_email(email, password))

    async def login_email_otp(self, email: str) -> None:
        """Have a code sent to an e-mail address."""
        await self._ask(api.login_email_otp(email))

    async def verify_email_otp(self, email: str, code: Text) -> LoginResponse:
        """Log in with the code that came by e-mail."""
        return await self._ask(api.login_email_otp_verify(email, code))


class Register(Service):
    """What an account can log in by: keys, passwords, e-mail addresses."""

    async def get_authentication_factors(self, account_id: str) -> AuthenticationFactors:
        """Return how many of each an account has."""
        return await self._ask(api.factors(account_id))

    async def generate_api_key(self, account_id: str, second_token: Text | None = None) -> Secret:
        """Make a further key, which cannot be had a second time."""
        return await self._ask(api.generate_key(account_id, second_token))

    async def register_password(self, account_id: str, password: Text, second_token: Text | None = None) -> None:
        """Set a password."""
        await self._ask(api.register_password(account_id, password, second_token))

    async def register_email(self, account_id: str, email: str, second_token: Text | None = None) -> None:
        """Add an e-mail address; a code is sent to it."""
        await self._ask(api.register_email(account_id, email, second_token))

    async def verify_email(self, email: str, code: Text) -> None:
        """Prove an e-mail address with the code that was sent to it."""
        await self._ask(api.verify_email(email, code))

    async def resend_email_otp(self, account_id: str, email: str, second_token: Text | None = None) -> None:
        """Have another code sent."""
        await self._ask(api.resend_email_otp(account_id, email, second_token))


class Authenticate(Service):
    """Accounts and how they log in."""

    @property
    def accounts(self) -> Accounts:
        """Accounts."""
        return Accounts(self._session)

    @property
    def signup(self) -> Signup:
        """Making accounts."""
        return Signup(self._session)

    @property
    def login(self) -> Login:
        """Logging in."""
        return Login(self._session)

    @property
    def register(self) -> Register:
        """What an account can log in by."""
        return Register(self._session)
