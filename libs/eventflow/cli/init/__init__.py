"""`eventflow init`: a first file of settings, for a known sender of webhooks or for any."""
