"""RabbitMQ over AMQP: the only package that knows aio-pika, aiormq and pamqp."""
