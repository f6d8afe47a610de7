"""The Debian package: one .deb an architecture for Debian 12 and 13 at once, the same bytes each time."""
