"""The report: one HTML file that shows a whole run and opens without a network."""

from loops.report.fingerprints import fingerprint
from loops.report.page import PageData, gather, page, page_of, write_report

__all__ = ["PageData", "fingerprint", "gather", "page", "page_of", "write_report"]
