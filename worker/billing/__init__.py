"""What usage costs: prices, estimates, budgets, invoices."""
