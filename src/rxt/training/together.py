"""How the processes of a run compute an update together: one path, and who holds what.

An update is so many passes forward and back, the same number in every process; one that has no micro-batch left makes
an empty pass. The gradients that an update ends with are the sum over all micro-batches, wherever they were computed.

The learner stands in an :class:`Update`, whose forward is what the stage computes, so that one call of it holds the
whole walk over turns: however often that calls encoder, decoder and memory attention, PyTorch's wrappers see one pass,
and make the same exchanges in every process however long its conversations are. That is why a model is wrapped at its
root, not layer by layer: layers would be gathered and their gradients shared out at each of their calls, of which two
processes do not make the same number.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from functools import partial
from typing import Generic, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rxt.training.learner import Learner
from rxt.training.precision import Products, products_of
from rxt.training.process_group import SINGLE_PROCESS, ProcessGroup

Parallel = Literal["replicate", "shard"]
"""Whether each process of a run holds the whole of what it trains, or a part of it."""
Compute = Callable[[], Tensor]
"""The loss (a scalar) of a micro-batch. It has no gradient where it needed nothing that learns: where the memory learns
alone, and no conversation of the micro-batch has a second turn."""
L = TypeVar("L", bound=Learner)


class Together(Generic[L]):
    """A learner in the only process of a run; subclasses have several."""

    sharded = False
    """Whether a process holds a part of every parameter only."""

    def __init__(
        self, learner: L, process_group: ProcessGroup = SINGLE_PROCESS, products: Products | None = None
    ) -> None:
        """``products``: what they are computed in; as the learner's device does by itself when not given."""
        self.learner = learner
        """What is trained, in this process: its parameters are those that the optimiser moves."""
        self.process_group = process_group
        self.products: Products = products_of(learner.device) if products is None else products

    def backward(self, losses: Sequence[Compute], passes: int) -> None:
        """Add the gradients of all processes' losses. ``passes``: the most losses that any process has."""
        for compute in losses:
            loss = compute()
            if loss.requires_grad:
                torch.autograd.backward(loss)

    def total(self, norm: Tensor) -> Tensor:
        """The norm of whole gradients from that of the gradients that this process holds."""
        return norm

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Inside the block the learner's weights are whole in this process. Every process enters it."""
        yield

    def give_back(self, learner: L) -> None:
        """Put what was trained into the learner that the training began with."""


class Update(nn.Module):
    """A learner, as the wrappers for several processes want it: a module whose forward gives a loss."""

    def __init__(self, learner: Learner, beside: Sequence[nn.Module] = ()) -> None:
        """``beside``: what losses are computed with and does not learn."""
        super().__init__()
        self.learner = learner
        self.beside = nn.ModuleList(beside)
        self.reached = False
        """Whether the last loss needed anything that learns."""

    def forward(self, compute: Compute | None) -> Tensor:
        """A loss that has a gradient, if only of zeros, since every process has one; None: that of no micro-batch."""
        loss = self._nothing() if compute is None else compute()
        self.reached = compute is not None and loss.requires_grad
        return loss if loss.requires_grad else loss + self._nothing()

    def _nothing(self) -> Tensor:
        return next(each for each in self.learner.parameters() if each.requires_grad).sum() * 0


def nothing_beside(_: Learner) -> Sequence[nn.Module]:
    """What the losses of most stages are computed with, beside the learner."""
    return ()


class Replicated(Together[L]):
    """The whole learner in each process, its gradients summed by DistributedDataParallel.

    Of PyTorch's ways to replicate this one leaves the parameters plain tensors, which rollouts, validation and
    checkpoints of one process read as they are; a parameter that no micro-batch has used has no gradient, as in one
    process. Its buckets are laid out for the parameters that learn, so another phase gets another wrapper.
    """

    def __init__(self, learner: L, process_group: ProcessGroup, products: Products | None = None) -> None:
        super().__init__(learner, process_group, products)
        self._learning: tuple[bool, ...] = ()
        self._wrapped: DistributedDataParallel | None = None

    def backward(self, losses: Sequence[Compute], passes: int) -> None:
        wrapper = self._wrapper()
        for number in range(passes):
            compute = losses[number] if number < len(losses) else None
            with _without_advice(), nullcontext() if number == passes - 1 else wrapper.no_sync():
                loss = wrapper(compute)
                # The wrapper divides by the number of processes. A hook that sums would run in a thread of gloo's and
                # need Python there, which a process that ends in the middle of an exchange would wait for in vain.
                torch.autograd.backward(loss, torch.full_like(loss, self.process_group.world_size))

    def _wrapper(self) -> DistributedDataParallel:
        learning = tuple(each.requires_grad for each in self.learner.parameters())
        if self._wrapped is None or learning != self._learning:
            self._wrapped, self._learning = None, learning  # the old one's buckets go first
            self._wrapped = DistributedDataParallel(
                Update(self.learner),
                find_unused_parameters=True,
                forward_sync_buffers=False,
                gradient_as_bucket_view=True,
            )
        return self._wrapped


