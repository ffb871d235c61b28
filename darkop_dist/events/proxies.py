"""X.509 proxies of the grid: whether the one that would be shown to a server has expired."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

PROXY = "X509_USER_PROXY"
BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def expired_proxy(now: datetime | None = None) -> str | None:
    """What is wrong with the proxy that ``X509_USER_PROXY`` names, and what to do; None if nothing is.

    A proxy ends with the first of its chain's certificates to end.

    Args:
        now: the time; the clock's by default.
    """
    named = os.environ.get(PROXY)
    if not named:
        return None
    try:
        text = Path(named).read_text(errors="replace")
    except OSError as error:
        return f"{PROXY} names {named}, which cannot be read ({error.strerror}). Make a proxy: voms-proxy-init"
    ends = _end(text)
    if ends is None or ends > (now or datetime.now(UTC)):
        return None
    when = ends.strftime("%Y-%m-%d %H:%M UTC")
    return f"The proxy {named} expired at {when}. Make a new one: voms-proxy-init --voms YOUR_EXPERIMENT"


def _end(text: str) -> datetime | None:
    """When the first certificate of a file ends; None where none can be read."""
    try:
        from cryptography import x509
    except ImportError:  # only the explanation of an error is poorer
        return None
    blocks = [part.partition(END)[0] for part in text.split(BEGIN)[1:]]
    try:
        found = [x509.load_pem_x509_certificate(f"{BEGIN}{block}{END}\n".encode()) for block in blocks]
    except ValueError:
        return None
    return min((certificate.not_valid_after_utc for certificate in found), default=None)
