"""Write docs/methods.md from the plug-ins themselves. Usage: python scripts/write_methods_docs.py"""

from pathlib import Path

from loops.listing import listing_page

PAGE = Path(__file__).parents[1] / "docs" / "methods.md"

if __name__ == "__main__":
    PAGE.write_text(listing_page(), encoding="utf-8")
