"""Access tokens for targets that ask for them, by the client credentials grant of OAuth 2.0 (RFC 6749, section 4.4)."""
