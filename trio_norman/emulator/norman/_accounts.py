"""Accounts and what proves that somebody owns one: keys, passwords, verified e-mail addresses."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import attrs

from .._clock import WallClock, iso_date
from ._identifiers import IdentifierMaker
from ._queries import chosen
from ._refusals import RefusedError, forbidden, invalid, not_found
from ._shapes import Wire, read, read_list

_KEY_LENGTH = 112  # characters


@attrs.define(eq=False)
class Account:
    """One account with its factors."""

    shown: Wire
    is_anonymous: bool = False
    keys: int = 0
    passwords: list[bytes] = attrs.field(factory=list, repr=False)
    emails: list[str] = attrs.field(factory=list)
    pending_emails: list[str] = attrs.field(factory=list)


@attrs.define(eq=False)
class Accounts:
    """All accounts. `codes` holds the last code that was "sent" to each e-mail address."""

    seed: int
    clock: WallClock
    identifiers: IdentifierMaker
    codes: dict[str, str] = attrs.field(factory=dict, init=False)
    _held: dict[str, Account] = attrs.field(factory=dict, init=False)
    _keys: dict[str, str] = attrs.field(factory=dict, init=False, repr=False)  # key -> account id
    _secrets: int = attrs.field(default=0, init=False)  # how many were made

    def create(self, name: str, *, is_anonymous: bool = False) -> Account:
        """Make an account; raises `RefusedError` for a name that is taken, or none."""
        if not name.strip():
            raise invalid("a name must not be empty")
        if any(account.shown["name"] == name for account in self._held.values()):
            raise invalid("the name is taken", f"there is an account {name!r} already")
        account_id = self.identifiers.next()
        shown = {"id": account_id, "creation_time": iso_date(self.clock.now()), "name": name}
        self._held[account_id] = account = Account(shown, is_anonymous)
        return account

    def create_anonymous(self) -> Account:
        """Make an account that has no factors; its identifier opens it."""
        return self.create(f"anonymous-{len(self._held)}", is_anonymous=True)

    def find(self, account_id: str) -> Account:
        """Give an account; raises `RefusedError`."""
        if account_id not in self._held:
            raise not_found("account", account_id)
        return self._held[account_id]

    def add_key(self, account: Account, key: str | None = None) -> str:
        """Give an account one more key."""
        key = key or "nrm_sk_" + self._secret()[: _KEY_LENGTH - 7]
        self._keys[key] = account.shown["id"]
        account.keys += 1
        return key

    def with_key(self, key: str) -> Account:
        """Give the account that a key opens; raises `RefusedError`."""
        if key not in self._keys:
            raise _refused("the API key is not known")
        return self._held[self._keys[key]]

    def with_password(self, field: str, value: str, password: str) -> Account:
        """Give the account that a password opens; `field` is ``account_id``, ``name`` or ``email``."""
        for account in self._held.values():
            mine = {"account_id": [account.shown["id"]], "name": [account.shown["name"]], "email": account.emails}
            if value in mine[field] and any(hmac.compare_digest(_hashed(password), each) for each in account.passwords):
                return account
        raise _refused("the password does not match")

    def with_code(self, email: str, code: str) -> Account:
        """Give the account that a code sent to its e-mail address opens; it opens it once."""
        for account in self._held.values():
            if email in account.emails + account.pending_emails and self._take_code(email, code):
                self._verify(account, email)
                return account
        raise _refused("the code does not match")

    def without_proof(self, account_id: str) -> Account:
        """Give an anonymous account; raises `RefusedError` for any other."""
        account = self._held.get(account_id)
        if account is None or not account.is_anonymous:
            raise _refused("the account needs a key, a password or a code")
        return account

    def add_password(self, account: Account, password: str) -> None:
        """Give an account one more password."""
        account.passwords.append(_hashed(password))
        account.is_anonymous = False

    def add_email(self, account: Account, email: str) -> None:
        """Give an account an e-mail address that is yet to be verified."""
        if "@" not in email:
            raise invalid("this is no e-mail address")
        account.pending_emails.append(email)
        account.is_anonymous = False
        self.send_code(email)

    def verify_email(self, account: Account, email: str, code: str) -> None:
        """Believe an address; raises `RefusedError` for a wrong code."""
        if email not in account.pending_emails or not self._take_code(email, code):
            raise invalid("the code does not match")
        self._verify(account, email)

    def send_code(self, email: str) -> None:
        """Make a code, as if it were sent; `codes` tells it."""
        self.codes[email] = str(int(self._secret()[:12], 16) % 1_000_000).rjust(6, "0")

    def factors(self, account: Account) -> Wire:
        """Count what proves that somebody owns an account."""
        return {
            "account_id": account.shown["id"],
            "api_key_count": account.keys,
            "password_count": len(account.passwords),
            "verified_email_count": len(account.emails),
        }

    def chosen(self, account_id: str, constraints: Any) -> dict[str, Wire]:
        """Give those of the caller's accounts, one, that constraints ask for."""
        return {row["id"]: row for row in chosen([self.find(account_id).shown], constraints)}

    def create_all(self, raw: object) -> list[Wire]:
        """Make accounts from a list; raises `RefusedError`."""
        return [self.create(wish["name"]).shown for wish in read_list("Account", raw, self.clock.now())]

    def replace(self, account_id: str, raw: object) -> int:
        """Put accounts in the place of others with the same identifiers; give their number."""
        wishes = read_list("Account", raw, self.clock.now())
        if any(wish["id"] != account_id for wish in wishes):
            raise forbidden("this is another account")
        for wish in wishes:
            self.find(account_id).shown |= wish
        return len(wishes)

    def change(self, account_id: str, raw: object) -> int:
        """Change the fields that are given, and not null, of the accounts that constraints ask for."""
        if not isinstance(raw, dict):
            raise invalid("account and constraints are expected")
        wish = read("AccountChange", raw.get("account"), self.clock.now())
        found = self.chosen(account_id, {"constraints": raw.get("constraints")})
        for row in found.values():
            row |= {name: value for name, value in wish.items() if value is not None}
        return len(found)

    def _verify(self, account: Account, email: str) -> None:
        if email in account.pending_emails:
            account.pending_emails.remove(email)
            account.emails.append(email)

    def _take_code(self, email: str, code: str) -> bool:
        if not hmac.compare_digest(self.codes.get(email, "").encode(), code.encode()) or not code:
            return False
        del self.codes[email]
        return True

    def _secret(self) -> str:
        self._secrets += 1
        return hashlib.shake_128(f"norman secret {self.seed} {self._secrets}".encode()).hexdigest(64)


def _hashed(password: str) -> bytes:
    return hashlib.blake2b(password.encode(), digest_size=32).digest()


def _refused(cause: str) -> RefusedError:
    return RefusedError("authentication", "the login is not accepted", cause, ["check the credentials"])
