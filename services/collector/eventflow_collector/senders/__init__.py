"""The engine that checks signatures and finds an event's attributes. It knows no sender by name."""
