"""What may be wrong in a service, one module each: how it is found, and how it is mended."""
