"""This machine: files, processes, devices, seeds and the terminal."""
