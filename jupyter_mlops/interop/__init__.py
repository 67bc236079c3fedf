"""What others keep, brought here."""
