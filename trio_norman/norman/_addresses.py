"""Whether a host and a port that the service names may be contacted: the one place that decides it for pushes."""

from __future__ import annotations

import socket
from functools import partial

from .._sansio.addresses import Vicinity
from .._wire import _sockets
from ..errors import AddressError, ConnectError, NameResolutionError

_METHOD = "PUSH"


async def connect_for_push(host: str, port: int, vicinity: Vicinity) -> socket.socket:
    """Connect to where a body is to be pushed, to an address that was looked at before.

    Args:
        host: Name or address, as the pairing has it.
        port: TCP port.
        vicinity: Where the service is: what it hands out leads to the public internet, to hosts that the user allowed,
            or to where the service itself is.

    Raises:
        AddressError: If the host, or all its addresses, must not be contacted; nobody was.
        NameResolutionError: If the name does not resolve.
        ConnectError: If nobody accepts.
    """
    url = push_url(host, port)
    judge_host(host, port, vicinity)
    try:
        return await _sockets.connect(host.encode("idna"), port, partial(vicinity.refusal, host))
    except _sockets.AddressRefusedError as error:
        raise AddressError(_METHOD, url, str(error)) from None
    except socket.gaierror as error:
        temporary = error.errno == socket.EAI_AGAIN
        raise NameResolutionError(_METHOD, url, "temporary failure of the resolver" if temporary else "") from None
    except UnicodeError:
        raise AddressError(_METHOD, url, "the host is not a name") from None
    except OSError as error:
        raise ConnectError(_METHOD, url, _sockets.reason(error)) from None


def judge_host(host: str, port: int, vicinity: Vicinity) -> None:
    """Refuse a host by how it looks, before anything is looked up; raises `AddressError`."""
    problem = vicinity.refusal_of_host(host)
    if problem:
        raise AddressError(_METHOD, push_url(host, port), problem)


def push_url(host: str, port: int) -> str:
    """Return how errors call the place that is pushed to."""
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
