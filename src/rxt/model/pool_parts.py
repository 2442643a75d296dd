"""A pool in parts, as a store keeps it: what is no fragment, and every fragment by itself with its key. After a turn
only the parts that the turn has written are new."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from rxt.errors import UserError
from rxt.model.pool import Fragment, Pool
from rxt.model.pool_keys import KeyTable

HEAD_FORMAT, FRAGMENT_FORMAT = "rxt-pool-head-1", "rxt-fragment-1"


def head_bytes(pool: Pool, half: bool = False) -> bytes:
    """All of a pool but its fragments; ``half``: resident slots in half precision."""
    resident = pool.resident.half() if half else pool.resident
    count = torch.tensor([len(pool.fragments), pool.turns, pool.sealed])
    fingerprint = torch.tensor(list((pool.fingerprint or "").encode()), dtype=torch.uint8)
    return _written(
        {"resident": resident, "fresh": pool.fresh, "count": count, "fingerprint": fingerprint}, HEAD_FORMAT
    )


def fragment_bytes(pool: Pool, index: int, half: bool = False) -> bytes:
    """A fragment and its key. The same fragment gives the same bytes; ``half``: its slots in half precision."""
    fragment = pool.fragments[index]
    tensors = {
        "slots": fragment.slots.half() if half else fragment.slots,
        "key": pool.keys.row(index),
        "count": torch.tensor([fragment.turn, fragment.writes]),
        "change": torch.tensor(fragment.change, dtype=torch.float64),
    }
    return _written(tensors, FRAGMENT_FORMAT)


def counts(head: bytes) -> tuple[int, int]:
    """Fragments and turns of the pool whose head this is. ``UserError`` if it is none."""
    try:
        found = _read(head, HEAD_FORMAT)["count"].tolist()
        return int(found[0]), int(found[1])
    except (SafetensorError, KeyError, ValueError, IndexError) as error:
        raise UserError(f"not a pool ({error})") from None


def is_head(content: bytes) -> bool:
    """Whether this is what :func:`head_bytes` made, and not a memory of another kind."""
    try:
        length = int.from_bytes(content[:8], "little")
        return json.loads(content[8 : 8 + length]).get("__metadata__", {}).get("format") == HEAD_FORMAT
    except (ValueError, AttributeError):
        return False


def joined(head: bytes, fragments: Sequence[bytes], name: str = "pool") -> Pool:
    """The pool that these are the parts of; ``name``: of it, in errors.

    Raises:
        UserError: they are not, or one is missing.
    """
    try:
        whole, parts = _read(head, HEAD_FORMAT), [_read(part, FRAGMENT_FORMAT) for part in fragments]
        count, turns, sealed = (*whole["count"].tolist(), 0)[:3]  # those of before there was knowledge have two
        if count != len(parts):
            raise UserError(f"{name}: a pool of {count} fragments, of which {len(parts)} are there")
        made = tuple(
            Fragment(part["slots"], int(part["count"][0]), int(part["count"][1]), float(part["change"]))
            for part in parts
        )
        fingerprint = bytes(whole["fingerprint"].tolist()).decode()
        keys = KeyTable.of(torch.stack([part["key"] for part in parts]))
        return Pool(whole["resident"], whole["fresh"], made, keys, turns, fingerprint or None, sealed)
    except (SafetensorError, KeyError, ValueError, IndexError, RuntimeError) as error:
        raise UserError(f"{name}: not a pool ({error})") from None


def _written(tensors: Mapping[str, Tensor], kind: str) -> bytes:
    # One entry of metadata: the order of several is not always the same.
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, {"format": kind})


def _read(content: bytes, kind: str) -> dict[str, Tensor]:
    tensors = load(content)  # first: it checks the header that is read below
    length = int.from_bytes(content[:8], "little")
    found = json.loads(content[8 : 8 + length]).get("__metadata__", {}).get("format")
    if found != kind:
        raise ValueError(f"format {found!r}, expected {kind!r}")
    return tensors
