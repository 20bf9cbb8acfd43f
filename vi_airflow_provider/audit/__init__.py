"""Exports of flows, and what changed between two of them."""

from vi_airflow_provider.audit.diff import Diff, diff_exports

__all__ = ["Diff", "diff_exports"]
