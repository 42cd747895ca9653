"""The guards that each request passes, and the headers that each answer has."""
