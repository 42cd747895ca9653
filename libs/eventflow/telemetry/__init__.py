"""Logs, metrics and traces of the services: ports, and the SDKs behind them."""
