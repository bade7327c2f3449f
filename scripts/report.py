"""Tables and figures from the records, nothing is trained: python scripts/report.py."""

from lossbench.cli.report import report

if __name__ == "__main__":
    report()
