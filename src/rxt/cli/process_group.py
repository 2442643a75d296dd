"""How the command that trains ends in each of several processes: in one line, from one of them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from rxt.cli.launch import FOLLOWED, INTERRUPTED, USER_MISTAKE, left_to_launcher
from rxt.errors import UserError

SECONDS_TO_SPEAK = 5.0
"""Under torchrun the first process is given so long to say what all find wrong, before another one's end ends it."""


def in_process_group(work: Callable[[], object]) -> int:
    """Do this process's part of the work, alone or with others; the exit code.

    Raises:
        UserError: a mistake that nobody else says.
    """
    from rxt.training.process_group import AnotherEnded, NoAnswer, end_at_once, started_on_this_machine

    try:
        work()
    except NoAnswer as error:
        if not left_to_launcher(error):
            print(f"rxt: {error}", file=sys.stderr)
        end_at_once(USER_MISTAKE)
    except AnotherEnded as error:
        if started_on_this_machine():
            end_at_once(FOLLOWED)
        print(f"rxt: {error}", file=sys.stderr)
        end_at_once(USER_MISTAKE)
    except KeyboardInterrupt:
        if os.environ.get("WORLD_SIZE", "1") != "1":
            end_at_once(INTERRUPTED)
        raise
    except UserError as error:
        if left_to_launcher(error):
            return USER_MISTAKE
        if os.environ.get("RANK", "0") != "0":
            time.sleep(SECONDS_TO_SPEAK)
        raise
    return 0
