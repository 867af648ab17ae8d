"""Real servers of buckets on loopback: moto's S3 and the emulator of Google's storage."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import fsspec
import pytest

from tests.distributed.loopback import free_port
from tests.storage.faulty_proxy import Proxy

BUCKET = "jaxfid-test"
_S3 = "from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
_GS = (
    "from gcp_storage_emulator.__main__ import main; main(['start', '--host', '127.0.0.1', "
    "'--port', '{port}', '--in-memory', '--default-bucket', '" + BUCKET + "'])"
)


class Bucket(NamedTuple):
    """A bucket that is served here.

    Attributes:
      url: The bucket, such as `s3://jaxfid-test`.
      proxy: What all requests of this process go through.
      environment: What a process is told to find the server without the proxy.
    """

    url: str
    proxy: Proxy
    environment: Mapping[str, str]


def environment_of(scheme: str, server: str) -> dict[str, str]:
    """Returns how a process finds a server instead of the real place."""
    if scheme == "gs":
        # Without it gcsfs asks Google which kind of bucket it is.
        return {"STORAGE_EMULATOR_HOST": server, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
    return {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@contextlib.contextmanager
def serve(scheme: str) -> Iterator[Bucket]:
    """Starts the server and the proxy before it, and makes the bucket."""
    for module in ("moto.server", "s3fs") if scheme == "s3" else ("gcp_storage_emulator", "gcsfs"):
        pytest.importorskip(module)
    port = free_port()
    code = (_S3 if scheme == "s3" else _GS).format(port=port)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen([sys.executable, "-c", code], **quiet)
    try:
        _wait_for(port, server)
        proxy = Proxy(f"http://127.0.0.1:{port}")
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment_of(scheme, proxy.url).items():
                patch.setenv(name, value)
            system = fsspec.filesystem(scheme)
            if scheme == "s3":
                system.mkdir(BUCKET)
            direct = environment_of(scheme, f"http://127.0.0.1:{port}")
            yield Bucket(f"{scheme}://{BUCKET}", proxy, direct)
            type(system).clear_instance_cache()
        proxy.close()
    finally:
        server.kill()
        server.wait()


def _wait_for(port: int, server: subprocess.Popen) -> None:
    while True:
        assert server.poll() is None, "the server ended"
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.05)
