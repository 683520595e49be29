"""The notebook: `fruits.ipynb`, what it imports, and the command that executes it."""
