"""What a terminal shows, from values that commands hand over. All text is untrusted."""
