"""What the demo plays: people, keys, apps, providers and what goes wrong with them. Nobody in it exists."""

from typing import Final, Literal, NamedTuple

from embedrouter.accounts.users import Role
from embedrouter.catalog.builtin import SLUG as MINILM
from embedrouter.periods import Reset

SMALL: Final = "openai/text-embedding-3-small"
LARGE: Final = "openai/text-embedding-3-large"
M3: Final = "baai/bge-m3"
VOYAGE: Final = "voyage/voyage-3.5"
COHERE: Final = "cohere/embed-v4.0"

PRIVATE: Final = "private"  # instead of a provider: the lab's own deployment
PRIVATE_PROVIDER: Final = "azure"
PRIVATE_URL: Final = "https://quill-lab.example"

Trouble = Literal["failing", "limited", "slow"]
Fate = Literal["disabled", "deleted", "expired"]


class Person(NamedTuple):
    """A user."""

    email: str
    name: str
    role: Role


class Space(NamedTuple):
    """A workspace beside the default one."""

    slug: str
    name: str
    description: str
    in_rankings: bool
    owner: str  # email
    monthly_usd: str | None = None  # budget, for 20,000 requests


class Key(NamedTuple):
    """An API key."""

    name: str
    owner: str  # email
    space: str  # slug
    management: bool = False
    private: bool = False
    limit_usd: str | None = None  # for 20,000 requests
    reset: Reset | None = None
    per_minute: int | None = None  # requests
    fate: Fate | None = None
    until: float = 0.0  # share of the time, counted from its end, in which its fate is fulfilled
    external_user: str | None = None


class App(NamedTuple):
    """Who sends requests."""

    url: str
    title: str
    categories: tuple[str, ...] = ()


class Place(NamedTuple):
    """How a model is at a provider."""

    model: str
    provider: str  # slug, or PRIVATE
    median: float  # seconds of a request of one token
    per_token: float  # seconds
    spread: float = 0.35  # of the logarithm
    failing: float = 0.002  # share of attempts
    dearer_until: float = 0.0  # share of the time, from its beginning, in which it cost twice as much


class Incident(NamedTuple):
    """A time in which a provider is not well."""

    provider: str
    days_ago: float  # when it began
    hours: float
    trouble: Trouble
    amount: float  # share of attempts that fail, or how many times as long they take


class Stream(NamedTuple):
    """Requests of one kind. Weights are relative to the other streams'."""

    app: str | None  # URL
    key: str  # name
    model: str
    begins: float  # weight on the first day
    ends: float  # weight on the last day
    providers: tuple[tuple[str, float], ...]  # who is asked first, how often; the others stand in
    inputs: float  # of a request, in the middle
    tokens: float  # of an input, in the middle
    agent: str
    spread: float = 0.6  # of the logarithm of inputs
    nightly: bool = False
    cached: float = 0.0  # share of answers that are given again
    byok: bool = False
    people: int = 0  # end users that it names
    sessions: bool = False


PEOPLE: Final = (
    Person("ada@demo.example", "Ada Admin", "admin"),
    Person("ben@demo.example", "Ben Member", "member"),
    Person("chloe@demo.example", "Chloe Member", "member"),
)
ADMIN: Final = PEOPLE[0]

SPACES: Final = (
    Space("search-team", "Search team", "Everything that searches", True, "ben@demo.example", "8"),
    Space("quill-lab", "Quill lab", "Research; kept out of rankings", False, "chloe@demo.example"),
)

KEYS: Final = (
    Key("Website search", "ben@demo.example", "search-team", limit_usd="0.10", reset="monthly", per_minute=600),
    Key("Support assistant", "ben@demo.example", "search-team"),
    Key("Nightly indexer", "ben@demo.example", "search-team", limit_usd="3", reset="weekly"),
    Key("Mobile app", "ada@demo.example", "default", limit_usd="0.001", reset="daily", external_user="mobile"),
    Key("Notebooks", "chloe@demo.example", "quill-lab", private=True),
    Key("Lab pipeline", "chloe@demo.example", "quill-lab", limit_usd="1"),
    Key("Hackathon", "ada@demo.example", "default", limit_usd="0.01", fate="expired", until=0.2),
    Key("Old crawler", "ada@demo.example", "default", fate="disabled", until=0.35),
    Key("Contractor", "ada@demo.example", "default", fate="deleted", until=0.5),
    Key("Terraform", "ada@demo.example", "default", management=True),
)

APPS: Final = (
    App("https://lantern.example", "Lantern Search", ("personal-agent",)),
    App("https://helpdesk.harbor.example", "Harbor Helpdesk", ("general-chat",)),
    App("https://papertrail.example", "Papertrail Archive", ("legal",)),
    App("https://fernnotes.example", "Fern Notes", ("writing-assistant", "personal-agent")),
    App("https://gitgarden.example", "Git Garden", ("programming-app", "ide-extension")),
    App("https://shop.pebble.example", "Pebble Shop"),
    App("https://quill-lab.example/atlas", "Quill Atlas"),
    App("https://tavern.example", "Tavern Tales", ("roleplay", "game")),
    App("https://recipes.example.com/pantry", "Pantry"),
    App("https://newsroom.example.com", "Morning Desk", ("creative-writing",)),
    App("https://jobs.example.com", "Job Compass"),
    App("https://hack.example.net", "Weekend Hack", ("native-app-builder",)),
)

