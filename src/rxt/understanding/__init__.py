"""The encoder on its own: words for masks, embeddings, classes of texts. Nothing here has a memory."""
