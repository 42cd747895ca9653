"""How many attempts of a flow may start per second, and this processor's share of them."""
