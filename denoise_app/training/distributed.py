"""Several processes that train one model together: on the GPUs of one host, or of many, as torchrun starts them.

Each draws all examples of a step and mixes its own share; gradients are averaged over all. What only one can do or
know (the clock, the state on disk, validation, the log) is the first one's. So are the statistics of batch norms (of
`cnn` alone): each process normalises by its own share of a batch, and those of the first one are kept.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from denoise_app.inference.device import choose

CPU = torch.device("cpu")
PATIENCE = timedelta(hours=1)  # of the others while the first one decodes or validates


@dataclass(frozen=True)
class Ranks:
    """The place of this process among those that train together; alone by default.

    Attributes:
        device: Where this one computes.
        rank: Its number; 0 leads.
        size: How many there are.
    """

    device: torch.device = CPU
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model, begun with the first one's weights, its gradients averaged over all in every backward pass."""
        if self.size == 1:
            return model
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)

    def agree(self, *values: float) -> list[float]:
        """The largest that any process has of each value."""
        if self.size == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return shared.tolist()

    def share(self, make: Callable[[], Any]) -> Any:
        """What the first one makes, in every process."""
        if self.size == 1:
            return make()
        box = [make() if self.leads else None]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """The first one goes through the block before the others, so that they find what it wrote."""
        if self.size > 1 and not self.leads:
            dist.barrier()
        yield
        if self.size > 1 and self.leads:
            dist.barrier()


def launched() -> int:
    """How many processes torchrun has started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def leads() -> bool:
    """Whether this process is the first of those that torchrun started, or the only one."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def joined(device: str | None) -> Iterator[Ranks]:
    """This process among the others, for as long as the block lasts.

    Args:
        device: As `inference.device.choose` takes it; "cuda" is the process's own of the host's GPUs.

    Raises:
        AudioError: "no-device" where the device cannot be used.
    """
    if launched() == 1:
        yield Ranks(torch.device(choose(device).torch_device))
        return
    chosen = choose(device).torch_device
    if chosen.startswith("cuda"):
        chosen = choose(f"cuda:{os.environ['LOCAL_RANK']}").torch_device
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.startswith("cuda") else "gloo", timeout=PATIENCE)
    try:
        yield Ranks(torch.device(chosen), dist.get_rank(), dist.get_world_size())
        dist.barrier()  # none leaves while another may still wait for it
    finally:
        gc.collect()  # a wrapped model is a cycle; its threads, left to the interpreter's end, were seen to abort it
        dist.destroy_process_group()
