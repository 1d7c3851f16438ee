"""Executed notebooks as one HTML file each: nothing is fetched, and a policy in the page forbids it."""

from nbmlops.reports.page import notebook_html

__all__ = ["notebook_html"]
