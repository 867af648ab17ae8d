"""What happens to pixels before a network: input rules, resize, value range."""
