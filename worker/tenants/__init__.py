"""Whom the service works for, what each may use, and who has changed what."""
