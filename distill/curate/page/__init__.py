"""A dataset as one page of HTML that needs nothing else: charts, and groups to search and read."""
