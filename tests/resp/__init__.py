"""The protocol: parser, replies and the order in which they leave."""
