"""One error tree. Errors of other libraries are translated into these at the adapter that meets them."""


class EventFlowError(Exception):
    """Root of every error that Event Flow raises on purpose."""


class SettingsError(EventFlowError):
    """A setting is wrong; the message names it, its value (never a secret) and what is accepted."""


class AddressUnavailableError(EventFlowError):
    """An address to listen on is in use, or is not there; it may be at the next start."""


class InvalidEventError(EventFlowError):
    """What came in cannot be an event: an attribute is too long or has characters that are not allowed."""


class TopologyMismatchError(EventFlowError):
    """A queue exists with other arguments than ours; the message quotes the broker. Retrying cannot help."""


class BrokerUnavailableError(EventFlowError):
    """The broker cannot be used now: no connection, a blocked one, or it was lost while waiting for an answer."""


class ManagementError(EventFlowError):
    """The management API did not answer a question, or refused a change; the message gives the reason in one line."""


class PublishError(EventFlowError):
    """A publish did not end in a positive confirm."""


class PublishTimeoutError(PublishError):
    """No confirm yet. The publish is still unresolved: the broker may confirm it later."""


class PublishRefusedError(PublishError):
    """The broker answered with a nack: it does not keep the message."""


class MessageTooLargeError(PublishError):
    """The broker takes no message of this size, so that trying again cannot help while its limit stands.

    Attributes:
        max_bytes: The largest body that it takes (`max_message_size`).
    """

    def __init__(self, *, body_bytes: int, max_bytes: int) -> None:
        """Say how large the message is, and how large it may be."""
        super().__init__(f"a message of {body_bytes} bytes is larger than the {max_bytes} bytes that RabbitMQ takes")
        self.max_bytes = max_bytes


class UnroutableError(PublishError):
    """The broker returned the message: its queue does not exist."""


class DeliveryLostError(EventFlowError):
    """The channel that delivered is gone; the broker hands the message out again."""
