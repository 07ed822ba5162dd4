"""The rooms behind the registry door: names, the wire, what a registry holds, and carrying images there."""
