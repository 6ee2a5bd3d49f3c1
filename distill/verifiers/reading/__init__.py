"""What a completion says: region, boxes, statements, and how its words are written."""
