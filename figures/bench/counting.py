"""What a network asks of a machine, counted: operations and bytes, on tensors without numbers.

Lesson 11 builds this in its section 15; a test holds the two to each other.
"""

from functools import cache

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from course_lib import facenest


class Traffic(TorchDispatchMode):
    """Adds up the bytes of all tensors that operations read and write. What only looks at a tensor in another
    shape moves nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        aliases = [output.alias_info for output in operation._schema.returns]
        if not any(alias is not None and not alias.is_write for alias in aliases):
            tensors = [t for t in tree_leaves((args, kwargs, result)) if isinstance(t, torch.Tensor)]
            self.bytes += sum(t.numel() * t.element_size() for t in tensors)
        return result


@cache
def count(side: int, learn: bool, batch: int = 8, width: int = 16) -> tuple[float, float]:
    """(operations, bytes) of one image `side` pixels wide in float32: forwards; with `learn` backwards too.

    Operations are those of convolutions and matrix products, a multiply-accumulate being two; weights are
    read once for each batch. The optimiser's step is left out: it does not depend on the images.
    """
    model = facenest(width=width).to("meta").train(learn)
    counter, traffic = FlopCounterMode(display=False), Traffic()
    with counter, traffic, torch.set_grad_enabled(learn):
        logits = model(torch.empty(batch, 3, side, side, device="meta"))
        if learn:
            logits.sum().backward()
    return counter.get_total_flops() / batch, traffic.bytes / batch
