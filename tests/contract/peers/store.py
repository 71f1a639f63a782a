"""moto's server as a store: S3 by people who do not know us, and it checks who signs."""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

BUCKET = "art"
REGION = "eu-central-1"


@dataclass
class Store:
    url: str
    access_key_id: str
    secret: str
    num_tables: int = 0
    _known: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    @cached_property
    def client(self) -> Any:
        """Amazon's own."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret,
        )

    def table(self, url: str, workplace: Path) -> dict[str, Any]:
        """What the table of a channel says about the bucket, reached at `url`. Each has a folder of its own:
        works of one name are one work there."""
        self.num_tables += 1
        (workplace / "secret").write_text(self.secret)
        (workplace / "secret").chmod(0o600)
        return {
            "endpoint": url,
            "bucket": BUCKET,
            "prefix": self.prefix,
            "region": REGION,
            "access_key_id": self.access_key_id,
            "secret_file": "secret",
            "allow_private": True,
        }

    @property
    def prefix(self) -> str:
        """Of the newest table."""
        return f"folder-{self.num_tables}/"

    def files(self) -> dict[str, bytes]:
        """Every object of the newest table's folder, by its name there."""
        listing = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=BUCKET, Prefix=self.prefix
        )
        there = {item["Key"]: item["ETag"] for page in listing for item in page.get("Contents", [])}
        return {key.removeprefix(self.prefix): self._read(key, there[key]) for key in there}

    def _read(self, key: str, etag: str) -> bytes:
        """Once for each content."""
        if self._known.get(key, ("", b""))[0] != etag:
            body = self.client.get_object(Bucket=BUCKET, Key=key)["Body"]
            self._known[key] = (etag, body.read())
        return self._known[key][1]


@contextmanager
def storing() -> Iterator[Store]:
    for needed in ("moto", "flask", "flask_cors", "boto3"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"no {needed} here; pip install -e '.[peers]' brings a store to test with")
    import boto3
    import requests
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    try:
        requests.post(f"{url}/moto-api/reset", timeout=10).raise_for_status()
        anybody: dict[str, Any] = {
            "endpoint_url": url,
            "region_name": REGION,
            "aws_access_key_id": "anybody",
            "aws_secret_access_key": "anybody",
        }
        people = boto3.client("iam", **anybody)
        people.create_user(UserName="artbot")
        allowed = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        people.put_user_policy(
            UserName="artbot",
            PolicyName="art",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}),
        )
        key = people.create_access_key(UserName="artbot")["AccessKey"]
        boto3.client("s3", **anybody).create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        # From now on it wants every request signed with a key that it knows.
        requests.post(f"{url}/moto-api/reset-auth", data=b"0", timeout=10).raise_for_status()
        yield Store(url, key["AccessKeyId"], key["SecretAccessKey"])
    finally:
        requests.post(f"{url}/moto-api/reset-auth", data=b"inf", timeout=10)
        server.stop()
