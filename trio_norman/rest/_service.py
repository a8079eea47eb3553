"""`ServiceClient`: the settings of the training service, and the maker of its clients."""

from __future__ import annotations

import os
from pathlib import Path
from typing import get_args

from .._sansio.redaction import Secret
from .._sansio.retrying import RetryPolicy
from .._sansio.settings import Settings, checked_key, exposure, profile_of, read_config, resolve, service_root
from .._wire._connecting import ConnectionSettings
from ..errors import ConfigurationError
from ._client import RestClient
from ._dialects import Api, Choice

CONFIG_FOLDER = ".pytrio"  # below the home directory; read, never written


class ServiceClient:
    """Where the training service is and which key opens it.

    Args:
        api_key: The key. Without it: ``TRIO_NORMAN_API_KEY``, then ``PYTRIO_API_KEY``, then the configuration file:
            ``~/.pytrio/config.toml``, or with a profile chosen by ``PYTRIO_ENV`` or ``~/.pytrio/env.toml``
            ``~/.pytrio/envs/<name>/config.toml``. All forms that the service's own clients write are read; nothing is
            written.
        base_url: Root of the service, with or without ``/api``. Without it: ``TRIO_NORMAN_BASE_URL``, then
            ``PYTRIO_BASE_URL``, then the configuration file, then ``https://pytrio.com`` (``https://pytrio.cn`` for the
            classic dialect).
        api: Which dialect the service speaks: ``"v1"`` (`openapi/v1`) or ``"classic"``; with ``"auto"`` it is asked
            once, when the first client is opened, and remembered for all clients made here.
        connection: How peers are reached.
        retry: Limits of trying again, for the API's calls.

    Raises:
        ConfigurationError: If a key, URL or dialect is given that cannot be one. What comes from elsewhere is looked at
            when a client is opened, and so is whether the service speaks a dialect that is known.
        AddressError: If the URL is plain http to another machine.
    """

    def __init__(
        self,
        api_key: str | Secret | None = None,
        base_url: str | None = None,
        *,
        api: Api = "auto",
        connection: ConnectionSettings | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        if api not in get_args(Api):
            raise ConfigurationError("api names no dialect", f"it is one of {', '.join(get_args(Api))}")
        self._choice = Choice(api)
        self._connection = connection or ConnectionSettings()
        self._retry = retry or RetryPolicy()
        self._api_key = None if api_key is None else checked_key(api_key)
        allow_http = self._connection.allow_http
        self._base_url = None if base_url is None else service_root(base_url, allow_http=allow_http)

    def create_rest_client(self) -> RestClient:
        """Return a client that is not open yet: nothing is sent and no file is read before its ``async with``."""
        return RestClient(self._settings, self._connection, self._retry, self._choice)

    def _settings(self) -> Settings:
        is_given = self._api_key is not None and self._base_url is not None
        return resolve(
            api_key=self._api_key,
            base_url=self._base_url,
            environment=os.environ,
            config={} if is_given else _config(),
            allow_http=self._connection.allow_http,
            is_classic=self._choice.api == "classic",
        )


def _config() -> dict[str, str]:
    """Read the configuration that counts; a file that is not there, or not readable, holds nothing."""
    path = config_file()
    return {} if path is None else _texts(path)


def config_file() -> Path | None:
    """Return where the configuration is that counts, whether it is there or not; None if nobody has a home.

    But a profile that was asked for by name must be there: another one's key is not for its service. Blocks.
    """
    try:
        folder = Path.home() / CONFIG_FOLDER
    except RuntimeError:  # nobody's home
        return None
    name = profile_of(os.environ, _texts(folder / "env.toml"))
    path = folder / "envs" / name / "config.toml" if name else folder / "config.toml"
    if name and not path.is_file():
        raise ConfigurationError(f"there is no profile {name}", "make it with the service's own client")
    return path


def config_exposures() -> list[str]:
    """Say what other users may do with the configuration that counts, if it says anything of key or service. Blocks."""
    path = config_file()
    if path is None or not _texts(path).keys() & {"api_key", "base_url"}:
        return []
    folders = [folder for folder in path.parents if folder.is_relative_to(Path.home() / CONFIG_FOLDER)]
    try:
        found = [exposure(str(path), path.stat().st_mode)]
        found += [exposure(str(folder), folder.stat().st_mode, is_folder=True) for folder in folders]
    except OSError:  # it went away meanwhile
        return []
    return [each for each in found if each is not None]


def _texts(path: Path) -> dict[str, str]:
    try:
        return read_config(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return {}
