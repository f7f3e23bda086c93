"""From HTTP to messages and back, by descriptors alone; knows no server and no channel."""
