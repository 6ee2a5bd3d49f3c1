"""What all pages of HTML share: how they look, their plots, and that nothing in them runs or is fetched."""
