"""Runs on disk: folders, records, archives, and checks of them."""
