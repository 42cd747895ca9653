"""The values that the templates show, with every judgement made: a template only arranges them."""
