"""The pages: templates, static files, and the views that fill them."""
