"""The handler of the flow `orders`."""

import json
from dataclasses import dataclass
from typing import Self

from eventflow.handling import Context, DerivedEvent, Event, Reject


async def book(event: Event, context: Context) -> DerivedEvent:
    """Book an order, and notify its customer.

    All of this is one transaction: the order, the stock, and the notification, which the relay publishes later. A
    repetition of the event, such as after a crash, changes nothing. So no statement here looks for an earlier booking.
    """
    order = Order.read(event.body)
    is_in_stock = await context.db.fetchval(
        "UPDATE stock SET pieces = pieces - $2 WHERE article = $1 AND pieces >= $2 RETURNING true",
        order.article,
        order.pieces,
    )
    if not is_in_stock:
        return context.derive(type="order.refused", flow="notify", body={"order": order.id, "article": order.article})
    number = await context.db.fetchval(
        "INSERT INTO orders (reference, article, pieces) VALUES ($1, $2, $3) RETURNING number",
        order.id,
        order.article,
        order.pieces,
    )
    return context.derive(type="order.booked", flow="notify", body={"order": order.id, "number": number})


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order as the shop's web page sends it."""

    id: str
    article: str
    pieces: int

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Read the body of an event.

        Raises:
            Reject: It is no order. Another attempt would not change this, so the event becomes a dead letter at once.
        """
        try:
            order = json.loads(body)
            read = cls(id=str(order["id"]), article=str(order["article"]), pieces=int(order["pieces"]))
        except (ValueError, TypeError, KeyError) as error:
            raise Reject(f"this is no order: {error!r}") from error
        if read.pieces < 1:
            raise Reject("an order has one piece or more")
        return read
