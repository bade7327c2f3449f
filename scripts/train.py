"""Trains a run, or with -m and comma lists a sweep: python scripts/train.py dataset=fmnist model=cnn2c loss=sml."""

from lossbench.cli.train import train

if __name__ == "__main__":
    train()
