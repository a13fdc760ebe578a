"""Images: the Docker engine that is on this computer, and what it builds and pushes."""
