"""Authentication of the operator who makes a request: by a password, by a proxy in front, or none on loopback."""
