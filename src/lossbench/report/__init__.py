"""Parts of a page: tables, pictures and text, without any study's words."""
