"""Host names, URLs, sockets and their failures, for every connection in and out."""
