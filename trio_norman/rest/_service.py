"""`ServiceClient`: the settings of the training service, and the maker of its clients."""

from __future__ import annotations

import os
from pathlib import Path

from .._sansio.redaction import Secret
from .._sansio.retrying import RetryPolicy
from .._sansio.settings import Settings, checked_key, read_config, resolve, service_root
from .._wire._connecting import ConnectionSettings
from ._client import RestClient

CONFIG_FILE = Path(".pytrio", "config.toml")  # below the home directory; read, never written


class ServiceClient:
    """Where the training service is and which key opens it.

    Args:
        api_key: The key. Without it: ``TRIO_NORMAN_API_KEY``, then ``PYTRIO_API_KEY``, then ``~/.pytrio/config.toml``
            (both forms that the service's own clients write; it is read and never written).
        base_url: Root of the service, with or without ``/api``. Without it: ``TRIO_NORMAN_BASE_URL``, then
            ``PYTRIO_BASE_URL``, then the configuration file, then ``https://pytrio.cn``.
        connection: How peers are reached.
        retry: Limits of trying again, for the API's calls.

    Raises:
        ConfigurationError: If a key or URL is given that cannot be one. What comes from elsewhere is looked at when
            a client is opened.
        AddressError: If the URL is plain http to another machine.
    """

    def __init__(
        self,
        api_key: str | Secret | None = None,
        base_url: str | None = None,
        *,
        connection: ConnectionSettings | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        self._connection = connection or ConnectionSettings()
        self._retry = retry or RetryPolicy()
        self._api_key = None if api_key is None else checked_key(api_key)
        allow_http = self._connection.allow_http
        self._base_url = None if base_url is None else service_root(base_url, allow_http=allow_http)

    def create_rest_client(self) -> RestClient:
        """Return a client that is not open yet: nothing is sent and no file is read before its ``async with``."""
        return RestClient(self._settings, self._connection, self._retry)

    def _settings(self) -> Settings:
        return resolve(
            api_key=self._api_key,
            base_url=self._base_url,
            environment=os.environ,
            config=_config(),
            allow_http=self._connection.allow_http,
        )


def _config() -> dict[str, str]:
    try:
        return read_config((Path.home() / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RuntimeError):  # not there, not readable, or nobody's home
        return {}
