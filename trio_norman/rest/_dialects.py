"""Which dialect a service speaks: told by the user, or found out by the first question that is asked anyway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeVar

import attrs
import trio

from .._sansio.redaction import Secret
from .._sansio.settings import Settings
from .._wire._client import JsonAnswer, JsonClient
from .._wire._errors import InnerFramesForgotten
from ..errors import ConfigurationError, MalformedResponseError, RedirectError, ServiceError, TrioNormanError
from . import _classic, _v1
from ._calls import Call, Dialect
from ._models import Model, UserInfo

M = TypeVar("M", bound=Model)

Api = Literal["auto", "classic", "v1"]
DIALECTS: Mapping[str, Dialect] = {"v1": _v1, "classic": _classic}  # in the order in which they are tried
#: Statuses by which a server says that it has nothing at an address. Source: RFC 9110, section 15.
_NOTHING_THERE = frozenset({404, 405, 410, 501})


@attrs.frozen(eq=False)
class Asking:
    """Calls of one service in one dialect."""

    json: JsonClient
    dialect: Dialect

    async def ask(self, call: Call[M], **known: Secret) -> tuple[M, JsonAnswer]:
        """Make one call; give its object and the answer that it came in.

        Args:
            call: What to ask.
            **known: Fields that are put into the answer because the service does not repeat them.
        """
        answer = await self.json.call("GET", call.path, call.query)
        if isinstance(answer.document, dict):
            for name, value in known.items():
                answer.document[name] = value.reveal()
        with InnerFramesForgotten():
            return self._read(call, answer), answer

    def _read(self, call: Call[M], answer: JsonAnswer) -> M:
        url, request_id, read = answer.url, answer.request_id, self.dialect.SPELLING.read
        found = read(call.kind, answer.document, method="GET", url=url, request_id=request_id)
        try:
            return found if call.finish is None else call.finish(found)
        except ValueError as error:
            raise MalformedResponseError("GET", url, error.args, request_id) from None


@attrs.define(eq=False)
class Choice:
    """The dialect of a service, found out once for all clients that share this choice.

    Who opens a client asks whose key it is, and that is the question by which the dialect shows: finding it out costs
    one more request at most.
    """

    api: Api
    _found: dict[str, Dialect] = attrs.field(init=False, factory=dict)  # by the service's root
    _searching: trio.Lock = attrs.field(init=False, factory=trio.Lock)

    async def introduce(self, json: JsonClient, settings: Settings) -> tuple[Asking, UserInfo]:
        """Ask whose key it is, in the right dialect, or in each until one is understood.

        Raises:
            ConfigurationError: If the service speaks none of them; it says what was tried.
            TransportError: If no whole answer came.
            ServiceError: If the key is refused, or the service fails.
        """
        if settings.base_url not in self._found:
            async with self._searching:
                if settings.base_url not in self._found:  # else it was found while we waited
                    return await self._try_each(json, settings)
        return await _asked(self._found[settings.base_url], json, settings)

    async def _try_each(self, json: JsonClient, settings: Settings) -> tuple[Asking, UserInfo]:
        tried = []
        for name, dialect in DIALECTS.items():
            if self.api not in {"auto", name}:
                continue
            try:
                found = await _asked(dialect, json, settings)
            except (ServiceError, MalformedResponseError, RedirectError) as error:
                if not is_another_language(error):
                    raise
                tried.append(f"{name}: {error}")
            else:
                self._found[settings.base_url] = dialect
                return found
        which = "no dialect that is known" if self.api == "auto" else f"not the dialect {self.api}"
        raise ConfigurationError(f"the service speaks {which}", f"check the base URL; tried {'; '.join(tried)}")


def is_another_language(error: TrioNormanError) -> bool:
    """Whether an error means that the server does not know the question, rather than that it answers no."""
    if isinstance(error, ServiceError):
        return error.status in _NOTHING_THERE or 300 <= error.status < 400
    return isinstance(error, MalformedResponseError | RedirectError)


async def _asked(dialect: Dialect, json: JsonClient, settings: Settings) -> tuple[Asking, UserInfo]:
    json.door.sends_bearer = dialect.SENDS_BEARER
    asking = Asking(json, dialect)
    user_info, _ = await asking.ask(dialect.who_am_i(), api_key=settings.api_key)
    return asking, user_info
