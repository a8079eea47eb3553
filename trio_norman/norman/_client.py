"""`Norman`: sign up, upload models, invoke them, and bring home what they stored."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Unpack

import trio

from .._lifetimes import Block, lone_error_unwrapped
from .._sansio.redaction import Secret
from .._sansio.retrying import RetryPolicy
from .._sansio.settings import checked_key, norman_root
from .._sansio.stalling import StallLimit
from .._sansio.times import Timestamp
from .._wire._connecting import ConnectionSettings
from ..errors import ConfigurationError, MalformedResponseError
from ..transfer import Downloads, download_many
from ..transfer._model import OnEvent, Options
from . import _calls as api
from ._authenticate import Authenticate
from ._building import check_model, model_of
from ._configs import InvocationConfig, ModelConfig, read_config
from ._downloads import Many, asset_sources, output_sources
from ._files import FilePull, FilePush
from ._invoking import OpenInvocation, Output, consumed, run_invocation
from ._models import Account, Invocation, Model, SignupKeyResponse
from ._persist import Persist
from ._providing import OnUpload, Provision, lost_answer_noted, orphans_noted, provide_all
from ._resolving import resolve
from ._retrieve import Retrieve
from ._session import Session, open_session
from ._waiting import check_limit, wait_until_finished

_HOW_TO_GIVE_A_KEY = "pass api_key=..., or set NORMAN_API_KEY; Norman.signup makes an account with a key"
LONGEST_WAIT = 1800.0  # seconds that a model's build or an invocation may take, unless the caller says otherwise


class Norman(Block):
    """The Norman service, for as long as the client's ``async with`` block lasts.

    ::

        async with Norman(api_key=key, base_url=url) as norman:
            config = {"model_name": "reverser", "inputs": [{"display_title": "Text", "data": "abc"}]}
            outputs = await norman.invoke(config)

    It owns a nursery, one pool of connections, and one access token for all its tasks: it logs in when the first call
    needs it, again a little before the token's end, and once for everybody when the service refuses it. Leaving the
    block ends what is under way; used outside its block it raises `trio.ClosedResourceError`.

    Args:
        api_key: The key. Without it: ``NORMAN_API_KEY``. Calls that need no account do without.
        base_url: Root of the API with its version, ``https://api.example.norman-ai.com/v0``. Without it:
            ``NORMAN_BASE_URL``; there is no default, since every account has its own.
        connection: How peers are reached.
        retry: Limits of trying again.
        stall: How long a peer may be silent while bytes are sent to it or received from it.
        max_uploads: Inputs and assets that are sent at the same time, over all tasks; at least 1.

    Raises:
        ConfigurationError: If a key or URL is given that cannot be one; when it is entered, if there is no URL.
        AddressError: If the URL is plain http to another machine.
    """

    _AGAIN = "a Norman is entered once; make another one"

    def __init__(
        self,
        api_key: str | Secret | None = None,
        base_url: str | None = None,
        *,
        connection: ConnectionSettings | None = None,
        retry: RetryPolicy | None = None,
        stall: StallLimit | None = None,
        max_uploads: int = 8,
    ) -> None:
        if max_uploads < 1:
            raise ValueError(f"'max_uploads' is at least 1, not {max_uploads}")
        self._connection = connection or ConnectionSettings()
        self._api_key = None if api_key is None else checked_key(api_key, advice=_HOW_TO_GIVE_A_KEY)
        allow_http = self._connection.allow_http
        self._root = None if base_url is None else norman_root(base_url, allow_http=allow_http)
        self._retry, self._stall, self._max_uploads = retry or RetryPolicy(), stall or StallLimit(), max_uploads
        self._state: Session | None = None
        super().__init__()
        self.authenticate = Authenticate(self._session)
        self.persist = Persist(self._session)
        self.file_push = FilePush(self._session)
        self.file_pull = FilePull(self._session)
        self.retrieve = Retrieve(self._session)

    def __repr__(self) -> str:
        return f"<Norman, {'not open' if self._state is None else f'open on {self._state.root}'}>"

    @staticmethod
    async def signup(
        name: str,
        base_url: str | None = None,
        *,
        connection: ConnectionSettings | None = None,
        retry: RetryPolicy | None = None,
    ) -> SignupKeyResponse:
        """Make an account, and return it with its key, which cannot be had a second time.

        Args:
            name: The account's name; names are unique.
            base_url: As for `Norman`.
            connection: How the service is reached.
            retry: Limits of trying again.

        Raises:
            ConfigurationError: If there is no URL.
            ServiceError: If the name is taken, for example.
            TransportError: No answer came; after a lost one the account may exist.

        Cancellation: the account may exist.
        """
        async with Norman(base_url=base_url, connection=connection, retry=retry) as norman:
            with lost_answer_noted(f"account {name!r}"):
                return await norman.authenticate.signup.signup_key(name)

    @asynccontextmanager
    async def _live(self) -> AsyncIterator[None]:
        await trio.lowlevel.checkpoint()
        root, key = self._chosen()
        with lone_error_unwrapped():
            async with (
                trio.open_nursery() as nursery,
                open_session(
                    root,
                    key,
                    settings=self._connection,
                    policy=self._retry,
                    stall=self._stall,
                    max_uploads=self._max_uploads,
                    nursery=nursery,
                ) as session,
            ):
                self._state = session
                try:
                    yield
                finally:
                    self._state = None
                    session.close()
                nursery.cancel_scope.cancel()

    def _chosen(self) -> tuple[str, Secret | None]:
        key, url = os.environ.get("NORMAN_API_KEY"), os.environ.get("NORMAN_BASE_URL")
        if self._root is None and not url:
            advice = (
                "pass base_url=..., or set NORMAN_BASE_URL, to https://api....norman-ai.com/v0 as your account has it"
            )
            raise ConfigurationError("there is no base URL", advice)
        root = self._root or norman_root(str(url), allow_http=self._connection.allow_http)
        return root, self._api_key or (checked_key(key, advice=_HOW_TO_GIVE_A_KEY) if key else None)

    def _session(self) -> Session:
        if self._state is None:
            raise trio.ClosedResourceError("this Norman is used outside its `async with` block")
        return self._state

    async def get_account(self) -> Account:
        """Return the account of the key, logging in if that has not been done yet; raises what the login raises."""
        with self._session().in_use():
            return (await self._session().tokens.current()).account
        raise AssertionError("left above")

    async def get_access_token(self) -> Secret:
        """Return an access token that is good now; raises what the login raises."""
        with self._session().in_use():
            return (await self._session().tokens.current()).text
        raise AssertionError("left above")

    async def upload_model(
        self,
        config: ModelConfig | Mapping[str, Any],
        *,
        max_seconds: float = LONGEST_WAIT,
        on_upload: OnUpload | None = None,
    ) -> Model:
        """Make a model, bring its assets to the service in parallel, and wait until it is built.

        Args:
            config: The model; data of assets is a path, a link, bytes or a stream, as `InputConfig` says of inputs. A
                text that is neither a link nor names a file is refused, unless its `source` is ``Primitive``.
            max_seconds: Longest wait for the build, from the end of the uploads; more than 0.
            on_upload: Called as bytes are sent.

        Returns:
            The model as it was made; its `build_status` is the one of that moment.

        Raises:
            ConfigurationError: If the configuration or a limit cannot be used, or a file is missing; nothing was made.
            LocalFileError: If a file cannot be read; nothing was made.
            JobFailedError, JobTimeoutError: If a step failed, or is not finished in time.
            ChecksumMismatchError, SourceChangedError, TransportError, ServiceError: If an asset could not be brought
                there.

            From the moment when it exists, every error names the model in its `orphans`.

        Cancellation: the model may be left unfinished at the service.
        """
        check_limit(max_seconds)
        wanted = read_config(ModelConfig, config)
        check_model(wanted)
        data = {
            asset.asset_name: await resolve(repr(asset.asset_name), asset.data, asset.source, is_value_refused=True)
            for asset in wanted.assets
        }
        session = self._session()
        account = await self.get_account()
        call = api.create_models([model_of(wanted, account.id, Timestamp.at(datetime.now(UTC)))])
        with lost_answer_noted(f"model {wanted.name!r}"):
            made = await session.ask(call)
            with orphans_noted(*(f"model {each.id}" for each in made)):
                names = sorted(asset.asset_name for asset in made[0].assets) if made else []
                if names != sorted(data):
                    problem = f"expected one model with the assets {', '.join(sorted(data))} @ $"
                    raise MalformedResponseError(call.method, f"{session.root}/{call.path}", (problem,))
        model = made[0]
        with session.in_use(), orphans_noted(f"model {model.id}"):
            provisions = [Provision.of_asset(asset, data[asset.asset_name]) for asset in model.assets]
            await provide_all(session, provisions, on_upload)
            entities = [model.id, *(asset.id for asset in model.assets)]
            await wait_until_finished(session, entities, seconds=max_seconds)
        return model

    async def invoke(
        self,
        config: InvocationConfig | Mapping[str, Any],
        *,
        max_seconds: float = LONGEST_WAIT,
        on_upload: OnUpload | None = None,
    ) -> dict[str, Output]:
        """Run a model and return its outputs by their titles: bytes, or streams where the configuration says so.

        Args:
            config: The model's name, data for its inputs, and how outputs are handed over. Titles are compared with the
                model before anything is made; inputs that have a default may be left out.
            max_seconds: Longest wait for the outputs, from the end of the uploads; more than 0.
            on_upload: Called as bytes are sent.

        Returns:
            A `bytearray` for each output, or a `Retrieval` for those whose `consume_mode` is ``stream``: enter it
            to read it, as long as this client is open.

        Raises:
            ConfigurationError: If the configuration, its titles, its data or a limit cannot be used; nothing was made.
            LocalFileError: If a file cannot be read; nothing was made.
            JobFailedError, JobTimeoutError: If a step failed, or is not finished in time.
            ChecksumMismatchError, SourceChangedError, TransportError, ServiceError: If an input could not be brought
                there, or an output not be fetched.

            From the moment when it exists, every error names the invocation in its `orphans`.

        Cancellation: the invocation goes on at the service.
        """
        found: list[dict[str, Output]] = []
        with self._session().in_use():
            opened, wanted = await run_invocation(self._session(), config, seconds=max_seconds, note=on_upload)
            modes = {output.display_title: output.consume_mode for output in wanted.outputs}
            with orphans_noted(f"invocation {opened.invocation.id}"):
                found.append(await consumed(opened, modes))
        return found[0]

    @asynccontextmanager
    async def open_invocation(
        self,
        config: InvocationConfig | Mapping[str, Any],
        *,
        max_seconds: float = LONGEST_WAIT,
        on_upload: OnUpload | None = None,
    ) -> AsyncIterator[OpenInvocation]:
        """Run a model and give its outputs as streams or files, none of them held in memory.

        ::

            async with norman.open_invocation(config) as invocation:
                await invocation.save_outputs("out/")

        Arguments, errors and behaviour under cancellation are those of `invoke`.
        """
        with self._session().in_use():
            opened, _ = await run_invocation(self._session(), config, seconds=max_seconds, note=on_upload)
            yield opened

    @asynccontextmanager
    async def download_assets(
        self,
        model_ids: Many[str],
        dest: Path | str,
        max_concurrency: int = 8,
        *,
        on_event: OnEvent | None = None,
        **options: Unpack[Options],
    ) -> AsyncIterator[Downloads]:
        """Download all assets of some models; see `trio_norman.download_many` for all that is the same.

        Args:
            model_ids: Ids, from any iterable or asynchronous iterable.
            dest: Directory, made if need be. A file is named after its model, its asset and the asset's id.
            max_concurrency: Files that are worked on at the same time.
            on_event: Called with every event.
            **options: See `DownloadOptions`.

        Returns:
            A context manager that gives the results in order of completion; each has its `ModelAsset` as `item`. A
            model that is not there is a result that failed.
        """
        with self._session().in_use():
            sources, fetch = asset_sources(self._session(), model_ids), self._session().fetch
            batch = download_many(sources, dest, max_concurrency, fetch=fetch, on_event=on_event, **options)
            async with batch as results:
                yield results

    @asynccontextmanager
    async def download_outputs(
        self,
        invocations: Many[Invocation | str],
        dest: Path | str,
        max_concurrency: int = 8,
        *,
        on_event: OnEvent | None = None,
        **options: Unpack[Options],
    ) -> AsyncIterator[Downloads]:
        """Download all outputs of some invocations, given as objects or by their ids; else as `download_assets`.

        A file is named after its output's title and id; results have their `InvocationSignature` as `item`.
        """
        with self._session().in_use():
            sources, fetch = output_sources(self._session(), invocations), self._session().fetch
            batch = download_many(sources, dest, max_concurrency, fetch=fetch, on_event=on_event, **options)
            async with batch as results:
                yield results
