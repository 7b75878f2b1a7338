"""Signing in to the console through an OpenID provider: an extra, imported only where OIDC_ISSUER is set."""
