"""Statistics of runs: intervals, tests, calibration, the learning property."""
