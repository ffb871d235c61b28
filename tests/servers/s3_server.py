"""An S3 server on this machine: moto's, in a thread of this process, with one bucket for each folder."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEY, SECRET = "test-key", "test-secret"


@dataclass(frozen=True)
class Bucket:
    """A folder as it stands on the server.

    Attributes:
        endpoint: address of the server, without a slash at the end.
        name: of the bucket.
        key: of an account that may read it.
        secret: of that account.
        client: boto3's client, to change what the bucket holds.
    """

    endpoint: str
    name: str
    key: str
    secret: str
    client: Any

    def url(self, name: str) -> str:
        """The address of a file of the folder."""
        return f"s3://{self.name}/{name}"


class S3Server:
    """The server; made by ``serve``.

    Attributes:
        endpoint: its address.
    """

    def __init__(self, endpoint: str) -> None:
        import boto3

        self.endpoint = endpoint
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        )

    def bucket(self, folder: Path, *, public: bool = False) -> Bucket:
        """A bucket with the files of a folder.

        Args:
            folder: with the files, at any depth.
            public: whether everybody may read it.
        """
        with self._lock:
            name = f"folder-{next(self._numbers)}"
        acl = "public-read" if public else "private"
        self._client.create_bucket(Bucket=name, ACL=acl)
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self._client.put_object(Bucket=name, Key=str(path.relative_to(folder)), Body=path.read_bytes(), ACL=acl)
        return Bucket(self.endpoint, name, KEY, SECRET, self._client)


@contextmanager
def serve() -> Iterator[S3Server]:
    """Serve buckets on a free port of this machine until the block ends."""
    from moto.server import ThreadedMotoServer

    listening = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    listening.start()
    try:
        host, port = listening.get_host_and_port()
        yield S3Server(f"http://{host}:{port}")
    finally:
        listening.stop()