class Sharded(Together[L]):
    """A part of every parameter, its gradient and its moments in each process, by FSDP2.

    The whole weights are gathered once for an update, in bfloat16 where that is computed in, and the gradients of each
    pass are shared out when it ends; what a process keeps between updates is its part, in float32. FSDP2 has zeros for
    what no process has used; here such a parameter has no gradient, as in one process, where no momentum moves it.
    A frozen model that the stage compares with is held in parts too, and gathered with the rest.
    """

    sharded = True

    def __init__(
        self,
        learner: L,
        process_group: ProcessGroup,
        device: torch.device,
        beside: Callable[[L], Sequence[nn.Module]] = nothing_beside,
        products: Products | None = None,
    ) -> None:
        """``learner`` itself stays as it is, and whole: FSDP2 cannot be taken off a module again.

        ``beside``: what the losses of a learner are computed with and does not learn.
        """
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        super().__init__(deepcopy(learner), process_group, products_of(device) if products is None else products)
        self._device = device
        self._bfloat16 = learner.gathered_in_bfloat16 and self.products == "bfloat16"
        _as_in_main(self.learner)
        self._update = Update(self.learner, beside(self.learner))
        self._wrapper = fully_shard(
            self._update,
            mesh=init_device_mesh(device.type, (process_group.world_size,)),
            reshard_after_forward=False,
            mp_policy=MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
            if self._bfloat16
            else MixedPrecisionPolicy(),
        )
        self._wrapper.set_gradient_divide_factor(1.0)
        self._wrapper.set_force_sum_reduction_for_comms(True)  # gloo knows no other
        self._wrapper.set_reduce_scatter_unused_params(True)
        self._watched = set[nn.Parameter]()
        """Whole parameters that tell when they get a gradient."""
        self._used = torch.zeros(len(list(self.learner.parameters())))
        """How many gradients each parameter got in an update."""

    def backward(self, losses: Sequence[Compute], passes: int) -> None:
        self._used.zero_()
        for number in range(passes):
            last = number == passes - 1
            self._wrapper.set_is_last_backward(last)
            self._wrapper.set_reshard_after_backward(last)
            compute = partial(self._watching, losses[number]) if number < len(losses) else None
            used = self._used.clone()
            torch.autograd.backward(self._update(compute))
            if not self._update.reached:
                self._used = used
        self.process_group.sum(self._used)
        for parameter, used in zip(self.learner.parameters(), self._used.tolist(), strict=True):
            if not used:
                parameter.grad = None

    def _watching(self, compute: Compute) -> Tensor:
        """A loss, while the parameters are whole: they are other tensors than the parts."""
        for index, parameter in enumerate(self.learner.parameters()):
            if parameter.requires_grad and parameter not in self._watched:
                self._watched.add(parameter)
                parameter.register_post_accumulate_grad_hook(partial(self._note, index))
        return compute()

    def _note(self, index: int, _: Tensor) -> None:
        self._used[index] += 1

    def total(self, norm: Tensor) -> Tensor:
        return whole_tensor(norm)

    @contextmanager
    def whole(self) -> Iterator[None]:
        self._wrapper.unshard()
        try:
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16):  # what is gathered is
                yield
        finally:
            self._wrapper.reshard()

    @torch.no_grad()
    def give_back(self, learner: L) -> None:
        plain = learner.weights()
        for name, tensor in self.learner.weights().items():
            plain[name].copy_(whole_tensor(tensor))
        learner.carry(self.learner.carried())


def training_together(
    learner: L,
    process_group: ProcessGroup,
    parallel: Parallel,
    device: torch.device,
    beside: Callable[[L], Sequence[nn.Module]] = nothing_beside,
    products: Products | None = None,
) -> Together[L]:
    """How the processes of a run train a learner.

    Args:
        beside: what its losses are computed with and does not learn.
        products: the type that products are computed in; as the device does by itself when not given.
    """
    if process_group.world_size == 1:
        return Together(learner, products=products)
    if parallel == "shard":
        return Sharded(learner, process_group, device, beside, products)
    return Replicated(learner, process_group, products)


def whole_tensor(tensor: Tensor) -> Tensor:
    """All of a tensor of which each process may hold a part; then every process asks for it."""
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def _as_in_main(learner: Learner) -> None:
    """Begin with the main process's weights, as DistributedDataParallel does: those that are drawn anew for a stage
    may depend on what a process has done before."""
    for _, parameter in learner.unique_parameters():
        dist.broadcast(parameter, src=0)


@contextmanager
def _without_advice() -> Iterator[None]:
    """DistributedDataParallel advises not to look for unused parameters where it finds none; it may find some in the
    next update."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="find_unused_parameters=True was specified")
        yield
