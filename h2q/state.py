"""What a model carries between chunks, and the few things one may do with it.

    State
     |- last      (B,)    the byte read last, 256 before the first: the next input, for the input at t is byte t-1
     |- position  (B,)    bytes fed to the layers so far
     |- history   (B, K)  the inputs before it, for n-gram hashing; 256 where nothing was read yet
     '- layers    a tuple, one NamedTuple per block, each declared beside its module

Every tensor has the lane axis first, so gathering, scattering and forking lanes is one walk over the tree. Nothing
here keeps a graph: the caller detaches at the boundary of a micro-batch.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

START = 256  # the symbol before the first byte of a lane

Tree = TypeVar("Tree")


class State(NamedTuple):
    """Everything the network carries, per lane."""

    last: Tensor
    position: Tensor
    history: Tensor
    layers: tuple[Any, ...]


def map_tree(act: Callable[..., Tensor], tree: Tree, *others: Tree) -> Tree:
    """Apply act to the matching tensors of one or more trees of (Named)tuples."""
    if isinstance(tree, Tensor):
        return act(tree, *others)  # type: ignore[return-value]
    parts = [map_tree(act, *group) for group in zip(tree, *others, strict=True)]  # type: ignore[call-overload]
    return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)  # type: ignore[call-arg]


def leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Dotted names and tensors of a tree, in a fixed order."""
    if isinstance(tree, Tensor):
        yield prefix, tree
        return
    names = getattr(tree, "_fields", range(len(tree)))
    for name, part in zip(names, tree, strict=True):
        yield from leaves(part, f"{prefix}.{name}" if prefix else str(name))


def detach(tree: Tree) -> Tree:
    """The same values without their graph."""
    return map_tree(Tensor.detach, tree)


def fork(tree: Tree) -> Tree:
    """A private copy."""
    return map_tree(lambda x: x.detach().clone(), tree)


def gather(tree: Tree, rows: Tensor) -> Tree:
    """The state of some lanes, in the order asked; rows (b,) int64. Parts of a tree may live on different devices."""
    return map_tree(lambda x: x.index_select(0, rows.to(x.device)), tree)


def scatter(tree: Tree, rows: Tensor, part: Tree) -> Tree:
    """A copy of tree with the lanes `rows` replaced by those of part."""
    return map_tree(lambda x, y: x.index_copy(0, rows.to(x.device), y), tree, part)


def flatten(tree: Any) -> dict[str, Tensor]:
    """Name -> tensor, ready to be saved."""
    return dict(leaves(tree))


def unflatten(template: Tree, saved: dict[str, Tensor]) -> Tree:
    """The saved tensors in the shape of template. Raises KeyError or ValueError if they do not fit it."""
    names = iter([name for name, _ in leaves(template)])

    def take(x: Tensor) -> Tensor:
        name = next(names)
        if saved[name].shape != x.shape:
            raise ValueError(f"state {name} has shape {tuple(saved[name].shape)}, expected {tuple(x.shape)}")
        return saved[name].to(x.device, x.dtype, copy=True)

    return map_tree(take, template)


def last_items(carried: Tensor, new: Tensor, lengths: Tensor | None) -> Tensor:
    """The last K items each lane has seen: carried (B, K, ...) and new (B, T, ...) -> (B, K, ...).

    lengths (B,) says how many of the T new items are real (a ragged micro-batch); None means all.
    """
    count, length = carried.shape[1], new.shape[1]
    if lengths is None:  # a copy, so that the whole chunk is not kept alive for its last bytes
        return new[:, length - count :].clone() if length >= count else torch.cat((carried[:, length:], new), 1)
    joined = torch.cat((carried, new), 1)
    index = lengths[:, None] + torch.arange(count, device=new.device)
    index = index.view(*index.shape, *[1] * (new.dim() - 2)).expand(-1, -1, *new.shape[2:])
    return joined.gather(1, index)
