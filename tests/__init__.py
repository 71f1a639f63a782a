"""A package, so that another one's stray top-level `tests` cannot take its name (torch-fidelity has one)."""
