"""Read-only analyses: Model in, facts out."""
