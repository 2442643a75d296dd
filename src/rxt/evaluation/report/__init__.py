"""One page out of the JSON files of the suites: what is remembered, for how long, and at what cost."""
