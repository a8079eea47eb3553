"""What lies between the server and the peers: nothing, TLS, a limit for each connection, or a long way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import attrs

_DELAYING = Path(__file__).with_name("_delaying.py")


class LinkFailedError(Exception):
    """The way to the server could not be laid."""


@attrs.frozen(kw_only=True)
class Link:
    """How peers reach the server.

    Args:
        is_tls: Whether they speak https; the certificate is made for the occasion.
        limit_rate: What the server gives each connection, as nginx writes it (``8m``); empty for no limit.
        round_trip: Seconds that the way there and back takes.
        rate: Bytes a second that each connection brings over that way; it counts only where there is a way.
    """

    is_tls: bool = False
    limit_rate: str = ""
    round_trip: float = 0.0
    rate: int = 20_000_000


PLAIN = Link()
TLS = Link(is_tls=True)


def has_certificates() -> bool:
    """Tell whether certificates can be made here."""
    return find_spec("trustme") is not None


@attrs.frozen
class Certificate:
    """Files in PEM: the authority's certificate, and the server's with its key."""

    authority: Path
    chain: Path
    key: Path


def certify(home: Path) -> Certificate:
    """Make an authority and let it certify 127.0.0.1."""
    import trustme  # the other cases do without

    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1", "localhost")
    made = Certificate(home / "authority.pem", home / "chain.pem", home / "key.pem")
    authority.cert_pem.write_to_path(str(made.authority))
    leaf.private_key_pem.write_to_path(str(made.key))
    for block in leaf.cert_chain_pems:
        block.write_to_path(str(made.chain), append=True)
    return made


@contextmanager
def delaying(address: str, link: Link) -> Iterator[str]:
    """Give the address at which the server seems to be far away.

    Raises:
        LinkFailedError: If the proxy does not start.
    """
    server = urlsplit(address)
    words = [str(server.hostname), str(server.port), str(link.round_trip), str(link.rate)]
    with subprocess.Popen(
        [sys.executable, "-I", "-S", str(_DELAYING), *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().decode().strip()
            if not port:
                raise LinkFailedError("the delaying proxy does not start")
            yield f"{server.scheme}://127.0.0.1:{port}"
        finally:
            process.kill()
