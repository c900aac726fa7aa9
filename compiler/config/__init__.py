"""What a user can ask for: every setting said once, and the configuration file."""
