"""Pure builders of commands and definitions; nothing here runs anything."""
