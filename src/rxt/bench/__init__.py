"""How fast a model decodes, memorizes and trains here, beside what this machine could do at best."""
