"""Studies: what has to be run, and what follows from it; one folder a study."""
