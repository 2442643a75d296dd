"""One task at a time beside the training, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Background:
    """Begins a task when the one before it is done. What a task raises is raised by the next call."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    @property
    def failed(self) -> bool:
        """Whether a task has raised something that is not told yet."""
        return self._error is not None

    def begin(self, task: Callable[[], None]) -> None:
        """Have a task done, after the one before it."""
        self.finish()
        # a daemon: who stops the process a second time does not wait for it
        self._thread = threading.Thread(target=self._do, args=(task,), name="background", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Until nothing is left to do."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _do(self, task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:  # whatever it is, the training's thread raises it
            self._error = error
