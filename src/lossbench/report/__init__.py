"""Parts of a report page: tables, figures and text, independent of any study."""
