"""An nginx of the benchmark's own, with a configuration that stands in nobody's way."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ._links import PLAIN, Certificate, Link
from ._machine import find_program

_CONFIGURATION = """
{user}
daemon off;
worker_processes 1;
pid {home}/nginx.pid;
error_log {home}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 300s;
    keepalive_requests 1000000;
    open_file_cache max=16384;
    types {{ }}
    default_type application/octet-stream;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    server {{
        listen 127.0.0.1:{port}{tls};
        root {root};
        {further}
    }}
}}
"""
_PATIENCE = 10.0  # seconds in which nginx must answer
_TRIES = 3  # of free ports, which somebody else may take just before nginx does


class ServerFailedError(Exception):
    """nginx did not start."""


def is_present() -> bool:
    """Tell whether there is an nginx to be started."""
    return find_program("nginx") is not None


@contextmanager
def serving(
    root: Path, home: Path, link: Link = PLAIN, certificate: Certificate | None = None, further: Sequence[str] = ()
) -> Iterator[str]:
    """Serve the files below `root` and give the address, without a slash at its end.

    Args:
        root: What is served.
        home: An existing directory for nginx's own files.
        link: What of it the server does: TLS, and the limit for each connection.
        certificate: For TLS.
        further: Directives of the server block.

    Raises:
        ServerFailedError: If it does not start.
    """
    further = [*further, *([f"limit_rate {link.limit_rate};"] if link.limit_rate else [])]
    if certificate is not None:
        further += [f"ssl_certificate {certificate.chain};", f"ssl_certificate_key {certificate.key};"]
    process, port = _start(root, home, " ssl" if certificate is not None else "", " ".join(further))
    try:
        yield f"{'http' if certificate is None else 'https'}://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _start(root: Path, home: Path, tls: str, further: str) -> tuple[subprocess.Popen[bytes], int]:
    program = find_program("nginx")
    if program is None:
        raise ServerFailedError("nginx is not installed (Debian: nginx-light)")
    for _ in range(_TRIES):
        port = _free_port()
        user = "user root;" if os.geteuid() == 0 else ""  # as root it would serve as a user who may not look here
        configuration = home / "nginx.conf"
        configuration.write_text(_CONFIGURATION.format(**locals()))
        command = [program, "-p", str(home), "-c", str(configuration), "-e", str(home / "error.log")]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        if _answers(process, port):
            return process, port
        process.kill()
        process.wait()
    with suppress(OSError):
        raise ServerFailedError(f"nginx does not start: {(home / 'error.log').read_text()[-500:]}")
    raise ServerFailedError("nginx does not start")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return process.poll() is None
        except OSError:
            time.sleep(0.02)
    return False
