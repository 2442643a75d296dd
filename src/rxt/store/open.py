"""Opens the store at an address. A further kind of store is a class of its own and one line of ``KINDS``."""

from __future__ import annotations

from importlib import import_module

from rxt.errors import UserError
from rxt.store.base import Store

KINDS = {
    "redis": "rxt.store.redis:RedisStore",
    "rediss": "rxt.store.redis:RedisStore",
    "unix": "rxt.store.redis:RedisStore",
    "file": "rxt.store.sqlite:SqliteStore",
}
"""The class of each address scheme, ``module:class``, imported only when such a store is opened. An address without a
scheme is the path of a file."""


def open_store(address: str, create: bool = True) -> Store:
    """The store at a file, or at an address such as ``redis://HOST:PORT/NUMBER``; ``create``: make it where it is
    missing."""
    return _kind(address).open(address, create)


def is_shared(address: str) -> bool:
    """Whether any number of servers may use the store at this address at once."""
    return _kind(address).shared


def _kind(address: str) -> type[Store]:
    scheme = address.partition("://")[0] if "://" in address else "file"
    if scheme not in KINDS:
        raise UserError(f"{scheme}://: no such kind of store; name a file, or one of {', '.join(KINDS)}")
    module, name = KINDS[scheme].split(":")
    return getattr(import_module(module), name)
