"""The stages that a run may have. A new one is a file like its neighbours, and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from pydantic import PlainSerializer, PlainValidator, TypeAdapter, ValidationError

from rxt.config.values import first_problem
from rxt.errors import UserError
from rxt.training.config_base import StageConfig
from rxt.training.preference.stage import PreferenceConfig, PreferenceStage
from rxt.training.reinforcement.stage import ReinforcementConfig, ReinforcementStage
from rxt.training.stages.adaptation import AdaptationConfig, AdaptationStage
from rxt.training.stages.base import CurriculumStage, StageContext
from rxt.training.stages.fragments import FragmentsConfig, FragmentsStage
from rxt.training.stages.interaction import InteractionConfig, InteractionStage
from rxt.training.stages.joint import JointConfig, JointStage
from rxt.training.stages.memory_aware import MemoryAwareConfig, MemoryAwareStage
from rxt.training.stages.memory_pretrain import MemoryPretrainConfig, MemoryPretrainStage
from rxt.training.stages.retrieval import RetrievalConfig, RetrievalStage

C = TypeVar("C", bound=StageConfig)


@dataclass(frozen=True)
class StageEntry(Generic[C]):
    """A kind of stage: what it is told, and how it is built from that."""

    config: type[C]
    build: Callable[[C, StageContext], CurriculumStage]


STAGES: dict[str, StageEntry[Any]] = {
    "joint": StageEntry(JointConfig, JointStage.build),
    "interaction": StageEntry(InteractionConfig, InteractionStage.build),
    "retrieval": StageEntry(RetrievalConfig, RetrievalStage.build),
    "memory_pretrain": StageEntry(MemoryPretrainConfig, MemoryPretrainStage.build),
    "memory_aware": StageEntry(MemoryAwareConfig, MemoryAwareStage.build),
    "adaptation": StageEntry(AdaptationConfig, AdaptationStage.build),
    "reinforcement": StageEntry(ReinforcementConfig, ReinforcementStage.build),
    "preference": StageEntry(PreferenceConfig, PreferenceStage.build),
    "fragments": StageEntry(FragmentsConfig, FragmentsStage.build),
}
"""By the ``kind`` of their configurations."""


def build_stage(config: StageConfig, context: StageContext) -> CurriculumStage:
    """The stage that a configuration describes."""
    return STAGES[config.kind].build(config, context)


def stage_config(value: object) -> StageConfig:
    """A stage's configuration out of plain values, of the class that its ``kind`` names."""
    if isinstance(value, StageConfig):
        return value
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind not in STAGES:
        raise UserError(f"recipe: stages: a stage has a kind ({', '.join(STAGES)}), found {value!r:.60}")
    try:
        config: StageConfig = TypeAdapter[Any](STAGES[kind].config).validate_python(value)
    except ValidationError as error:
        raise UserError(f"recipe: {first_problem(error, str(kind))}") from None
    return config


def plain_values(config: StageConfig) -> dict[str, Any]:
    """What :func:`stage_config` reads back."""
    return TypeAdapter(type(config)).dump_python(config, mode="json")


AnyStageConfig = Annotated[StageConfig, PlainValidator(stage_config), PlainSerializer(plain_values)]
"""A union of all registered stages' configurations, told apart by ``kind``."""
