"""The report: one HTML file that shows a whole run and opens without a network."""

from loops.report.page import page, write_report

__all__ = ["page", "write_report"]
