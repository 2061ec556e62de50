"""Results for people (terminal, page) and for machines (JSON)."""

from hil.report.page import write_html, write_json
from hil.report.terminal import print_result

__all__ = ["print_result", "write_html", "write_json"]
