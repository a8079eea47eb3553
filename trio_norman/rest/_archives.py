"""Where an archive lies, and whether what the service says of that may be believed. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from .._sansio.expiry import url_lifetime
from .._wire._tls import pinned_context
from ..transfer import Link
from ._models import ArchiveUrl

_NOT_READY = frozenset({"LOCAL", "SYNCING"})


def problems_of(archive: ArchiveUrl) -> tuple[str, ...]:
    """Return what contradicts the rules for a source of downloads, each as ``what @ path``; nothing if all is well.

    Source: wire/pytrio, section 2.7.
    """
    return tuple(_problems(archive))


def _problems(archive: ArchiveUrl) -> Iterator[str]:
    scheme = archive.url.reveal().partition("://")[0].lower()
    has_tls = archive.tls_cert_pem is not None or archive.tls_not_after is not None
    if scheme not in {"http", "https"}:
        yield "not an absolute http or https URL @ $.url"
    if has_tls and archive.source == "object_storage":
        yield "a certificate for the object storage @ $.tls_cert_pem"
    if has_tls and scheme == "http":
        yield "a certificate for plain http @ $.tls_cert_pem"
    if archive.tls_cert_pem is None and archive.tls_not_after is not None:
        yield "an end without a certificate @ $.tls_not_after"
    if archive.tls_cert_pem is not None:
        yield from _problems_of_pem(archive.tls_cert_pem)


def _problems_of_pem(pem: str) -> Iterator[str]:
    try:
        pinned_context(pem)
    except ValueError as error:
        yield f"{error} @ $.tls_cert_pem"


def link_to(archive: ArchiveUrl, *, now: datetime) -> Link:
    """Return an archive's URL with the certificate that it must show, and how long both are good.

    Args:
        archive: What the service said.
        now: The service's own clock when it said so.
    """
    ends: datetime | None = archive.tls_not_after
    lifetimes = [
        url_lifetime(archive.url.reveal(), expires=archive.expires, now=now),
        None if ends is None else max(0.0, (ends - now).total_seconds()),
    ]
    known = [each for each in lifetimes if each is not None]
    return Link(archive.url, min(known, default=None), archive.tls_cert_pem)


def unsynced(archive: ArchiveUrl) -> str:
    """Return the status of an archive that has not reached the object storage; empty if it has, or nobody says."""
    return archive.checkpoint_status if archive.checkpoint_status in _NOT_READY else ""
