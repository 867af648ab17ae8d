"""Serves pytorch-fid's network in PyTorch: one JSON request per line in, one JSON answer per line out.

torch_network.py WEIGHTS|- IMAGES.npy DEVICE

A request names `layout` (nchw or channels_last), `precision`, `mode` (eager or compile), `batch_size` and
`steps`; the answer has the `seconds` of so many steps over a batch that is on the device, after two that
are not timed. With `features` (a path) as well, the features of that batch are written there.
"""

import functools
import json
import sys
import time
from typing import Any

import numpy as np
import torch
from offline import make_pytorch_fid_network

DTYPES = {"float32": torch.float32, "tensorfloat32": torch.float32, "bfloat16": torch.bfloat16}
WARM_UP_STEPS = 2


class Server:
    """Networks of every layout, precision and mode that was asked for."""

    def __init__(self, weights: str | None, images: np.ndarray, device: str) -> None:
        self._weights, self._device = weights, torch.device(device)
        scaled = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).float() / 255
        self._images = scaled.to(self._device)
        torch.backends.cudnn.benchmark = True

    @functools.lru_cache  # noqa: B019
    def _network(self, layout: str, precision: str, mode: str) -> Any:  # noqa: ANN401
        network = make_pytorch_fid_network(self._weights).to(self._device, DTYPES[precision])
        if layout == "channels_last":
            network = network.to(memory_format=torch.channels_last)
        return torch.compile(network) if mode == "compile" else network

    def _batch(self, size: int, layout: str, precision: str) -> torch.Tensor:
        repeats = -(-size // len(self._images))
        batch = self._images.repeat(repeats, 1, 1, 1)[:size].to(DTYPES[precision])
        if layout == "channels_last":
            return batch.contiguous(memory_format=torch.channels_last)
        return batch.contiguous()

    @torch.no_grad()
    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Returns the seconds that the steps took."""
        layout, precision = request["layout"], request["precision"]
        torch.backends.cudnn.allow_tf32 = precision == "tensorfloat32"
        torch.backends.cuda.matmul.allow_tf32 = precision == "tensorfloat32"
        network = self._network(layout, precision, request["mode"])
        batch = self._batch(request["batch_size"], layout, precision)
        for _ in range(WARM_UP_STEPS):
            features = network(batch)[0]
        if path := request.get("features"):
            np.save(path, features.float().cpu().numpy()[:, :, 0, 0])
        self._wait()
        start = time.perf_counter()
        for _ in range(request["steps"]):
            network(batch)
        self._wait()
        return {"seconds": time.perf_counter() - start}

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()


def main() -> None:
    """Answers until its input ends."""
    weights, images, device = sys.argv[1:]
    # What libraries print must not come between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    server = Server(None if weights == "-" else weights, np.load(images), device)
    for line in sys.stdin:
        try:
            answer = server.answer(json.loads(line))
        except RuntimeError as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
