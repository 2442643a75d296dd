"""Reactive Transformers: conversation models whose memory is a fixed-size value instead of a growing history.

``import rxt`` is quick: each name below is loaded, and PyTorch with it where needed, when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rxt.config import RxTConfig
    from rxt.data.tokenizer import ChatTokenizer
    from rxt.errors import UserError
    from rxt.generation.conversation import Conversation
    from rxt.generation.manner import Manner
    from rxt.generation.sampling import Sampling
    from rxt.generation.shared_memory import SharedMemory
    from rxt.interop.backbone import Backbone
    from rxt.interop.base_parts import with_parts
    from rxt.interop.base_tokenizer import load_base_tokenizer
    from rxt.interop.published import load_published_component as load_component
    from rxt.interop.published_export import save_published_component as save_component
    from rxt.model.classifier import SequenceClassifier
    from rxt.model.memory import Memory
    from rxt.model.pool import Pool
    from rxt.model.quantize import quantize
    from rxt.model.rounded_updates import round_updates
    from rxt.presets import preset_names
    from rxt.pretrained import ReactiveTransformer, load_chat
    from rxt.tools.tool import Tool, ToolCall
    from rxt.understanding.embeddings import embed
    from rxt.understanding.fill_mask import FillMask
    from rxt.understanding.text_classifier import load_classifier

    __version__: str

__all__ = [
    "Backbone",
    "ChatTokenizer",
    "Conversation",
    "FillMask",
    "Manner",
    "Memory",
    "Pool",
    "ReactiveTransformer",
    "RxTConfig",
    "Sampling",
    "SequenceClassifier",
    "SharedMemory",
    "Tool",
    "ToolCall",
    "UserError",
    "__version__",
    "embed",
    "load_base_tokenizer",
    "load_chat",
    "load_classifier",
    "load_component",
    "preset_names",
    "quantize",
    "round_updates",
    "save_component",
    "with_parts",
]

_WHERE = {
    "Backbone": "rxt.interop.backbone:Backbone",
    "ChatTokenizer": "rxt.data.tokenizer:ChatTokenizer",
    "Conversation": "rxt.generation.conversation:Conversation",
    "FillMask": "rxt.understanding.fill_mask:FillMask",
    "Manner": "rxt.generation.manner:Manner",
    "Memory": "rxt.model.memory:Memory",
    "Pool": "rxt.model.pool:Pool",
    "ReactiveTransformer": "rxt.pretrained:ReactiveTransformer",
    "RxTConfig": "rxt.config:RxTConfig",
    "Sampling": "rxt.generation.sampling:Sampling",
    "SequenceClassifier": "rxt.model.classifier:SequenceClassifier",
    "SharedMemory": "rxt.generation.shared_memory:SharedMemory",
    "Tool": "rxt.tools.tool:Tool",
    "ToolCall": "rxt.tools.tool:ToolCall",
    "UserError": "rxt.errors:UserError",
    "embed": "rxt.understanding.embeddings:embed",
    "load_base_tokenizer": "rxt.interop.base_tokenizer:load_base_tokenizer",
    "load_chat": "rxt.pretrained:load_chat",
    "load_classifier": "rxt.understanding.text_classifier:load_classifier",
    "load_component": "rxt.interop.published:load_published_component",
    "preset_names": "rxt.presets:preset_names",
    "quantize": "rxt.model.quantize:quantize",
    "round_updates": "rxt.model.rounded_updates:round_updates",
    "save_component": "rxt.interop.published_export:save_published_component",
    "with_parts": "rxt.interop.base_parts:with_parts",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        value: object = _version()
    elif name in _WHERE:
        module, _, attribute = _WHERE[name].partition(":")
        value = getattr(import_module(module), attribute)
    else:
        raise AttributeError(f"module 'rxt' has no attribute {name!r}")
    globals()[name] = value
    return value


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("reactive-transformers")
    except PackageNotFoundError:  # used from a source folder, without installation
        return "0+unknown"


def __dir__() -> list[str]:
    return sorted(__all__)
