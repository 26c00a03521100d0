"""Where everything lies: rows in SQL, bytes in artifacts."""
