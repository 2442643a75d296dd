"""The command ``rxt``: one module a verb, all of them thin."""
