"""The verbs' insides."""
