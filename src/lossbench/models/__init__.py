"""Networks: one file each, for any image shape and number of classes."""
