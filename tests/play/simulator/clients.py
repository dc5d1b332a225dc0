"""Clients of the servers of simulated branches."""

import io
from collections.abc import Callable
from typing import Any

import boto3
import botocore.config
import botocore.exceptions
import httpx
import paramiko
import psycopg
import pytest

# SFTP


def sftp(connection: dict[str, Any], **changes: Any) -> paramiko.SFTPClient:
    """A session by paramiko, with the host key checked as the connection has it."""
    wanted = connection | changes
    algorithm, key = wanted["extra"]["host_key"].split()
    client = paramiko.SSHClient()
    name = f"[{wanted['host']}]:{wanted['port']}"
    entry = paramiko.hostkeys.HostKeyEntry.from_line(f"{name} {algorithm} {key}")
    assert entry is not None
    client.get_host_keys().add(name, algorithm, entry.key)
    pem = wanted["extra"].get("private_key")
    try:
        client.connect(
            wanted["host"],
            wanted["port"],
            wanted["login"],
            wanted.get("password"),
            pkey=paramiko.Ed25519Key.from_private_key(io.StringIO(pem)) if pem else None,
            look_for_keys=False,
            allow_agent=False,
            timeout=20,
            banner_timeout=20,
            auth_timeout=20,
        )
        return client.open_sftp()
    except BaseException:
        client.close()
        raise


# S3


def s3(connection: dict[str, Any], **changes: Any) -> Any:
    wanted = connection | changes
    return boto3.client(
        "s3",
        endpoint_url=wanted["extra"]["endpoint_url"],
        region_name=wanted["extra"]["region_name"],
        aws_access_key_id=wanted["login"],
        aws_secret_access_key=wanted["password"],
        config=botocore.config.Config(
            retries={"max_attempts": 1}, connect_timeout=20, read_timeout=20, s3={"addressing_style": "path"}
        ),
    )


def bucket_of(connection: dict[str, Any]) -> tuple[str, str]:
    bucket, _, prefix = connection["extra"]["root"].removeprefix("s3://").partition("/")
    return bucket, prefix


def code_of(call: Callable[[], Any]) -> str:
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Code"])


def objects(client: Any, bucket: str, prefix: str) -> dict[str, bytes]:
    listed = client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    names = [entry["Key"] for entry in listed]
    return {name.removeprefix(prefix): client.get_object(Bucket=bucket, Key=name)["Body"].read() for name in names}


# The API


def http(connection: dict[str, Any], **headers: str) -> httpx.Client:
    token = {"Authorization": f"Bearer {connection['password']}"}
    return httpx.Client(base_url=f"{connection['host']}/v1/", headers=token | headers, timeout=20)


def page(client: httpx.Client, feed: str, **query: Any) -> httpx.Response:
    return client.get(feed, params={"business_date": "2023-12-10", "revision": 1, "limit": 1000} | query)


# Databases


def postgres(connection: dict[str, Any], **changes: Any) -> psycopg.Connection[Any]:
    names = {"host": "host", "port": "port", "login": "user", "password": "password", "schema": "dbname"}
    wanted = {names[name]: value for name, value in (connection | changes).items() if name in names}
    return psycopg.connect(**wanted, connect_timeout=20)
