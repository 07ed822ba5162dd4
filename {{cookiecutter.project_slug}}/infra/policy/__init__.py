"""The rules that every preview and deploy obeys, as a Pulumi policy pack. They are yours: change them here."""
