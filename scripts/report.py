"""Writes tables and figures from the records: python scripts/report.py."""

from lossbench.cli.report import report

if __name__ == "__main__":
    report()
