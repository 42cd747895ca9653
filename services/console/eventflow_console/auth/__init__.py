"""Who asks: the operator's name, from a password, from a proxy, or from nowhere on a console for one machine."""
