"""Texts to start from. All are written for this page."""

from typing import Final

import msgspec


class Example(msgspec.Struct, frozen=True):
    """A set of texts, one a line, and what to ask of them."""

    key: str
    title: str
    query: str
    texts: tuple[str, ...]


EXAMPLES: Final = (
    Example(
        "questions",
        "Customer questions",
        "I was charged twice",
        (
            "How do I change the card that you charge?",
            "Why are there two payments on my statement this month?",
            "Can I get my money back for the last invoice?",
            "My card was declined although there is money on it.",
            "Where do I find a receipt for my tax return?",
            "I cannot sign in since I changed my phone.",
            "The link to reset my password never arrives.",
            "How do I turn on two-factor authentication?",
            "Somebody else seems to use my account.",
            "Please delete everything you know about me.",
            "The app closes as soon as I open a photo.",
            "Uploads stop at ninety percent and start again.",
            "Everything is slow since the last update.",
            "Sharing a folder with my team shows an error.",
            "When does my parcel arrive?",
            "The box was open and one cup is broken.",
            "I moved; can you send it to my new address?",
            "The tracking page has said the same for a week.",
        ),
    ),
    Example(
        "languages",
        "Pairs in several languages",
        "The train is late",
        (
            "The train is late again today.",
            "Der Zug hat heute schon wieder Verspätung.",
            "Le train est encore en retard aujourd'hui.",
            "Where is the nearest pharmacy?",
            "Wo ist die nächste Apotheke?",
            "Où est la pharmacie la plus proche ?",
            "She plays the piano every evening.",
            "Sie spielt jeden Abend Klavier.",
            "Elle joue du piano tous les soirs.",
            "The soup needs more salt.",
            "Die Suppe braucht mehr Salz.",
            "La soupe manque de sel.",
        ),
    ),
    Example(
        "recipes",
        "Recipes",
        "something sweet without an oven",
        (
            "Tomato soup with basil and a spoon of cream",
            "Lentil stew with carrots, cumin and lemon",
            "Leek and potato soup, served cold in summer",
            "Chicken broth with noodles and spring onions",
            "Roast chicken with garlic under the skin",
            "Beef braised in red wine for three hours",
            "Pork chops with apples and cider",
            "Grilled trout with almonds and brown butter",
            "Mussels steamed with white wine and parsley",
            "Salmon baked on a bed of fennel",
            "Apple cake with cinnamon crumbs",
            "Chocolate mousse, chilled overnight",
            "Vanilla ice cream with hot raspberries",
            "Rice pudding with cardamom, stirred on the stove",
            "Shortbread with sea salt",
            "Green salad with mustard dressing",
            "White beans with sage and olive oil",
            "Flatbread from the pan with yoghurt",
        ),
    ),
    Example(
        "duplicates",
        "Near duplicates",
        "the office is closed on Friday",
        (
            "The office is closed on Friday.",
            "On Friday the office is closed.",
            "Our office will not open this Friday.",
            "The office is closed on Monday.",
            "The shop is closed on Friday.",
            "The quarterly report is due on the fifth.",
            "Quarterly report due on the 5th!",
            "Hand in the report of the quarter by the fifth.",
            "The annual report is due on the fifth.",
            "Please water the plants in the hall.",
            "please WATER the plants in the hall",
            "The plants in the hall need water.",
            "Nobody should water the plants in the hall.",
        ),
    ),
)
