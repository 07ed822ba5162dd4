"""The engine behind what is public of Slipway: nothing here is for workspaces to import, all of it may change."""
