"""Files in object storage and on local disk."""
