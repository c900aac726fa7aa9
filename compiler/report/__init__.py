"""The report: JSON contract and offline HTML page."""
