"""The frozen model that a stage compares its policy with: what the stage began with."""

from __future__ import annotations

import json
import os
import shutil
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

from rxt.errors import UserError
from rxt.model.checkpoint import load_model, save_model
from rxt.model.reactive import ReactiveTransformer
from rxt.training.learner import ReactiveLearner

FINGERPRINT = "fingerprint.json"


@dataclass(frozen=True)
class Reference:
    """A model in a folder of the stage: written once, before the first update, and read back when the run goes on
    later."""

    folder: Path
    _model: list[ReactiveTransformer] = field(default_factory=list, init=False, repr=False)
    """Empty until it is known."""

    def of(self, learner: ReactiveLearner) -> ReactiveTransformer:
        """The reference: the learner's model as it is now, when the stage has not begun; after that always the same.

        Raises:
            UserError: the stage has begun, and its reference is gone or was changed.
        """
        if not self._model:
            if not self.folder.exists():
                self._write(learner)
            self._model.append(self._read().to(learner.device, learner.model.decoder.embedding.weight.dtype))
        return self._model[0]

    def _write(self, learner: ReactiveLearner) -> None:
        if any(self.folder.parent.glob("step-*")):
            raise UserError(
                f"{self.folder}: the reference that this stage began with is gone; start again with another --out"
            )
        temporary = self.folder.with_name(f".{self.folder.name}.{os.getpid()}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        model = deepcopy(learner.model).eval()
        save_model(model, temporary)
        (temporary / FINGERPRINT).write_text(json.dumps({"fingerprint": model.fingerprint()}) + "\n", encoding="utf-8")
        try:
            os.replace(temporary, self.folder)
        except OSError:
            if not self.folder.exists():
                raise
            shutil.rmtree(temporary)  # another process of the group was quicker, with the same model

    def _read(self) -> ReactiveTransformer:
        model = load_model(self.folder)
        wanted = json.loads((self.folder / FINGERPRINT).read_text(encoding="utf-8"))["fingerprint"]
        if model.fingerprint() != wanted:
            raise UserError(
                f"{self.folder}: the reference was changed since the stage began "
                f"(its fingerprint is {model.fingerprint()}, it was {wanted}); start again with another --out"
            )
        return model.requires_grad_(False)
