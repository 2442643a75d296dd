"""``rxt serve``: the sessions of the engine over HTTP, as OpenAI's clients speak it. It only translates."""
