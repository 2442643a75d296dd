"""Scenes: what a person may tell, written by hand in many ways, and all that may be asked about it."""

from rxt.tasks.scenes.config import ScenesConfig as ScenesConfig
