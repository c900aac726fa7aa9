"""One room per kind of hardware."""
