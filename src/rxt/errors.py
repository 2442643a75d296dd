"""The one exception that is meant for the person at the keyboard."""


class UserError(Exception):
    """A mistake the user can mend: one line that says what was found and what to do.

    The command line prints the message and exits with code 2; library callers catch it like any exception.
    """
