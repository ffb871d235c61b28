"""Whether what opens the doors of other sites is there, and lasts: proxies, tokens, keys."""

from __future__ import annotations

import base64
import binascii
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from darkop_dist.execution import DatasetFiles
from darkop_dist.stages.preflight.finding import Finding, in_time

PUBLIC = ("eospublic.cern.ch",)
ANSWERS_WITHIN_S = 10.0
GRID = ("root", "roots", "xroot", "davs")
NEW_PROXY = "Make one with voms-proxy-init -voms VO, or set BEARER_TOKEN_FILE to a token."


@dataclass(frozen=True)
class Credential:
    """A proxy or a token.

    Attributes:
        kind: ``proxy`` or ``token``.
        place: the file or the variable that holds it.
        ends_s: when it ends, in seconds since 1970; None if it does not say.
    """

    kind: str
    place: str
    ends_s: float | None


def check_access(datasets: Sequence[DatasetFiles], needed_s: float) -> tuple[Finding, ...]:
    """Proxies, tokens and keys for every server that the datasets name.

    Args:
        datasets: the datasets with their files.
        needed_s: how long the run is expected to take.
    """
    servers: dict[tuple[str, str], str] = {}
    anonymous = any(dataset.access.s3.anonymous for dataset in datasets)
    for dataset in datasets:
        for path in (copy for file in dataset.paths for copy in dataset.copies(file)):
            if "://" in path and not path.startswith("file://"):
                parts = urlsplit(path)
                servers.setdefault((parts.scheme, parts.hostname or "?"), path)
    if not servers:
        return (Finding("access", "files", "ok", "all files are local: no proxy, token or key is needed"),)
    return tuple(
        _check_server(scheme, host, path, needed_s, anonymous=anonymous) for (scheme, host), path in servers.items()
    )


def find_credentials(environment: Mapping[str, str] = os.environ) -> tuple[Credential, ...]:
    """Grid proxies and bearer tokens, in the order in which grid tools look for them."""
    return (*_proxies(environment), *_tokens(environment))


def _check_server(scheme: str, host: str, path: str, needed_s: float, *, anonymous: bool) -> Finding:
    subject = f"{scheme}://{host}"
    if scheme in ("http", "https"):
        return _check_http(subject, path)
    if host in PUBLIC:
        return Finding("access", subject, "ok", "public: needs neither proxy nor token")
    if scheme == "s3" and anonymous:
        return Finding("access", subject, "ok", "asked without keys (access.s3.anonymous)")
    if scheme == "s3":
        return _check_keys(subject)
    if scheme not in GRID:
        return Finding("access", subject, "skipped", f"nothing is known of the rights that {scheme}:// needs")
    found = find_credentials()
    if not found:
        message = "neither proxy nor token was found, and the server may ask for one"
        return Finding("access", subject, "warning", message, NEW_PROXY)
    now = time.time()
    valid = [one for one in found if one.ends_s is None or one.ends_s > now]
    if not valid:
        ended = ", ".join(f"{one.kind} {one.place} ended {in_time(now - (one.ends_s or now))} ago" for one in found)
        return Finding("access", subject, "failed", ended, NEW_PROXY)
    best = max(valid, key=lambda one: float("inf") if one.ends_s is None else one.ends_s)
    if best.ends_s is None:
        return Finding("access", subject, "ok", f"{best.kind} {best.place}, which does not say when it ends")
    left = best.ends_s - now
    message = f"{best.kind} {best.place} lasts {in_time(left)}"
    if left < needed_s:
        message += f", but the run needs about {in_time(needed_s)}"
        return Finding("access", subject, "failed", message, NEW_PROXY, {"left_s": round(left)})
    return Finding("access", subject, "ok", message, numbers={"left_s": round(left)})


def _check_http(subject: str, path: str) -> Finding:
    """Ask for a file's header, as the reading will: without a login."""
    request = urllib.request.Request(path, method="HEAD")  # noqa: S310  # only http and https come here
    try:
        with urllib.request.urlopen(request, timeout=ANSWERS_WITHIN_S) as answer:  # noqa: S310  # the same
            return Finding("access", subject, "ok", f"the server gives files without a login (status {answer.status})")
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            message = f"the server refuses {path} (status {error.code}): it wants a login, or gives you no right to it"
            hint = "Ask for access, use a root:// address with proxy or token, or download the files."
            return Finding("access", subject, "failed", message, hint, {"status": error.code})
        return Finding("access", subject, "warning", f"the server answers {path} with status {error.code} (see files)")
    except OSError as error:
        return Finding("access", subject, "warning", f"the server does not answer ({error}; see files)")


def _check_keys(subject: str) -> Finding:
    environment = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= os.environ.keys()
    file = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or Path.home() / ".aws" / "credentials")
    if environment or file.is_file():
        return Finding("access", subject, "ok", f"keys from {'the environment' if environment else file}")
    message = f"no keys: neither AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY nor {file}"
    return Finding(
        "access", subject, "warning", message, "Set them, or access.s3.anonymous: true if the bucket is public."
    )


def _proxies(environment: Mapping[str, str]) -> Iterator[Credential]:
    named = environment.get("X509_USER_PROXY")
    path = Path(named or f"/tmp/x509up_u{os.getuid()}")  # noqa: S108  # where grid tools write it
    if path.is_file():
        yield Credential("proxy", str(path), _certificate_end(path))
    elif named:
        yield Credential("proxy", f"{named} (X509_USER_PROXY, no such file)", 0.0)


def _tokens(environment: Mapping[str, str]) -> Iterator[Credential]:
    if environment.get("BEARER_TOKEN"):
        yield Credential("token", "BEARER_TOKEN", token_end(environment["BEARER_TOKEN"]))
    runtime = environment.get("XDG_RUNTIME_DIR")
    usual = [f"{runtime}/bt_u{os.getuid()}"] if runtime else []
    for name in (environment.get("BEARER_TOKEN_FILE"), *usual, f"/tmp/bt_u{os.getuid()}"):  # noqa: S108  # WLCG's place
        if name and Path(name).is_file():
            yield Credential("token", name, token_end(Path(name).read_text()))


def token_end(token: str) -> float | None:
    """When a JSON web token ends, as its claim ``exp`` says; None if it says nothing. Nothing is verified."""
    parts = token.strip().split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return float(claims["exp"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        return None


def _certificate_end(path: Path) -> float | None:
    """The end of the first certificate in a file; None where openssl is missing or finds none."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return None
    command = [openssl, "x509", "-noout", "-enddate", "-in", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # a fixed command
    text = done.stdout.strip().removeprefix("notAfter=")
    try:
        return datetime.strptime(text, "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
