"""What leaves the house: datasets in the shapes that other tools read, datasets and students on the Hub."""
