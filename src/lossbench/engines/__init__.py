"""Executing a sweep's runs on an engine: Slurm or Ray, in jobs of several runs."""
