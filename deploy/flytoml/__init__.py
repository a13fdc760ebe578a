"""fly.toml, section by section; `deploy.appconfig` puts the sections together."""
