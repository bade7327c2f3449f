"""What the results of several runs say: intervals, tests, calibration."""
