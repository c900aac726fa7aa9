"""What to cut: criteria, structures, selection, reconstruction."""
