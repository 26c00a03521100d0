"""Webhooks by Standard Webhooks: endpoints, an outbox, signed deliveries with retries over days."""
