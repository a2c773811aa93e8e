"""The report: what has been measured, as one page that needs nothing else, and as Markdown."""
