"""A whole gateway in one file and on another card: `backup`, `restore`, and who it is then: `identity`."""
