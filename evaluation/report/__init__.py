"""The study's report: tables, figures and one page, from the cells that `evaluation.cell.fill` makes."""

from .page import write_report

__all__ = ["write_report"]
