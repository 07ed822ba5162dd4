"""Where tools, the Docker engine and the build daemons come from, and how they are started and stopped."""
