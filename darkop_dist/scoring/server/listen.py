"""Where a server listens, and what it must have to listen there."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from darkop_dist.errors import InputFileError, UserError


@dataclass(frozen=True)
class Listen:
    """An address to listen at.

    Attributes:
        host: name or address; this machine alone by default.
        port: 0 for one that is free.
        certificate: file with the TLS certificate and those that signed it, in PEM.
        key: file with its private key.
        insecure_behind_tls_proxy: listen without TLS at an address that others reach, because a proxy before it speaks
            TLS and nobody else gets there.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    certificate: Path | None = None
    key: Path | None = None
    insecure_behind_tls_proxy: bool = False

    @property
    def is_loopback(self) -> bool:
        """Only this machine reaches it."""
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def scheme(self) -> str:
        """``https`` or ``http``."""
        return "http" if self.certificate is None else "https"


def check_listen(listen: Listen, *, needs_token: bool) -> None:
    """Check that a server may listen at an address.

    Args:
        listen: the address.
        needs_token: nobody is let in without a token.

    Raises:
        UserError: others can reach it, and there is no token or no TLS.
        InputFileError: a file of TLS is missing.
    """
    if (listen.certificate is None) != (listen.key is None):
        raise UserError("TLS needs both a certificate and its key. Give both files, or neither")
    for path in (listen.certificate, listen.key):
        if path is not None and not path.is_file():
            raise InputFileError(str(path), "no such file", "Give the certificate and its key as PEM files")
    if listen.is_loopback:
        return
    if not needs_token:
        raise UserError(
            f"others can reach {listen.host}, so a token is needed. Give a token file or the name of an environment "
            "variable that holds one, or listen at 127.0.0.1"
        )
    if listen.certificate is None and not listen.insecure_behind_tls_proxy:
        raise UserError(
            f"others can reach {listen.host}, so TLS is needed. Give a certificate and its key, or listen at "
            "127.0.0.1; where a proxy before this server speaks TLS, say insecure_behind_tls_proxy"
        )
