"""One model, many conversations: a scheduler that knows tokens and memories, and sessions that know turns. No HTTP."""
