"""The error tree. Errors of other libraries are translated into these where the library is called."""


class EventFlowError(Exception):
    """Root of all errors that Event Flow raises on purpose."""


class SettingsError(EventFlowError):
    """A setting is wrong; the message has its name, its value (never a secret) and the accepted form."""


class AddressUnavailableError(EventFlowError):
    """An address to listen on is in use, or does not exist; a later start can succeed."""


class AddressInUseError(AddressUnavailableError):
    """Another process listens on the address."""


class InvalidEventError(EventFlowError):
    """A request is not an event: an attribute is too long, or has characters that are not allowed."""


class UnsendableEventError(EventFlowError):
    """No request to the target can be built for an event. Trying again cannot help until the settings change."""


class TopologyMismatchError(EventFlowError):
    """A queue exists with arguments that differ from ours; the message quotes the broker. Retrying cannot help."""


class BrokerUnavailableError(EventFlowError):
    """The broker cannot be used now: there is no connection, it is blocked, or it was lost before an answer."""


class BusyError(EventFlowError):
    """Another operation has to end first; the message names it."""


class InvalidInputError(EventFlowError):
    """An operator's input cannot be used; the message has the value and the accepted form."""


class ManagementError(EventFlowError):
    """The management API did not answer a question, or refused a change; the message gives the reason in one line."""


class PublishError(EventFlowError):
    """A publish that was not confirmed."""


class PublishTimeoutError(PublishError):
    """A publish is not confirmed in time. It is still unresolved: the broker may confirm it later."""


class PublishRefusedError(PublishError):
    """The broker has answered with a nack: it does not keep the message."""


class MessageTooLargeError(PublishError):
    """The broker accepts no message of this size. Trying again cannot help until its limit changes.

    Attributes:
        max_bytes: The largest body that it accepts (`max_message_size`).
    """

    def __init__(self, *, body_bytes: int, max_bytes: int) -> None:
        """Describe the size of a message, and the limit."""
        super().__init__(f"a message of {body_bytes} bytes is larger than the {max_bytes} bytes that RabbitMQ takes")
        self.max_bytes = max_bytes


class HeadersTooLargeError(MessageTooLargeError):
    """The attributes and the forwarded headers of an event need more than one frame, and AMQP cannot split them.

    It happens only if the broker's `frame_max` was lowered: they never need half of the default, 128 KiB.
    """

    def __init__(self, *, header_bytes: int, max_bytes: int) -> None:
        """Describe the size of the content header, and the limit."""
        PublishError.__init__(
            self, f"headers of {header_bytes} bytes are larger than the {max_bytes} bytes of a frame of RabbitMQ"
        )
        self.max_bytes = max_bytes


class UnroutableError(PublishError):
    """The broker has returned the message: its queue does not exist."""


class DeliveryLostError(EventFlowError):
    """The channel of a delivery is gone, so it cannot be settled. The broker delivers the message again."""


class HistoryError(EventFlowError):
    """The history, the store of attempts on record, cannot be used as asked. No event depends on it."""


class HistoryUnavailableError(HistoryError):
    """The store cannot be reached, its disk is full, or its answer is not in time. Trying again can help."""


class HistoryLateError(HistoryUnavailableError):
    """A query took longer than `QUERY_MAX_S`, and was ended. Its value is unknown; the store may answer others."""


class HistorySchemaError(HistoryError):
    """The schema of the store is missing or of another version; the message names the command to run."""


class HistoryRefusedError(HistoryError):
    """The store does not accept a row. Trying again cannot help."""


class UnboundedFilterError(HistoryError):
    """A selection of attempts has no index, so it could read the whole history; the message has the remedy."""


class DatabaseError(EventFlowError):
    """The database with inbox and outbox cannot be used as asked."""


class DatabaseUnavailableError(DatabaseError):
    """The database cannot be reached, accepts no changes, or its answer is not in time. Trying again can help."""


class InboxLockedError(DatabaseError):
    """Another transaction has written the same event into the inbox, and has not ended in time."""


class DatabaseSchemaError(DatabaseError):
    """Inbox and outbox are missing or of another version; the message names the command to run."""


class NoTransactionError(DatabaseError):
    """An event was put into the outbox outside of a transaction. Nothing was written."""


class HandlerError(EventFlowError):
    """A function cannot be used as a handler; the message has the reason and the remedy."""