PLACES: Final = (
    Place(MINILM, "builtin", 0.004, 0.0000045, 0.30, 0.0002),
    Place(MINILM, "deepinfra", 0.110, 0.0000100, 0.40, 0.004),
    Place(SMALL, "openai", 0.170, 0.0000120, 0.38, 0.002),
    Place(SMALL, "azure", 0.135, 0.0000140, 0.30, 0.003),
    Place(SMALL, PRIVATE, 0.095, 0.0000110, 0.25, 0.001),
    Place(LARGE, "openai", 0.260, 0.0000210, 0.40, 0.002),
    Place(LARGE, "azure", 0.215, 0.0000240, 0.32, 0.004),
    Place(M3, "deepinfra", 0.125, 0.0000130, 0.42, 0.005, dearer_until=0.4),
    Place(M3, "cloudflare", 0.090, 0.0000190, 0.50, 0.006),
    Place(VOYAGE, "voyage", 0.190, 0.0000150, 0.36, 0.003),
    Place(COHERE, "cohere", 0.205, 0.0000170, 0.45, 0.004),
)

INCIDENTS: Final = (
    Incident("voyage", 17.0, 24.0, "failing", 0.85),
    Incident("openai", 12.1, 2.0, "failing", 0.90),
    Incident("openai", 9.0, 24.0, "slow", 2.8),
    Incident("cohere", 6.2, 12.0, "limited", 0.85),
    Incident("azure", 2.6, 8.0, "slow", 2.2),
    Incident("voyage", 2.1, 2.0, "failing", 0.80),
    Incident("deepinfra", 1.1, 2.0, "failing", 0.92),
    Incident("cohere", 0.8, 0.7, "limited", 0.85),
    Incident("cloudflare", 0.3, 1.0, "slow", 3.0),
)

_PYTHON: Final = "OpenAI/Python 2.8.0"
_REQUESTS: Final = "python-requests/2.32.5"
_NODE: Final = "OpenAI/JS 6.9.0"
_FETCH: Final = "node"
_LANGCHAIN: Final = "langchain-openai/1.0.3"
_GO: Final = "Go-http-client/2.0"
_CURL: Final = "curl/8.17.0"
_SWIFT: Final = "Fern/4.2 CFNetwork/3826"

_BUILTIN: Final = (("builtin", 0.97), ("deepinfra", 0.03))
_OPENAI: Final = (("openai", 0.65), ("azure", 0.35))
_AZURE: Final = (("azure", 0.8), ("openai", 0.2))
_M3: Final = (("deepinfra", 0.7), ("cloudflare", 0.3))
_VOYAGE: Final = (("voyage", 1.0),)
_COHERE: Final = (("cohere", 1.0),)
_OWN: Final = ((PRIVATE, 1.0),)

STREAMS: Final = (
    Stream(APPS[0].url, "Website search", MINILM, 20, 26, _BUILTIN, 1, 14, _NODE, 0.1, cached=0.12, sessions=True),
    Stream(APPS[0].url, "Website search", SMALL, 3, 7, _OPENAI, 1, 18, _NODE, 0.1, cached=0.05, sessions=True),
    Stream(APPS[1].url, "Support assistant", SMALL, 8, 12, _OPENAI, 4, 180, _PYTHON, people=40, sessions=True),
    Stream(APPS[1].url, "Support assistant", COHERE, 2, 3, _COHERE, 6, 210, _PYTHON, people=40),
    Stream(APPS[2].url, "Nightly indexer", LARGE, 3, 4, _AZURE, 48, 420, _LANGCHAIN, 0.5, nightly=True),
    Stream(APPS[2].url, "Nightly indexer", M3, 4, 6, _M3, 64, 380, _LANGCHAIN, 0.5, nightly=True),
    Stream(APPS[3].url, "Mobile app", MINILM, 9, 18, _BUILTIN, 2, 60, _SWIFT, 0.4, cached=0.06, people=160),
    Stream(APPS[3].url, "Mobile app", SMALL, 4, 2, _OPENAI, 2, 70, _SWIFT, 0.4, people=160),
    Stream(APPS[4].url, "Support assistant", VOYAGE, 1, 6, _VOYAGE, 16, 260, _NODE),
    Stream(APPS[5].url, "Website search", MINILM, 6, 8, _BUILTIN, 8, 34, _FETCH, cached=0.2),
    Stream(APPS[5].url, "Website search", M3, 2, 4, _M3, 8, 36, _FETCH),
    Stream(APPS[6].url, "Lab pipeline", SMALL, 2, 5, _OWN, 24, 300, _PYTHON, nightly=True, byok=True),
    Stream(APPS[6].url, "Lab pipeline", M3, 1, 2, _M3, 24, 300, _PYTHON, nightly=True),
    Stream(APPS[6].url, "Lab pipeline", VOYAGE, 2, 3, _VOYAGE, 20, 320, _PYTHON, byok=True),
    Stream(APPS[7].url, "Mobile app", MINILM, 1, 7, _BUILTIN, 3, 120, _GO, people=60),
    Stream(APPS[8].url, "Mobile app", M3, 2, 2, _M3, 5, 90, _FETCH, cached=0.1),
    Stream(APPS[9].url, "Support assistant", COHERE, 3, 2, _COHERE, 3, 340, _REQUESTS),
    Stream(APPS[10].url, "Website search", LARGE, 1, 3, _OPENAI, 5, 150, _NODE),
    Stream(APPS[11].url, "Hackathon", SMALL, 2, 6, _OPENAI, 1, 40, _CURL),
    Stream(None, "Notebooks", LARGE, 1, 2, _AZURE, 12, 220, _PYTHON),
    Stream(None, "Notebooks", MINILM, 2, 3, _BUILTIN, 32, 110, _REQUESTS),
    Stream(None, "Old crawler", M3, 5, 5, _M3, 20, 200, _GO, nightly=True),
    Stream(None, "Contractor", SMALL, 2, 2, _OPENAI, 3, 50, _CURL),
)


def stops(stream: Stream) -> float:
    """When it ends, as a share of the time counted from its end."""
    return next(key.until for key in KEYS if key.name == stream.key)
