"""What Event Flow does, in figures: each benchmark is one command that prints one table."""
