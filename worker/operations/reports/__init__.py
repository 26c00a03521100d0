"""What a bug report needs of a service, and nothing that is its users' or secret."""
