"""The criteria, in files by what they look at; `criteria.CRITERIA` is their table."""
