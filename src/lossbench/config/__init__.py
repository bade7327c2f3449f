"""Options of a run, registries of what can be chosen, and the run's name."""
