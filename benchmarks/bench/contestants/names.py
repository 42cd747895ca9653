"""Names of the programs that are compared with each other."""

OURS = "Event Flow"
SIGNED = f"{OURS}, GitHub's signature verified"
OVER_TLS = f"{OURS}, over TLS"
GO = "Go (net/http, amqp091-go)"
GO_ONE_THREAD = "Go, GOMAXPROCS=1"
AIO_PIKA_INGEST, AIO_PIKA_DELIVERY = "aiohttp + aio-pika", "aio-pika + aiohttp"
FASTSTREAM_INGEST, FASTSTREAM_DELIVERY = "FastAPI + FastStream", "FastStream + aiohttp"
