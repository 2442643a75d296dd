"""Where conversations are kept: turns, their memories, conversations' heads. No torch: a memory is bytes here."""
