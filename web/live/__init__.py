"""What people and programs watch while it happens."""
