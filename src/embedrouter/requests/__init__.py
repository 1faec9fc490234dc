"""What clients send, as typed structs, and the gateway's request made of it."""
