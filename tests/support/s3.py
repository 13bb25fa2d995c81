"""An S3 server on this machine, over HTTP: it stands in for a cloud bucket or a cluster's MinIO."""

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import requests

BUCKET = "bucket"


class S3Server:
    """`environment` points programs to the server and its bucket."""

    def __init__(self, address: str) -> None:
        import boto3  # a second, with the server: not every test process needs them

        self.environment = {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",  # else DVC makes a second client, of the region of the bucket
        }
        self.client = boto3.client(
            "s3", "us-east-1", endpoint_url=address, aws_access_key_id="key", aws_secret_access_key="secret"
        )
        self.client.create_bucket(Bucket=BUCKET)

    def objects(self) -> list[str]:
        return [each["Key"] for each in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


@functools.cache
def _share_what_clients_parse() -> None:
    """Each client reads megabytes of JSON, which takes it a fifth of a second; here the first reads them for all."""
    from botocore.loaders import JSONFileLoader

    load = functools.cache(functools.partial(JSONFileLoader.load_file, JSONFileLoader()))
    JSONFileLoader.load_file = lambda _, path: load(path)  # type: ignore[method-assign]


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run an S3 server until the block ends."""
    from moto.server import ThreadedMotoServer

    _share_what_clients_parse()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        address = f"http://{host}:{port}"
        yield S3Server(address)
    finally:
        requests.post(f"{address}/moto-api/reset", timeout=10)  # buckets outlive the server in this process
        server.stop()
