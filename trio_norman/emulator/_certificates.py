"""Certificates that nobody has signed but themselves, for servers that are known by their certificate."""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from cryptography import x509

_LIFETIME = timedelta(days=2)
_EARLIER = timedelta(days=1)  # a client's clock may be behind


@attrs.frozen
class Certificate:
    """A certificate and its key, both as PEM; good for `lifetime` seconds from its making."""

    pem: str
    key_pem: str = attrs.field(repr=False)
    lifetime: float


def make_certificate(host: str) -> Certificate:
    """Make a self-signed certificate for one host name or address. Blocks."""
    # Imported here: it takes a while, and only few who open an emulator need a certificate.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "emulated actor")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName([_general_name(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private = key.private_bytes(pem, form, serialization.NoEncryption()).decode()
    return Certificate(built.public_bytes(pem).decode(), private, _LIFETIME.total_seconds())


def _general_name(host: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def server_context(certificate: Certificate) -> ssl.SSLContext:
    """Make the context of a server that shows the certificate. Blocks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:  # `ssl` reads keys from files only
        path = Path(folder, "both.pem")
        path.touch(mode=0o600)
        path.write_text(certificate.key_pem + certificate.pem)
        context.load_cert_chain(path)
    return context
