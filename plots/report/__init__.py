"""Report of a plan: one page that shows what was asked, what has run and what came out."""
