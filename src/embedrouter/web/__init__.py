"""Pages for people: plain HTML and forms that work without JavaScript."""
