"""What a comparison leaves behind: its folder, its tables, its pictures and its page."""
