"""Who embeds: one file a provider, one protocol."""
