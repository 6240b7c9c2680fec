"""Where images and masks come from, a file for each kind of source."""
