"""The parts of the registry client: references, HTTP, one registry's content, and transfer of images."""
