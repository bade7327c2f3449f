"""Profiles the training steps of a run: python scripts/profile_run.py dataset=fmnist model=cnn2c loss=lgl_inr."""

from lossbench.cli.profile import profile_run

if __name__ == "__main__":
    profile_run()
