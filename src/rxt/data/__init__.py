"""Records, the tokenizer and the text of an interaction. Nothing here needs torch except ``collate``."""
