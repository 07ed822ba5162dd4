"""How the model was made; the image does not hold this."""
