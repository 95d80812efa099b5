"""Where machines stand: electricity, cooling overhead and carbon of a site."""
