"""Default addresses of the services. The health check of the image needs them without the settings models.

That check runs every 10 s in each container. Importing pydantic would cost more than the rest of the check.
"""

DEFAULT_HOST = "127.0.0.1"
COLLECTOR_ADMIN_PORT = 9464
PROCESSOR_ADMIN_PORT = 9465
