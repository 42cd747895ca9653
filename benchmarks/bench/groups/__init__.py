"""What is measured: each module one group of rows."""
